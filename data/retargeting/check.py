"""A check after retargeting: does the body stand and face as the file's own joint positions do? No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import JOINT, BodyMotion
from data.retargeting.frames import angle_between
from data.retargeting.rest_pose.evidence import shoulder_line
from data.retargeting.source import Recording
from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]

_HIPS_OFF, _SHOULDERS_OFF = 30.0, 45.0
"""Degrees between the body's lines and the file's, above which the result is another pose."""
_ROOT_SPEED = 12.0
"""Metres per second; a pelvis that is faster jumps from one place to another."""
_CENTIMETRES = (0.006, 0.016)
"""Metres per unit that are plainly centimetres, of children and of giants."""
_LEGS = (0.2, 2.5)
"""Metres from hip to ankle that a scale may make: toddlers to giants."""
_HEAD_BELOW = -0.2
"""Metres; a head this far below the floor is upside down."""
_UNITS = ((1.0, "metres"), (0.001, "millimetres"), (0.0254, "inches"), (0.3048, "feet"))
_TELL = "say how the joints rest: t_pose_frame=N if frame N is a T-pose, or skeleton=FILE.json"


def check_scale(recording: Recording, scale: float) -> None:
    """Raises PoseGPTError if a scale that was given makes nobody's legs."""
    legs = recording.leg_length * scale
    if not _LEGS[0] < legs < _LEGS[1]:
        raise PoseGPTError(
            f"{recording.name}: with scale={scale:g} its legs would be {legs:.3g} m long",
            "leave it out: the length of the legs tells the unit",
            parameter="scale",
        )


def check_motion(recording: Recording, body: BodyMotion, scale: float, says_unit: bool) -> tuple[str, ...]:
    """What is worth saying of a result.

    Args:
        recording: the file's joints, Y up.
        body: SMPL's joints, on the floor at y = 0.
        scale: metres per unit of the recording.
        says_unit: whether the file itself, or the user, says what its unit is.

    Raises PoseGPTError with the option that decides it, if the result cannot be right.
    """
    # First what must not be: a wrong result that passes is worse than none.
    _check_lines(recording, body)
    _check_upright(recording, body)
    notes = [] if says_unit else _unit_note(scale)
    return (*notes, *_jump_note(body, recording.fps))


def _check_lines(recording: Recording, body: BodyMotion) -> None:
    """Hips and shoulders must face as the file's do."""
    lines = (
        ("hips", ("right_hip", "left_hip"), recording.bone("right_hip", "left_hip"), _HIPS_OFF),
        ("shoulders", ("right_collar", "left_collar"), shoulder_line(recording), _SHOULDERS_OFF),
    )
    for name, (right, left), wanted, limit in lines:
        # The median forgives glitches: what is wrong is wrong in most frames.
        found = body.positions[:, JOINT[left]] - body.positions[:, JOINT[right]]
        off = float(np.median(angle_between(found, wanted)))
        if off > limit:
            raise PoseGPTError(
                f"{recording.name}: the {name} would be {off:.0f} degrees off the file's own joint positions",
                _TELL,
                ("t_pose_frame", "skeleton"),
            )


def _check_upright(recording: Recording, body: BodyMotion) -> None:
    """Somebody may lie, or stand on the hands for a while, but not below the floor for most of the time."""
    head = float(np.median(body.positions[:, JOINT["head"], 1]))
    if head < _HEAD_BELOW:
        raise PoseGPTError(
            f"{recording.name}: the head would be {-head:.1f} m below the floor",
            "say which axis is up: up=y or up=z",
            "up",
        )


def _unit_note(scale: float) -> list[str]:
    """Files in centimetres are so common that nothing is said of them."""
    if _CENTIMETRES[0] < scale < _CENTIMETRES[1]:
        return []
    # Legs of children and giants are no other unit: there is room on both sides.
    for size, name in _UNITS:
        if 0.6 < scale / size < 1.6:
            return [f"its unit is taken for {name}, by the length of the legs"]
    return [f"its unit is taken for {scale * 100:.3g} cm, by the length of the legs"]


def _jump_note(body: BodyMotion, fps: float) -> list[str]:
    steps = np.linalg.norm(np.diff(body.positions[:, 0], axis=0), axis=-1)
    jumps = steps * fps > _ROOT_SPEED
    if not jumps.any():
        return []
    frame = int(steps.argmax()) + 1
    times = "once" if jumps.sum() == 1 else f"{int(jumps.sum())} times"
    return [f"the body jumps {times}, farthest by {steps.max():.1f} m before frame {frame}"]
