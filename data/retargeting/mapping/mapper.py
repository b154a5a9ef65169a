"""Which joint of a file plays which of SMPL's: by their names, else by the skeleton's shape. No torch."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from data.formats.bvh import Bvh, zero_pose
from data.retargeting.mapping.names import PlainName, plain_names, plain_part, without_namespace
from data.retargeting.mapping.skeletons import KNOWN_SKELETONS, MAP_HINT, NEEDED, SIDES, SourceSkeleton
from data.retargeting.mapping.topology import limbs_by_shape
from data.retargeting.mapping.tree import above, common_ancestor, descends, path_between
from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.files import write_atomically

_LEG = ("hip", "knee", "ankle", "foot")
_ARM = ("collar", "shoulder", "elbow", "wrist")
_CHAINS = (_LEG[:3], _ARM[1:])
"""The needed joints of a leg and of an arm, from the body outwards."""
_NO_ROLE = ("twist", "roll", "end", "nub", "ik", "pole", "helper")
"""Words of joints beside the chain of the body."""
_LOW_CHEST, _HIGH_CHEST = 0.34, 0.53
"""Shares of the way from pelvis to neck at which a single spine joint counts as spine2, and as spine3."""

Limbs = dict[str, int]
"""SMPL joint to the index of the file's joint."""


@dataclass(frozen=True, eq=False)
class JointMap:
    """The joints of one file."""

    skeleton: str
    """Which skeleton it was recognised as, for messages."""
    turning: Mapping[str, int]
    """SMPL joint to the index of the file's joint that turns it."""
    lying: Mapping[str, int]
    """SMPL joint to the index of the file's joint at which it lies."""


def map_joints(bvh: Bvh, skeleton: SourceSkeleton | None = None) -> JointMap:
    """Find the body's joints in a file.

    Args:
        bvh: the file.
        skeleton: the skeleton that it is said to have; None finds out.

    Raises PoseGPTError that names the nearest skeleton and what it lacks, if the limbs cannot be found.
    """
    if skeleton is not None and skeleton.is_map:
        return _by_own_map(bvh, skeleton)

    # Legs and arms are looked up apart: mixed skeletons take each from another program.
    plain = plain_names(bvh.names, _SIDED_PARTS)
    candidates = [skeleton] if skeleton else list(KNOWN_SKELETONS)
    legs, legs_of = _best_limbs(plain, candidates, _LEG)
    arms, arms_of = _best_limbs(plain, candidates, _ARM)
    limbs = legs | arms
    if skeleton is None:
        limbs = _with_other_words(bvh, plain, limbs)
    named = arms_of.name if legs_of is arms_of else f"{legs_of.name} and {arms_of.name}"

    # Names that do not make a body are no evidence; then the shape decides, or nothing does.
    if not _is_body(bvh, limbs):
        by_shape = limbs_by_shape(bvh) if skeleton is None else None
        if by_shape is None:
            raise _unknown(bvh, plain, candidates)
        limbs = by_shape
        named = "its shape"

    # The rest follows from where the limbs are: names differ most along the spine.
    turning = _order(limbs | _collars_and_toes(bvh, plain, limbs) | _trunk(bvh, plain, limbs))
    places = _places(plain, arms_of)
    return JointMap(named, turning, {**turning, **places})


def draft_map(bvh: Bvh) -> dict[str, str]:
    """{SMPL joint: joint of the file} as far as it can be told, empty for the others: to be edited."""
    try:
        turning = map_joints(bvh).turning
    except PoseGPTError:
        plain = plain_names(bvh.names, _SIDED_PARTS)
        legs, _ = _best_limbs(plain, list(KNOWN_SKELETONS), _LEG)
        arms, _ = _best_limbs(plain, list(KNOWN_SKELETONS), _ARM)
        turning = legs | arms
    draft = {}
    for joint in BODY_JOINTS:
        draft[joint] = bvh.names[turning[joint]] if joint in turning else ""
    return draft


def write_draft_map(path: Path, bvh: Bvh, force: bool = False) -> None:
    """Write the draft of a map, which `--skeleton` reads.

    Raises PoseGPTError if the file exists (without `force`) or cannot be written.
    """
    text = json.dumps(draft_map(bvh), indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(), force)


def _by_own_map(bvh: Bvh, skeleton: SourceSkeleton) -> JointMap:
    turning = {}
    for joint, name in skeleton.joints.items():
        turning[joint] = _find(bvh, name, skeleton)
    ordered = _order(turning)
    return JointMap(skeleton.name, ordered, ordered)


def _find(bvh: Bvh, name: str, skeleton: SourceSkeleton) -> int:
    """A joint by its name as it stands in the file, else without namespace, else in any case."""
    if name in bvh.names:
        return bvh.index(name)
    for plainer in (without_namespace, str.lower):
        for index, own in enumerate(bvh.names):
            if plainer(own) == plainer(name):
                return index
    close = difflib.get_close_matches(name, bvh.names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"its joints are {', '.join(bvh.names[:8])}, ..."
    raise PoseGPTError(f"{bvh.name} has no joint {name!r}, which the skeleton {skeleton.name} names", hint)


def _best_limbs(
    plain: list[PlainName], candidates: list[SourceSkeleton], roles: tuple[str, ...]
) -> tuple[Limbs, SourceSkeleton]:
    """Both legs or both arms under the naming that fits most of their joints, and whose naming that is."""
    # Of joints with one name the first counts: helpers and ends come later.
    where: dict[PlainName, int] = {}
    for index, name in enumerate(plain):
        where.setdefault(name, index)
    best: Limbs = {}
    best_score = (-1, -1)
    best_skeleton = candidates[0]
    for skeleton in candidates:
        found = {}
        for side in SIDES:
            for role in roles:
                pattern = skeleton.patterns.get(role)
                if pattern and (name := PlainName(side, plain_part(pattern))) in where:
                    found[f"{side}_{role}"] = where[name]
        # Needed joints decide, then the others, then the names of the middle.
        needed = sum(joint in NEEDED for joint in found)
        score = (needed * 10 + len(found), _middle_score(plain, skeleton))
        if score > best_score:
            best, best_score, best_skeleton = found, score, skeleton
    return best, best_skeleton


def _with_other_words(bvh: Bvh, plain: list[PlainName], limbs: Limbs) -> Limbs:
    """Limbs with gaps closed by what other skeletons call a joint: an arm may end in a wrist or a hand."""
    found = dict(limbs)
    for side in SIDES:
        for limb in _CHAINS:
            for upper, role in pairwise(("", *limb)):
                joint = f"{side}_{role}"
                start = found.get(f"{side}_{upper}", -1) if upper else -1
                if joint in found or (upper and start < 0):
                    continue
                # Below the joint before it, if it is not the limb's first.
                for index, name in enumerate(plain):
                    is_called_so = name.side == side and name.part in _PARTS_OF[role]
                    is_below = not upper or descends(bvh.parents, index, start)
                    if is_called_so and is_below and index not in found.values():
                        found[joint] = index
                        break
    return found


def _middle_score(plain: list[PlainName], skeleton: SourceSkeleton) -> int:
    parts = {name.part for name in plain if not name.side}
    score = 0
    for role, joint in skeleton.joints.items():
        score += not role.startswith(SIDES) and plain_part(joint) in parts
    return score


def _is_body(bvh: Bvh, limbs: Limbs) -> bool:
    """Whether all limbs are there, each joint below the one before it."""
    if not limbs.keys() >= set(NEEDED):
        return False
    for side in SIDES:
        for limb in _CHAINS:
            for upper, lower in pairwise(limb):
                if not descends(bvh.parents, limbs[f"{side}_{lower}"], limbs[f"{side}_{upper}"]):
                    return False
    return True


def _collars_and_toes(bvh: Bvh, plain: list[PlainName], limbs: Limbs) -> Limbs:
    """Collars between chest and shoulder, and toes below the ankles, if they are not known by name."""
    found: Limbs = {}
    chest = common_ancestor(bvh.parents, limbs["left_shoulder"], limbs["right_shoulder"])
    for side in SIDES:
        shoulder = limbs[f"{side}_shoulder"]
        between = path_between(bvh.parents, chest, shoulder)

        # A collar lies between chest and shoulder; twist bones of that name do not.
        named = limbs.get(f"{side}_collar")
        if named in between:
            found[f"{side}_collar"] = named
        elif between:
            found[f"{side}_collar"] = between[-1]

        # A toe must be below its ankle, or else it is a target of inverse kinematics.
        toe = limbs.get(f"{side}_foot")
        if toe is None or not descends(bvh.parents, toe, limbs[f"{side}_ankle"]):
            toe = _toe(bvh, plain, limbs[f"{side}_ankle"])
        if toe is not None:
            found[f"{side}_foot"] = toe
    return found


def _toe(bvh: Bvh, plain: list[PlainName], ankle: int) -> int | None:
    """The child of an ankle with the longest bone that is no helper."""
    longest = 0.0
    found = None
    for joint, parent in enumerate(bvh.parents):
        # A toe's end tells where the foot points as well as the toe.
        is_helper = _is_helper(plain[joint]) and "end" not in plain[joint].part
        length = float((bvh.offsets[joint] ** 2).sum())
        if parent == ankle and not is_helper and length > longest:
            longest = length
            found = joint
    return found


def _trunk(bvh: Bvh, plain: list[PlainName], limbs: Limbs) -> Limbs:
    """Pelvis, spine, neck and head: the joints on the way from the hips to the head."""
    # Above the hips' common joint is the pelvis, above the shoulders' the chest; the spine is between them.
    parents = bvh.parents
    pelvis = common_ancestor(parents, limbs["left_hip"], limbs["right_hip"])
    chest = common_ancestor(parents, limbs["left_shoulder"], limbs["right_shoulder"])
    fork = common_ancestor(parents, pelvis, chest)
    spine = [*path_between(parents, fork, chest), chest] if chest not in (fork, pelvis) else []
    if pelvis in spine:
        spine.remove(pelvis)

    # Arms that hang on the neck: it is no part of the spine.
    neck_is_chest = len(spine) > 1 and plain[spine[-1]].part.startswith("neck")
    above_chest = [spine.pop()] if neck_is_chest else []
    head = _head(bvh, plain, chest, limbs)
    if head is not None:
        above_chest += [*path_between(parents, chest, head), head]

    found = {"pelvis": pelvis, **_name_spine(bvh, spine, pelvis, above_chest)}
    if above_chest:
        found["head"] = above_chest[-1]
    if len(above_chest) > 1:
        found["neck"] = above_chest[-2]
    elif above_chest and plain[above_chest[0]].part != "head":
        # A single joint above the chest turns neck and head together.
        found["neck"] = found.pop("head")
    return found


def _name_spine(bvh: Bvh, spine: list[int], pelvis: int, above_chest: list[int]) -> Limbs:
    """SMPL's three spine joints among those of the file; of more than three the first two and the last."""
    if len(spine) >= 3:
        return {"spine1": spine[0], "spine2": spine[1], "spine3": spine[-1]}
    if len(spine) == 2:
        return {"spine1": spine[0], "spine3": spine[1]}
    if not spine:
        return {}

    # A single one turns all above it: it is the joint of SMPL that lies as high.
    rest = zero_pose(bvh).positions[0]
    whole = _way_length(bvh, pelvis, above_chest[0]) if above_chest else 0.0
    height = float(np.linalg.norm(rest[spine[0]] - rest[pelvis]))
    share = height / whole if whole > 0 else 0.5
    if share < _LOW_CHEST:
        return {"spine1": spine[0]}
    return {"spine2" if share < _HIGH_CHEST else "spine3": spine[0]}


def _way_length(bvh: Bvh, top: int, bottom: int) -> float:
    """Length of the bones from one joint down to another."""
    joints = [*path_between(bvh.parents, top, bottom), bottom]
    return float(np.linalg.norm(bvh.offsets[joints], axis=1).sum())


def _is_helper(name: PlainName) -> bool:
    return any(word in name.part for word in _NO_ROLE)


def _head(bvh: Bvh, plain: list[PlainName], chest: int, limbs: Limbs) -> int | None:
    """The joint named head above the chest, else the end of the chain that carries no arm."""
    for joint, name in enumerate(plain):
        if not name.side and name.part == "head" and descends(bvh.parents, joint, chest):
            return joint

    # Upwards from the chest, as long as there is one joint without an arm to go on with.
    arms = (limbs["left_shoulder"], limbs["right_shoulder"])
    chain: list[int] = []
    current = chest
    while True:
        children = []
        for joint, parent in enumerate(bvh.parents):
            carries_arm = any(joint in above(bvh.parents, arm) for arm in arms)
            is_beside = _is_helper(plain[joint]) or plain[joint].side
            if parent == current and not carries_arm and not is_beside:
                children.append(joint)
        if len(children) != 1 or len(chain) > 3:
            return chain[-1] if chain else None
        current = children[0]
        chain.append(current)


def _places(plain: list[PlainName], skeleton: SourceSkeleton) -> Limbs:
    """Joints at which a limb's end lies, where another joint turns it."""
    found: Limbs = {}
    for joint, pattern in skeleton.places.items():
        wanted = PlainName(joint.partition("_")[0], plain_part(pattern))
        if wanted in plain:
            found[joint] = plain.index(wanted)
    return found


def _order(turning: Limbs) -> Limbs:
    """In SMPL's order."""
    return {joint: turning[joint] for joint in BODY_JOINTS if joint in turning}


def _unknown(bvh: Bvh, plain: list[PlainName], candidates: list[SourceSkeleton]) -> PoseGPTError:
    """What to say of a skeleton in which no body is found."""
    # The nearest skeleton is the one that lacks the fewest joints.
    nearest = candidates[0]
    fewest: list[str] = list(NEEDED)
    for skeleton in candidates:
        legs, _ = _best_limbs(plain, [skeleton], _LEG)
        arms, _ = _best_limbs(plain, [skeleton], _ARM)
        found = legs | arms
        missing = [joint for joint in NEEDED if joint not in found]
        if len(missing) < len(fewest):
            fewest = missing
            nearest = skeleton
    if len(candidates) == 1 and fewest:
        name = nearest.joints[fewest[0]]
        return PoseGPTError(
            f"{bvh.name} has no joint {name!r}, which the {nearest.name} skeleton needs",
            "choose another `skeleton`, or leave it out to find it by the joints' names",
            "skeleton",
        )
    some = ", ".join(list(bvh.names)[:6])
    message = f"{bvh.name} has a skeleton that is not known (joints {some}, ...)"
    if len(fewest) < len(NEEDED):
        lacking = ", ".join(nearest.joints[joint] for joint in fewest[:4])
        more = f" and {len(fewest) - 4} more" if len(fewest) > 4 else ""
        message += f"; the nearest is {nearest.name}, but {lacking}{more} is missing"
    hint = f"{MAP_HINT}; write_skeleton=FILE.json writes a draft"
    return PoseGPTError(message, hint, ("skeleton", "write_skeleton"))


def _all_parts() -> dict[str, set[str]]:
    """Joint without side to all that skeletons call it."""
    parts: dict[str, set[str]] = {role: set() for role in _LEG + _ARM}
    for skeleton in KNOWN_SKELETONS:
        for role, pattern in skeleton.patterns.items():
            parts[role].add(plain_part(pattern))
    return parts


_PARTS_OF = _all_parts()
_SIDED_PARTS = frozenset(chain.from_iterable(_PARTS_OF.values()))
