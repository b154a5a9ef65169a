"""The motion-capture skeletons we know: which joint is which, and how a joint's frame stands in a T-pose. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceSkeleton:
    """How a kind of file maps to SMPL's 22 body joints."""

    name: str
    """What messages call it."""
    joints: Mapping[str, str]
    """SMPL joint -> joint of the file."""
    t_pose: Mapping[str, FloatArray] = field(default_factory=dict)
    """SMPL joint -> (3, 3) orientation of the file's joint frame in a T-pose that faces +Z (columns: where its
    x, y and z axes point). Joints not listed stand as in the file's zero pose."""
    ankle_height: float | None = None
    """Height (m) of the ankle joint over the floor in a standing person of SMPL's leg length, where the file's
    floor is at zero; None where the floor is to be found from the motion."""
    skip_frames: int = 0
    """Frames at the start that are no motion (a T-pose)."""


def known_skeletons() -> tuple[SourceSkeleton, ...]:
    return _KNOWN


def detect_skeleton(names: Sequence[str], file: str = "this file") -> SourceSkeleton:
    """The known skeleton whose joints are all among `names`; where several fit, the one with most joints.

    Raises PoseGPTError that lists the known ones where none fits.
    """
    present = set(names)
    fitting = [s for s in _KNOWN if present.issuperset(s.joints.values())]
    if not fitting:
        known = ", ".join(s.name for s in _KNOWN)
        some = ", ".join(list(names)[:6])
        raise PoseGPTError(
            f"{file} has a skeleton that is not known (joints {some}, ...)", f"known are: {known}"
        )
    return max(fitting, key=lambda s: len(s.joints))


def _sides(joints: Mapping[str, str], left: str, right: str) -> dict[str, str]:
    """Both sides of {"knee": "LowerLeg_{}"}: {"left_knee": "LowerLeg_L", "right_knee": "LowerLeg_R"}."""
    return {
        f"{side}_{joint}": pattern.format(word)
        for side, word in (("left", left), ("right", right))
        for joint, pattern in joints.items()
    }


_DIRECTIONS = {
    "L": (1, 0, 0), "R": (-1, 0, 0), "U": (0, 1, 0), "D": (0, -1, 0), "F": (0, 0, 1), "B": (0, 0, -1),
}  # fmt: skip


def _axes(letters: str, pitch_down: float = 0.0) -> FloatArray:
    """A joint frame by where its x, y, z axes point (Left Right Up Down Front Back), then pitched (degrees)."""
    frame = np.array([_DIRECTIONS[c] for c in letters], float).T
    c, s = np.cos(np.deg2rad(pitch_down)), np.sin(np.deg2rad(pitch_down))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ frame


_BANDAI = SourceSkeleton(
    name="Bandai-Namco",
    joints={
        "pelvis": "Hips", "spine1": "Spine", "spine3": "Chest", "neck": "Neck", "head": "Head",
        **_sides({
            "collar": "Shoulder_{}", "shoulder": "UpperArm_{}", "elbow": "LowerArm_{}", "wrist": "Hand_{}",
            "hip": "UpperLeg_{}", "knee": "LowerLeg_{}", "ankle": "Foot_{}", "foot": "Toes_{}",
        }, "L", "R"),
    },  # fmt: skip
    # Its zero pose is no T-pose: every bone lies along its joint's +X (right side: -X).
    # The feet's pitches were measured on planted frames.
    t_pose={
        "pelvis": _axes("URF"),
        **dict.fromkeys(("spine1", "spine3", "neck", "head"), _axes("UFL")),
        **{f"left_{j}": _axes("LUF") for j in ("collar", "shoulder", "elbow", "wrist")},
        **{f"right_{j}": _axes("LDB") for j in ("collar", "shoulder", "elbow", "wrist")},
        **{f"left_{j}": _axes("DLF") for j in ("hip", "knee")},
        **{f"right_{j}": _axes("ULB") for j in ("hip", "knee")},
        "left_ankle": _axes("FLU", 39.6),
        "right_ankle": _axes("BLD", 39.6),
        "left_foot": _axes("FLU", 23.0),
        "right_foot": _axes("BLD", 23.0),
    },
)

_KNOWN = (_BANDAI,)
