"""SMPL parameters from any world into ours: metres, Y up, feet on the floor; what was put right is said.

Up axis and unit are known of some files (AMASS has Z and metres). Of the others they are found from the
motion; what stays unclear is refused with the setting that says it. Imports no torch.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.formats.settings import ReadingSettings
from data.formats.smpl_parameters import SmplParameters
from data.formats.up_axis import AXES, MATRICES, TO_Y, Axis, Stance, component, find_up
from data.retargeting.body_motion import JOINT, body_motion
from data.retargeting.ground import floor_height
from models.body.skeleton import REST_PELVIS, BodyType
from models.errors import PoseGPTError
from models.motion import Motion
from models.resample import resample
from models.rotations import rotvec_to_matrix, turn_rotvecs

FloatArray = NDArray[np.float64]

_SAMPLES = 300
"""Frames that are enough to see which way is up."""
_NO_TURN = 1e-3
"""Radians: who turns by less in all frames was made up by somebody."""
_FASTEST = 15.0
"""Metres per second: no pelvis is faster for long."""
_HIGHEST = 30.0
"""Metres: no pelvis is farther up or down."""
_STANDING = (0.2, 1.6)
"""Metres: between these a pelvis is over the floor."""
_UNITS = {0.01: "centimetres", 0.001: "millimetres"}
_OFF_FLOOR = 0.1
"""Metres: soles farther from y = 0 are not where their file means the floor to be."""
_LOCKED_TRAVEL = 0.5
"""Metres of travel from which on planted feet show the unit of the translation."""


def to_motion(
    parameters: SmplParameters, name: str, settings: ReadingSettings, to_fps: float | None = None
) -> Motion:
    """A person's parameters as a Motion.

    The pelvis keeps its place: SMPL turns the root about the pelvis, which stands at trans + REST_PELVIS, so
    the translation turns about that point and not about the origin.

    Args:
        parameters: as their file has them.
        name: of the file; the motion has it without its extension.
        settings: what the file does not say of itself.
        to_fps: frame rate of the result (None: the file's own).

    Raises PoseGPTError if the frame rate, the up axis or the unit stays unclear.
    """
    # A unit that is known is applied first: the axis and the floor are looked for in metres.
    notes = list(parameters.notes)
    rate = _rate(parameters, name, settings, notes)
    poses = parameters.poses
    trans = parameters.trans
    unit = settings.scale or parameters.unit
    if unit is not None:
        trans = trans * unit

    up = _up_axis(parameters, name, settings, rate, notes)
    is_sure = parameters.convention.is_sure
    if unit is None and not is_sure:
        trans = trans * _unit(parameters, up, rate, name, notes)

    if to_fps is not None:  # before the turn: fewer frames to turn, and the two commute
        poses, trans = resample(poses, trans, rate, to_fps)
    root, moved = turn_world(poses[:, 0], trans, parameters.body_type, up)
    turned = poses.astype(np.float32)
    turned[:, 0] = root
    motion = Motion(
        poses=turned,
        trans=moved.astype(np.float32),
        fps=to_fps or rate,
        body_type=parameters.body_type,
        labels=parameters.labels,
        licence=parameters.licence,
        name=Path(name).stem,
        notes=tuple(notes),
        betas=parameters.betas,
        gender=settings.gender or parameters.gender,
    )
    return motion if is_sure else _on_floor(motion)


def turn_world(
    root: FloatArray, trans: FloatArray, body_type: BodyType, axis: Axis, back: bool = False
) -> tuple[FloatArray, FloatArray]:
    """(T, 3) root rotations and trans from a world in which an axis is up to ours, or back.

    The pelvis turns with the world.
    """
    # SMPL turns the root about the pelvis, so what turns with the world is where the pelvis is.
    pelvis = np.array(REST_PELVIS[body_type])
    turn = TO_Y[axis]
    matrix = MATRICES[axis]
    if back:
        turn = turn * [-1.0, -1.0, -1.0, 1.0]
        matrix = matrix.T
    return turn_rotvecs(root, turn), (trans + pelvis) @ matrix.T - pelvis


def _rate(parameters: SmplParameters, name: str, settings: ReadingSettings, notes: list[str]) -> float:
    if settings.fps_in is not None:
        return settings.fps_in
    if parameters.fps is not None:
        return parameters.fps
    convention = parameters.convention
    if convention.fps is None:
        raise PoseGPTError(
            f"{name} has no frame rate", "say it with fps_in, e.g. fps_in=30", parameter="fps_in"
        )
    notes.append(f"no frame rate in the file: {convention.fps:g} taken, usual for {convention.source}")
    return convention.fps


def _up_axis(
    parameters: SmplParameters, name: str, settings: ReadingSettings, rate: float, notes: list[str]
) -> Axis:
    """The axis of the file that points up. Raises PoseGPTError if it stays unclear."""
    convention = parameters.convention
    if settings.up != "auto":
        return "+y" if settings.up == "y" else "+z"
    if convention.is_sure and convention.up:
        return convention.up

    sample = _sampled(parameters, settings.scale or parameters.unit or _likely_unit(parameters, rate))
    root = sample.poses[:, 0]
    stance = Stance(
        upwards=rotvec_to_matrix(root)[..., 1],
        positions=body_motion(sample.poses, sample.trans, sample.body_type).positions,
        is_posed=float(np.abs(root).max()) < _NO_TURN,
    )
    return find_up(stance, convention.up, name, notes)


def _sampled(parameters: SmplParameters, unit: float) -> SmplParameters:
    """Frames at equal distances, at most _SAMPLES, the translation in metres."""
    every = max(1, -(-len(parameters.trans) // _SAMPLES))
    return replace(parameters, poses=parameters.poses[::every], trans=unit * parameters.trans[::every])


def _unit(parameters: SmplParameters, up: Axis, rate: float, name: str, notes: list[str]) -> float:
    """Metres per unit of the translation. Raises PoseGPTError if it is none of the usual ones."""
    # Metres unless something speaks against them: speed, height, or feet that would slide.
    locked = _locked_unit(parameters)
    fits = [unit for unit in (1.0, *_UNITS) if _is_plausible(parameters, up, rate, unit)]
    if 1.0 in fits and (locked is None or locked > 0.1):
        return 1.0
    for unit, what in _UNITS.items():
        height = _pelvis_height(parameters, up) * unit
        by_feet = locked is not None and unit / 2 < locked < unit * 2
        by_height = unit in fits and _STANDING[0] < height < _STANDING[1]
        if unit in fits and (by_feet or by_height):
            notes.append(f"its translation is in {what}")
            return unit
    if 1.0 in fits:
        return 1.0
    raise PoseGPTError(
        f"{name}: the translation moves as no person does, if it is in metres",
        "say how many metres its unit has, e.g. scale=0.01",
        parameter="scale",
    )


def _likely_unit(parameters: SmplParameters, rate: float) -> float:
    """The largest unit with which the person moves as persons do, whichever axis is up."""
    locked = _locked_unit(parameters)
    for unit in (1.0, *_UNITS):
        by_feet = locked is None or locked > unit / 10
        if by_feet and all(_is_plausible(parameters, axis, rate, unit) for axis in AXES):
            return unit
    return 1.0


def _is_plausible(parameters: SmplParameters, up: Axis, rate: float, unit: float) -> bool:
    """Whether a person may move so fast and stand so high."""
    trans = parameters.trans * unit

    # Higher than anybody jumps, or faster than anybody runs: another unit, or another axis.
    if abs(_pelvis_height(parameters, up) * unit) > _HIGHEST:
        return False
    if len(trans) == 1:
        return True
    # A single glitch may be as fast as it likes.
    speeds = np.linalg.norm(np.diff(trans, axis=0), axis=1) * rate
    return float(np.median(speeds)) < _FASTEST and float(np.percentile(speeds, 90)) < 2 * _FASTEST


def _pelvis_height(parameters: SmplParameters, up: Axis) -> float:
    """Median of the translation along the up axis, in the file's units."""
    return float(np.median(component(parameters.trans, up)))


def _locked_unit(parameters: SmplParameters) -> float | None:
    """Metres per unit with which planted feet stay where they are; None if the person does not walk.

    While a foot is planted, what it moves by in the body's frame is what the body moves by, the other way
    round. A line through these pairs has the unit as its slope.
    """
    whole = parameters.trans
    travel = float(np.linalg.norm(np.diff(whole, axis=0), axis=1).sum()) if len(whole) > 1 else 0.0
    if travel < _LOCKED_TRAVEL:
        return None

    # Steps of feet and body from frame to frame; a few seconds show enough of them.
    poses = parameters.poses[:_SAMPLES]
    body = body_motion(poses, np.zeros((len(poses), 3)), parameters.body_type)
    feet = body.positions[:, [JOINT["left_ankle"], JOINT["right_ankle"]]]
    of_feet = np.diff(feet, axis=0)
    of_body = np.diff(whole[:_SAMPLES], axis=0)
    # The planted foot is the one that moves against the body, and that one alone.
    against = np.einsum("tfk,tk->tf", of_feet, of_body)
    planted = np.take_along_axis(of_feet, against.argmin(axis=1)[:, None, None], axis=1)[:, 0]
    length = float((of_body**2).sum())
    if length == 0:
        return None
    unit = -float((planted * of_body).sum()) / length
    return unit if unit > 0 else None


def _on_floor(motion: Motion) -> Motion:
    """The motion on y = 0, if its file has the floor elsewhere."""
    # Small heights are noise of the estimate, not another floor.
    height = floor_height(body_motion(motion.poses, motion.trans, motion.body_type), motion.fps)
    if abs(height) < _OFF_FLOOR:
        return motion
    trans = motion.trans - np.array([0.0, height, 0.0], np.float32)
    # Estimates from video put the floor anywhere, and AMASS's own files never come here.
    way = "lowered" if height > 0 else "raised"
    note = f"{way} by {abs(height):.2f} m, so that its feet are on the floor"
    return replace(motion, trans=trans, notes=(*motion.notes, note))
