"""Known motion-capture skeletons: which joint is which, and how joint frames stand in a T-pose. No torch."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.files import parse_json

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceSkeleton:
    """How a kind of file maps to SMPL's 22 body joints."""

    name: str
    """What messages call it."""
    joints: Mapping[str, str]
    """SMPL joint -> joint of the file, without a prefix such as `mixamorig:`."""
    t_pose: Mapping[str, FloatArray] = field(default_factory=dict)
    """SMPL joint -> (3, 3) orientation of the file's joint frame in a T-pose that faces +Z (columns: where
    its x, y, z axes point). Empty: the file's zero pose stands upright, joint frames along its axes."""
    places: Mapping[str, str] = field(default_factory=dict)
    """SMPL joint -> joint of the file at which it lies, where another one turns it and this one is there."""
    skip_frames: int = 0
    """Frames at the start that are no motion (a T-pose)."""
    is_smpl: bool = False
    """Our own files: rotations are SMPL's already, positions are centimetres."""
    keys: tuple[str, ...] = ()
    """What `--skeleton` calls it."""


def plain_name(joint: str) -> str:
    """A joint's name without a namespace: `mixamorig7:Hips` is `Hips`."""
    return joint.rpartition(":")[2].strip()


def detect_skeleton(names: Sequence[str], file: str = "this file") -> SourceSkeleton:
    """The known skeleton whose joints are all among `names`; where several fit, the one with most joints.

    Raises PoseGPTError that lists the known ones where none fits.
    """
    present = {plain_name(name) for name in names}
    fitting = [s for s in KNOWN_SKELETONS if present.issuperset(s.joints.values())]
    if not fitting:
        some = ", ".join(list(names)[:6])
        raise PoseGPTError(
            f"{file} has a skeleton that is not known (joints {some}, ...)",
            "known are: " + ", ".join(s.name for s in KNOWN_SKELETONS) + f"; {_MAPPING_HINT}",
        )
    return max(fitting, key=lambda s: len(s.joints))


def named_skeleton(name: str) -> SourceSkeleton:
    """The skeleton that `--skeleton` names: a key of a known one, or a JSON file {SMPL joint: file's joint}.

    Raises PoseGPTError where there is no such skeleton or file, or the file does not map the limbs.
    """
    for skeleton in KNOWN_SKELETONS:
        if name.lower() in skeleton.keys:
            return skeleton
    path = Path(name)
    if path.suffix.lower() != ".json":
        keys = [key for skeleton in KNOWN_SKELETONS for key in skeleton.keys]
        close = difflib.get_close_matches(name.lower(), keys, n=1)
        hint = f"did you mean '{close[0]}'?" if close else _MAPPING_HINT
        raise PoseGPTError(f"no skeleton {name!r}, known are {', '.join(keys)}", hint)
    try:
        joints = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PoseGPTError(f"cannot read the skeleton {path}: {error}", _MAPPING_HINT) from None
    if not (isinstance(joints, dict) and all(isinstance(joint, str) for joint in joints.values())):
        raise PoseGPTError(f"{path} does not map joints to joints", _MAPPING_HINT)
    wrong = [joint for joint in joints if joint not in BODY_JOINTS]
    missing = [joint for joint in _NEEDED if joint not in joints]
    if wrong or missing:
        what = f"names {wrong[0]!r}, which is no SMPL joint" if wrong else f"lacks {', '.join(missing)}"
        raise PoseGPTError(f"the skeleton {path} {what}", "SMPL's are: " + ", ".join(BODY_JOINTS))
    return SourceSkeleton(path.stem, joints)


_MAPPING_HINT = '--skeleton FILE.json maps any other: {"pelvis": "Hips", "left_hip": "LeftUpLeg", ...}'
_NEEDED = (
    "pelvis", "neck",
    *(f"{side}_{j}" for side in ("left", "right")
      for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")),
)  # fmt: skip


def _both(joints: Mapping[str, str], left: str, right: str) -> dict[str, str]:
    """Both sides of {"knee": "LowerLeg_*"}: {"left_knee": "LowerLeg_L", "right_knee": "LowerLeg_R"}."""
    return {
        f"{side}_{joint}": pattern.replace("*", word)
        for side, word in (("left", left), ("right", right))
        for joint, pattern in joints.items()
    }


def _axes(letters: str, pitch: float = 0.0) -> FloatArray:
    """A joint frame by where x, y, z point (Left Right Up Down Front Back), tilted down `pitch` degrees."""
    directions = {
        "L": (1, 0, 0),
        "U": (0, 1, 0),
        "F": (0, 0, 1),
        "R": (-1, 0, 0),
        "D": (0, -1, 0),
        "B": (0, 0, -1),
    }
    frame = np.array([directions[letter] for letter in letters], float).T
    cosine, sine = np.cos(np.deg2rad(pitch)), np.sin(np.deg2rad(pitch))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ frame


_ARM = ("collar", "shoulder", "elbow", "wrist")
_SPINE = ("spine1", "spine2", "spine3", "neck", "head")

_BANDAI_JOINTS = {
    "collar": "Shoulder_*", "shoulder": "UpperArm_*", "elbow": "LowerArm_*", "wrist": "Hand_*",
    "hip": "UpperLeg_*", "knee": "LowerLeg_*", "ankle": "Foot_*", "foot": "Toes_*",
}  # fmt: skip
_MAYA_JOINTS = {
    "collar": "*Shoulder", "shoulder": "*Arm", "elbow": "*ForeArm", "wrist": "*Hand",
    "hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase",
}  # fmt: skip
_XSENS_JOINTS = {
    "collar": "*Collar", "shoulder": "*Shoulder", "elbow": "*Elbow", "wrist": "*Wrist",
    "hip": "*Hip", "knee": "*Knee", "ankle": "*Ankle", "foot": "*Toe",
}  # fmt: skip
_BIOVISION_JOINTS = {
    "collar": "*Collar", "shoulder": "*UpArm", "elbow": "*LowArm", "wrist": "*Hand",
    "hip": "*UpLeg", "knee": "*LowLeg", "ankle": "*Foot",
}  # fmt: skip


def _without(joints: Mapping[str, str], left_out: str) -> dict[str, str]:
    return {joint: pattern for joint, pattern in joints.items() if joint != left_out}


_SMPL = SourceSkeleton("smpl", {name: name for name in BODY_JOINTS}, is_smpl=True, keys=("smpl",))

_BANDAI = SourceSkeleton(
    "Bandai-Namco",
    {
        "pelvis": "Hips", "spine1": "Spine", "spine3": "Chest", "neck": "Neck", "head": "Head",
        **_both(_BANDAI_JOINTS, "L", "R"),
    },
    # Its zero pose is no T-pose: every bone lies along its joint's +X (right side: -X).
    # The pitches of foot and toes were measured on planted feet.
    {
        "pelvis": _axes("URF"),
        **dict.fromkeys(_SPINE, _axes("UFL")),
        **{f"left_{joint}": _axes("LUF") for joint in _ARM},
        **{f"right_{joint}": _axes("LDB") for joint in _ARM},
        **{f"left_{joint}": _axes("DLF") for joint in ("hip", "knee")},
        **{f"right_{joint}": _axes("ULB") for joint in ("hip", "knee")},
        "left_ankle": _axes("FLU", 39.6), "left_foot": _axes("FLU", 23.0),
        "right_ankle": _axes("BLD", 39.6), "right_foot": _axes("BLD", 23.0),
    },
    keys=("bandai",),
)  # fmt: skip

_LAFAN1 = SourceSkeleton(
    "LAFAN1",
    {
        "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck",
        "head": "Head",
        **_both({**_MAYA_JOINTS, "foot": "*Toe"}, "Left", "Right"),
    },
    # Bones lie along +X on both sides. The axes are those of the T-pose in which its takes begin.
    {
        **dict.fromkeys(("pelvis", *_SPINE), _axes("UFL")),
        **{f"left_{joint}": _axes("LBU") for joint in _ARM},
        **{f"right_{joint}": _axes("RBD") for joint in _ARM},
        **{f"{side}_{joint}": _axes("DFR") for side in ("left", "right") for joint in ("hip", "knee")},
        **{f"{side}_ankle": _axes("FUR", 25.0) for side in ("left", "right")},
        **{f"{side}_foot": _axes("FUR", 3.5) for side in ("left", "right")},
    },
    keys=("lafan1",),
)  # fmt: skip

_MIXAMO = SourceSkeleton(
    "Mixamo",
    {
        "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck",
        "head": "Head",
        **_both(_MAYA_JOINTS, "Left", "Right"),
    },
    keys=("mixamo",),
)  # fmt: skip

_CMU = SourceSkeleton(
    "CMU (cgspeed)",
    {
        "pelvis": "Hips", "spine1": "LowerBack", "spine2": "Spine", "spine3": "Spine1", "neck": "Neck1",
        "head": "Head", **_both(_MAYA_JOINTS, "Left", "Right"),
    },
    skip_frames=1,
    keys=("cmu",),
)  # fmt: skip

_CMU_OLDER = SourceSkeleton(
    "CMU (older)",
    {
        "pelvis": "Hips", "spine3": "Chest", "neck": "Neck", "head": "Head",
        **_both(_without(_XSENS_JOINTS, "foot"), "Left", "Right"),
    },
    keys=("cmu-older",),
)  # fmt: skip

_BIOVISION = SourceSkeleton(
    "Biovision",
    {
        "pelvis": "Hips",
        "spine3": "Chest",
        "neck": "Neck",
        "head": "Head",
        **_both(_BIOVISION_JOINTS, "Left", "Right"),
    },
    keys=("biovision",),
)

_XSENS = SourceSkeleton(
    "Xsens and 100STYLE",
    {
        "pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2", "spine3": "Chest4", "neck": "Neck",
        "head": "Head",
        **_both(_XSENS_JOINTS, "Left", "Right"),
    },
    keys=("xsens", "100style"),
)  # fmt: skip

_ASF_JOINTS = {
    "collar": "*clavicle", "shoulder": "*humerus", "elbow": "*radius", "wrist": "*hand",
    "hip": "*femur", "knee": "*tibia", "ankle": "*foot", "foot": "*toes",
}  # fmt: skip

_ASF = SourceSkeleton(
    "ASF/AMC (CMU and HDM05)",
    {
        "pelvis": "root", "spine1": "lowerback", "spine2": "upperback", "spine3": "thorax",
        "neck": "upperneck", "head": "head", **_both(_ASF_JOINTS, "l", "r"),
    },
    places={"left_wrist": "lwrist", "right_wrist": "rwrist"},  # these only twist the hand
    keys=("hdm05", "asf"),
)  # fmt: skip

KNOWN_SKELETONS = (_BANDAI, _CMU, _CMU_OLDER, _MIXAMO, _LAFAN1, _XSENS, _BIOVISION, _ASF, _SMPL)
