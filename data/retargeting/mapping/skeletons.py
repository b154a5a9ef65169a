"""The skeletons that people record on, as a table: which of their joints plays which of SMPL's. No torch."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.files import parse_json, read_bytes

SIDES = ("left", "right")
NEEDED = tuple(
    f"{side}_{joint}" for side in SIDES for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
)
"""Joints that a human skeleton must have; toes, collars, neck, head and spine may be missing."""


@dataclass(frozen=True, eq=False)
class SourceSkeleton:
    """How a kind of file maps to SMPL's 22 body joints."""

    name: str
    """What messages call it."""
    joints: Mapping[str, str]
    """SMPL joint to joint of the file."""
    places: Mapping[str, str] = field(default_factory=dict)
    """SMPL joint to the pattern of the joint at which it lies, if another one turns it."""
    keys: tuple[str, ...] = ()
    """What `--skeleton` calls it."""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Joint without side to how it is named, with * for the side: {"knee": "*Leg"}."""
    is_map: bool = False
    """Whether it is someone's own map, whose names are those of the file and to be taken literally."""


def named_skeleton(name: str) -> SourceSkeleton:
    """The skeleton that `--skeleton` names: a key of a known one, or a JSON file {SMPL joint: file's joint}.

    Raises PoseGPTError if there is no such skeleton or file, or the file does not map the limbs.
    """
    for skeleton in KNOWN_SKELETONS:
        if name.lower() in skeleton.keys:
            return skeleton
    path = Path(name)
    if path.suffix.lower() != ".json":
        keys = list(chain.from_iterable(skeleton.keys for skeleton in KNOWN_SKELETONS))
        close = difflib.get_close_matches(name.lower(), keys, n=1)
        hint = f"did you mean '{close[0]}'?" if close else MAP_HINT
        raise PoseGPTError(f"no skeleton {name!r}, known are {', '.join(keys)}", hint, "skeleton")
    return _read_map(path)


MAP_HINT = 'skeleton=FILE.json maps any other: {"pelvis": "Hips", "left_hip": "LeftUpLeg", ...}'


def _read_map(path: Path) -> SourceSkeleton:
    try:
        joints = parse_json(read_bytes(path))
    except (PoseGPTError, ValueError) as error:
        raise PoseGPTError(f"cannot read the skeleton {path}: {error}", MAP_HINT, "skeleton") from None
    if not (isinstance(joints, dict) and all(isinstance(joint, str) for joint in joints.values())):
        raise PoseGPTError(f"{path} does not map joints to joints", MAP_HINT, "skeleton")

    # A draft leaves joints that were not found empty.
    given = {joint: name for joint, name in joints.items() if name}
    wrong = [joint for joint in given if joint not in BODY_JOINTS]
    missing = [joint for joint in ("pelvis", *NEEDED) if joint not in given]
    if wrong or missing:
        what = f"names {wrong[0]!r}, which is no SMPL joint" if wrong else f"lacks {', '.join(missing)}"
        raise PoseGPTError(f"the skeleton {path} {what}", "SMPL's are: " + ", ".join(BODY_JOINTS))
    return SourceSkeleton(path.stem, given, is_map=True)


def _skeleton(
    name: str, keys: str, middle: str, legs: str, arms: str, sides: tuple[str, str] = ("Left", "Right")
) -> SourceSkeleton:
    """A row of the table.

    Args:
        name: what messages call it.
        keys: what `--skeleton` calls it, separated by spaces.
        middle: its pelvis, spine1, spine2, spine3, neck and head; - for one that it lacks.
        legs: its hip, knee, ankle and foot, with * for the side; - for one that it lacks.
        arms: its collar, shoulder, elbow and wrist, likewise.
        sides: what * stands for.
    """
    joints = _without_gaps(_MIDDLE, middle)
    patterns = _without_gaps(_LEG + _ARM, f"{legs} {arms}")
    for side, mark in zip(SIDES, sides, strict=True):
        for role, pattern in patterns.items():
            joints[f"{side}_{role}"] = pattern.replace("*", mark)
    return SourceSkeleton(name, joints, keys=tuple(keys.split()), patterns=patterns)


def _without_gaps(roles: tuple[str, ...], names: str) -> dict[str, str]:
    """Role to name, of those that are no gap; ~ stands for a space in a name."""
    found = {}
    for role, name in zip(roles, names.split(), strict=True):
        if name != "-":
            found[role] = name.replace("~", " ")
    return found


_MIDDLE = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
_LEG = ("hip", "knee", "ankle", "foot")
_ARM = ("collar", "shoulder", "elbow", "wrist")
_MAYA_ARMS = "*Shoulder *Arm *ForeArm *Hand"
_JOINT_ARMS = "*Collar *Shoulder *Elbow *Wrist"

# ASF has two joints for a wrist: at the first it lies, the second turns the hand.
_ASF_PLACES = {"left_wrist": "*wrist", "right_wrist": "*wrist"}
_ASF = _skeleton(
    "ASF/AMC (CMU and HDM05)", "hdm05 asf", "root lowerback upperback thorax upperneck head",
    "*femur *tibia *foot *toes", "*clavicle *humerus *radius *hand", ("l", "r"),
)  # fmt: skip

KNOWN_SKELETONS = (
    _skeleton(
        "Mixamo", "mixamo", "Hips Spine Spine1 Spine2 Neck Head",
        "*UpLeg *Leg *Foot *ToeBase", _MAYA_ARMS,
    ),
    _skeleton(
        "LAFAN1", "lafan1", "Hips Spine Spine1 Spine2 Neck Head",
        "*UpLeg *Leg *Foot *Toe", _MAYA_ARMS,
    ),
    _skeleton(
        "CMU (cgspeed)", "cmu", "Hips LowerBack Spine Spine1 Neck1 Head",
        "*UpLeg *Leg *Foot *ToeBase", _MAYA_ARMS,
    ),
    _skeleton(
        "CMU (older)", "cmu-older", "Hips - - Chest Neck Head",
        "*Hip *Knee *Ankle -", _JOINT_ARMS,
    ),
    _skeleton(
        "Xsens and 100STYLE", "xsens 100style", "Hips Chest Chest2 Chest4 Neck Head",
        "*Hip *Knee *Ankle *Toe", _JOINT_ARMS,
    ),
    _skeleton(
        "Xsens MVN", "mvn", "Pelvis L5 L3 T8 Neck Head",
        "*UpperLeg *LowerLeg *Foot *Toe", "*Shoulder *UpperArm *ForeArm *Hand",
    ),
    _skeleton(
        "Bandai-Namco", "bandai", "Hips Spine - Chest Neck Head",
        "UpperLeg_* LowerLeg_* Foot_* Toes_*", "Shoulder_* UpperArm_* LowerArm_* Hand_*", ("L", "R"),
    ),
    _skeleton(
        "Perception Neuron", "neuron", "Hips Spine Spine1 Spine3 Neck Head",
        "*UpLeg *Leg *Foot -", _MAYA_ARMS,
    ),
    _skeleton(
        "Rokoko", "rokoko", "Hips Spine1 Spine2 Spine4 Neck Head",
        "*Thigh *Shin *Foot *Toe", _MAYA_ARMS,
    ),
    _skeleton(
        "Daz and Poser", "daz poser", "hip abdomen - chest neck head",
        "*Thigh *Shin *Foot *Toe", "*Collar *Shldr *ForeArm *Hand", ("l", "r"),
    ),
    _skeleton(
        "Daz Genesis", "genesis", "hip abdomenLower abdomenUpper chestUpper neckLower head",
        "*ThighBend *Shin *Foot *Toe", "*Collar *ShldrBend *ForearmBend *Hand", ("l", "r"),
    ),
    _skeleton(
        "Biovision", "biovision", "Hips - - Chest Neck Head",
        "*UpLeg *LowLeg *Foot -", "*Collar *UpArm *LowArm *Hand",
    ),
    _skeleton(
        "GAMES105", "games105", "RootJoint pelvis_lowerback - lowerback_torso torso_head -",
        "*Hip *Knee *Ankle *ToeJoint", "*Torso_Clavicle *Shoulder *Elbow *Wrist", ("l", "r"),
    ),
    _skeleton(
        "Unity humanoid", "unity", "Hips Spine Chest UpperChest Neck Head",
        "*UpperLeg *LowerLeg *Foot *Toes", "*Shoulder *UpperArm *LowerArm *Hand",
    ),
    _skeleton(
        "VRM", "vrm", "hips spine chest upperChest neck head",
        "*UpperLeg *LowerLeg *Foot *Toes", "*Shoulder *UpperArm *LowerArm *Hand", ("left", "right"),
    ),
    _skeleton(
        "SlimeVR", "slimevr", "HIP WAIST CHEST UPPER_CHEST NECK HEAD",
        "*_UPPER_LEG *_LOWER_LEG *_FOOT *_TOE",
        "*_SHOULDER *_UPPER_ARM *_LOWER_ARM *_HAND", ("LEFT", "RIGHT"),
    ),
    _skeleton(
        "Unreal", "unreal", "pelvis spine_01 spine_02 spine_03 neck_01 head",
        "thigh_* calf_* foot_* ball_*", "clavicle_* upperarm_* lowerarm_* hand_*", ("l", "r"),
    ),
    _skeleton(
        "Rigify", "rigify", "spine spine.001 spine.002 spine.003 spine.005 spine.006",
        "thigh.* shin.* foot.* toe.*", "shoulder.* upper_arm.* forearm.* hand.*", ("L", "R"),
    ),
    _skeleton(
        "Reallusion", "reallusion cc", "Hip Waist Spine01 Spine02 NeckTwist01 Head",
        "*_Thigh *_Calf *_Foot *_ToeBase", "*_Clavicle *_Upperarm *_Forearm *_Hand", ("L", "R"),
    ),
    _skeleton(
        "3ds Max Biped", "biped", "Pelvis Spine Spine1 Spine2 Neck Head",
        "*~Thigh *~Calf *~Foot *~Toe0", "*~Clavicle *~UpperArm *~Forearm *~Hand", ("L", "R"),
    ),
    _skeleton(
        "SOMA", "soma", "Hips Spine1 Spine2 Chest Neck2 Head",
        "*Leg *Shin *Foot *ToeBase", _MAYA_ARMS,
    ),
    _skeleton(
        "OptiTrack", "optitrack", "Hip Ab - Chest Neck Head",
        "*Thigh *Shin *Foot *Toe", "*Shoulder *UArm *FArm *Hand", ("L", "R"),
    ),
    _skeleton(
        "ARKit", "arkit", "hips_joint spine_1_joint spine_4_joint spine_7_joint neck_1_joint head_joint",
        "*_upLeg_joint *_leg_joint *_foot_joint *_toes_joint",
        "*_shoulder_1_joint *_arm_joint *_forearm_joint *_hand_joint", ("left", "right"),
    ),
    _skeleton(
        "MakeHuman", "makehuman", "root spine05 spine03 spine01 neck01 head",
        "upperleg01.* lowerleg01.* foot.* toe1-1.*", "clavicle.* upperarm01.* lowerarm01.* wrist.*",
        ("L", "R"),
    ),
    replace(_ASF, places=_ASF_PLACES),
    _skeleton(
        "SMPL", "smpl", "pelvis spine1 spine2 spine3 neck head",
        "*_hip *_knee *_ankle *_foot", "*_collar *_shoulder *_elbow *_wrist", ("left", "right"),
    ),
)  # fmt: skip
"""Every known skeleton. Names are those that its own tools write; their variants are recognised too."""
