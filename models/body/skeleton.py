"""SMPL-family skeletons: joint names, hierarchy and mirror pairs, each written down once. No torch.

Source: the joint tables of SMPL (Loper et al. 2015), SMPL-H (Romero et al. 2017) and
SMPL-X (Pavlakos et al. 2019). World frame everywhere in this project: metres, Y up, and the
rest pose faces +Z with its left side at +X.
"""

from typing import Literal, get_args

BodyType = Literal["smpl", "smplh", "smplx"]
BODY_TYPES: tuple[BodyType, ...] = get_args(BodyType)
UNRECORDED_HAND = 0.05
"""Radians: a hand whose fingers never bend more than this was not recorded."""

BODY_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist",
)  # fmt: skip
"""The 22 joints that all three bodies share, in SMPL's order."""
JOINT = {name: j for j, name in enumerate(BODY_JOINTS)}
"""Index of each of the body's joints, the same in all body types."""

BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")


def _finger_names(side: str) -> tuple[str, ...]:
    """The 15 joints of a hand, from the knuckle outwards."""
    return tuple(f"{side}_{finger}{k}" for finger in _FINGERS for k in (1, 2, 3))


_LEFT_HAND = _finger_names("left")
_RIGHT_HAND = _finger_names("right")

JOINT_NAMES: dict[BodyType, tuple[str, ...]] = {
    "smpl": (*BODY_JOINTS, "left_hand", "right_hand"),
    "smplh": (*BODY_JOINTS, *_LEFT_HAND, *_RIGHT_HAND),
    "smplx": (*BODY_JOINTS, "jaw", "left_eye", "right_eye", *_LEFT_HAND, *_RIGHT_HAND),
}


def _hand_parents(first: int, wrist: int) -> tuple[int, ...]:
    """Parents of 5 fingers of 3 joints whose first joint has index `first`."""
    return tuple(wrist if k % 3 == 0 else first + k - 1 for k in range(15))


PARENTS: dict[BodyType, tuple[int, ...]] = {
    "smpl": (*BODY_PARENTS, 20, 21),
    "smplh": (*BODY_PARENTS, *_hand_parents(22, 20), *_hand_parents(37, 21)),
    "smplx": (*BODY_PARENTS, 15, 15, 15, *_hand_parents(25, 20), *_hand_parents(40, 21)),
}

HAND_TWIN = {
    "left_hand": "left_middle1",
    "right_hand": "right_middle1",
    "left_middle1": "left_hand",
    "right_middle1": "right_hand",
}
"""SMPL's rigid hand joint turns as the middle finger's first joint of the bodies with fingers."""

REST_PELVIS: dict[BodyType, tuple[float, float, float]] = {
    "smpl": (0.0, -0.2233, 0.0282),
    "smplh": (0.0, -0.2233, 0.0282),
    "smplx": (0.0, -0.3514, 0.0120),
}
"""Pelvis of the rest pose (m): a body's pelvis stands at `trans + REST_PELVIS`."""


def share_betas(first: BodyType, second: BodyType) -> bool:
    """Whether betas mean the same shape on both: SMPL and SMPL-H do, SMPL-X has its own."""
    return (first == "smplx") == (second == "smplx")


def n_joints(body_type: BodyType) -> int:
    """Number of joints whose rotations a motion of this body type holds (24, 52, 55)."""
    return len(JOINT_NAMES[body_type])


def joint_index(name: str, body_type: BodyType = "smpl") -> int:
    """Index of a joint by name, e.g. `joint_index("left_knee")` is 4."""
    return JOINT_NAMES[body_type].index(name)


def mirror_indices(body_type: BodyType) -> tuple[int, ...]:
    """For each joint the index of its mirror image (a joint on the midline is its own)."""
    names = JOINT_NAMES[body_type]
    swap = {"left": "right", "right": "left"}
    mirrored: list[int] = []
    for name in names:
        side, _, part = name.partition("_")
        image = f"{swap[side]}_{part}" if side in swap else name
        mirrored.append(names.index(image))
    return tuple(mirrored)
