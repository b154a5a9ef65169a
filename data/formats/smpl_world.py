"""SMPL parameters from any world into ours: metres, Y up, feet on the floor; what was put right is said.

Which axis points up is known of some files (AMASS has Z). Of the others it is looked at: whether the person
stands along the axis that such files usually have, or else along which axis a floor lies under the motion.
Nothing is guessed: what cannot be told is refused with the setting that says it. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.formats.settings import ReadingSettings
from data.formats.smpl_parameters import Axis, Convention, SmplParameters
from data.resample import resample
from data.retargeting.body_motion import REST_JOINTS, BodyMotion
from data.retargeting.ground import floor_height
from data.rotations import quat_to_rotvec, rotvec_to_matrix, turn_rotvecs
from models.body.skeleton import BODY_PARENTS, REST_PELVIS, BodyType
from models.errors import PoseGPTError
from models.motion import Motion

FloatArray = NDArray[np.float64]

_HALF = 0.5**0.5
_TO_Y: Mapping[Axis, FloatArray] = {
    "+y": np.array([0.0, 0.0, 0.0, 1.0]),
    "-y": np.array([1.0, 0.0, 0.0, 0.0]),
    "+z": np.array([-_HALF, 0.0, 0.0, _HALF]),
    "-z": np.array([_HALF, 0.0, 0.0, _HALF]),
    "+x": np.array([0.0, 0.0, _HALF, _HALF]),
    "-x": np.array([0.0, 0.0, -_HALF, _HALF]),
}
"""Quaternions (x, y, z, w) that turn an axis to +Y; +z: x stays, z becomes y, y becomes -z."""
_MATRICES: Mapping[Axis, FloatArray] = {
    axis: rotvec_to_matrix(quat_to_rotvec(turn)) for axis, turn in _TO_Y.items()
}
"""The same as (3, 3) matrices."""
_AXES: tuple[Axis, ...] = tuple(_TO_Y)

_SAMPLES = 300
"""Frames that are enough to see which way is up."""
_STANDS = 0.5
"""Mean cosine between the body's own up and an axis from which on the person stands along it, or nearly."""
_STANDS_SURELY = 0.8
_NO_TURN = 1e-3
"""Radians: who turns by less in all frames was made up by somebody, and made-up people do not lie."""
_FLOOR = 0.06
"""Metres: the lowest point of a body varies by less over a floor, and by more along other axes."""
_FASTEST = 15.0
"""Metres per second: no pelvis is faster for long."""
_HIGHEST = 30.0
"""Metres: no pelvis is farther up or down."""
_STANDING = (0.2, 1.6)
"""Metres: between these a pelvis is over the floor."""
_UNITS = {0.01: "centimetres", 0.001: "millimetres"}
_ON_FLOOR = 0.15
"""Metres: the joints of feet on the floor are lower than this."""
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
        name: of the file, for messages.
        settings: what the file does not say of itself.
        to_fps: frame rate of the result (None: the file's own).

    Raises PoseGPTError if the frame rate, the up axis or the unit cannot be told.
    """
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
        name=name,
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
    pelvis = np.array(REST_PELVIS[body_type])
    turn = _TO_Y[axis]
    matrix = _MATRICES[axis]
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
    """The axis of the file that points up. Raises PoseGPTError if it cannot be told."""
    convention = parameters.convention
    if settings.up != "auto":
        return "+y" if settings.up == "y" else "+z"
    if convention.is_sure and convention.up:
        return convention.up

    # Whoever stands along the usual axis, even bent, settles it.
    usual = convention.up
    sample = _sampled(parameters, settings.scale or parameters.unit or _likely_unit(parameters, rate))
    standing = _uprightness(sample.poses[:, 0])
    if usual and standing[usual] >= _STANDS:
        return usual

    # Nobody stands: bent, sitting or lying people say nothing against the usual axis.
    other = max(_AXES, key=lambda axis: standing[axis])
    if standing[other] < _STANDS_SURELY:
        if usual:
            return usual
    elif np.abs(sample.poses[:, 0]).max() < _NO_TURN or _stands_on_floor(sample, other, usual):
        _note_axis(other, convention, notes)
        return other
    elif usual and _floor_spread(sample, usual) < _FLOOR < _floor_spread(sample, other):
        return usual
    raise PoseGPTError(
        f"{name}: which axis is up cannot be told from how the person stands or lies",
        "say it, e.g. up=y or up=z",
        parameter="up",
    )


def _stands_on_floor(parameters: SmplParameters, axis: Axis, usual: Axis | None) -> bool:
    """Whether who stands along one axis surely stands there, and does not lie in a world with another one up.

    Whoever stands has a floor below: the body's lowest point stays where it is. Whoever lies has one as well,
    along the other axis, does not travel, and has all joints above it.
    """
    if _floor_spread(parameters, axis) > _FLOOR:
        return False
    if usual is None or _floor_spread(parameters, usual) > _FLOOR:
        return True
    across = np.delete(parameters.trans, "xyz".index(axis[1]), axis=1)
    if np.ptp(across, axis=0).max() > _LOCKED_TRAVEL:
        return True
    return abs(_lowest(parameters, axis)) < _ON_FLOOR and not 0 < _lowest(parameters, usual) < 2 * _ON_FLOOR


def _note_axis(axis: Axis, convention: Convention, notes: list[str]) -> None:
    if axis != convention.up:
        notes.append(f"{axis[1] if axis[0] == '+' else axis} is up in the file, by how the person stands")


def _sampled(parameters: SmplParameters, unit: float) -> SmplParameters:
    """Frames at equal distances, at most _SAMPLES, the translation in metres."""
    every = max(1, -(-len(parameters.trans) // _SAMPLES))
    return replace(parameters, poses=parameters.poses[::every], trans=unit * parameters.trans[::every])


def _uprightness(root: FloatArray) -> dict[Axis, float]:
    """Mean cosine between where the body's own +Y points and each axis."""
    mean = rotvec_to_matrix(root)[..., 1].mean(axis=0)
    signs = {"+": 1.0, "-": -1.0}
    return {axis: float(signs[axis[0]] * mean["xyz".index(axis[1])]) for axis in _AXES}


def _floor_spread(parameters: SmplParameters, axis: Axis) -> float:
    """Metres by which the lowest point of the body varies along an axis."""
    lowest = _lowest_points(parameters, axis)
    return float(np.percentile(lowest, 90) - np.percentile(lowest, 10))


def _lowest(parameters: SmplParameters, axis: Axis) -> float:
    """Metres: how high the lowest joint is along an axis, in the middle of all frames."""
    return float(np.median(_lowest_points(parameters, axis)))


def _lowest_points(parameters: SmplParameters, axis: Axis) -> FloatArray:
    """(T,) of the lowest joint along an axis."""
    sign = 1.0 if axis[0] == "+" else -1.0
    return (sign * _body_motion(parameters).positions[:, :, "xyz".index(axis[1])]).min(axis=1)


def _unit(parameters: SmplParameters, up: Axis, rate: float, name: str, notes: list[str]) -> float:
    """Metres per unit of the translation. Raises PoseGPTError if it is none of the usual ones."""
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
        if by_feet and all(_is_plausible(parameters, axis, rate, unit) for axis in _AXES):
            return unit
    return 1.0


def _is_plausible(parameters: SmplParameters, up: Axis, rate: float, unit: float) -> bool:
    """Whether a person may move so fast and stand so high."""
    trans = parameters.trans * unit
    if abs(_pelvis_height(parameters, up) * unit) > _HIGHEST:
        return False
    if len(trans) == 1:
        return True
    speeds = np.linalg.norm(np.diff(trans, axis=0), axis=1) * rate
    return float(np.median(speeds)) < _FASTEST and float(np.percentile(speeds, 90)) < 2 * _FASTEST


def _pelvis_height(parameters: SmplParameters, up: Axis) -> float:
    """Median of the translation along the up axis, in the file's units."""
    sign = 1.0 if up[0] == "+" else -1.0
    return float(np.median(sign * parameters.trans[:, "xyz".index(up[1])]))


def _locked_unit(parameters: SmplParameters) -> float | None:
    """Metres per unit with which planted feet stay where they are; None if the person does not walk.

    While a foot is planted, what it moves by in the body's frame is what the body moves by, the other way
    round. A line through these pairs has the unit as its slope.
    """
    whole = parameters.trans
    travel = float(np.linalg.norm(np.diff(whole, axis=0), axis=1).sum()) if len(whole) > 1 else 0.0
    if travel < _LOCKED_TRAVEL:
        return None
    poses = parameters.poses[:_SAMPLES]
    first = replace(parameters, poses=poses, trans=np.zeros((len(poses), 3)))
    feet = _body_motion(first).positions[:, [7, 8]]
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
    parameters = SmplParameters(
        motion.poses.astype(float), motion.trans.astype(float), motion.body_type, Convention("", None)
    )
    height = floor_height(_body_motion(parameters), motion.fps)
    if abs(height) < _OFF_FLOOR:
        return motion
    trans = motion.trans - np.array([0.0, height, 0.0], np.float32)
    way = "lowered" if height > 0 else "raised"
    note = f"{way} by {abs(height):.2f} m, so that its feet are on the floor"
    return replace(motion, trans=trans, notes=(*motion.notes, note))


def _body_motion(parameters: SmplParameters) -> BodyMotion:
    """The default body's 22 joints in the file's own world; its translation is taken for metres."""
    local = rotvec_to_matrix(parameters.poses[:, : len(BODY_PARENTS)])
    rotations = np.empty_like(local)
    positions = np.empty((*local.shape[:2], 3))
    rotations[:, 0] = local[:, 0]
    positions[:, 0] = parameters.trans + REST_PELVIS[parameters.body_type]
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        rotations[:, j] = rotations[:, parent] @ local[:, j]
        offset = REST_JOINTS[j] - REST_JOINTS[parent]
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ offset
    return BodyMotion(rotations, positions)
