"""A rig that is understood: which of its joints turn as which of SMPL's, and how. No torch.

Everything here is seen in one world: Y up, the rig facing +Z, its floor at y = 0, and its size such that its
legs are as long as SMPL's. The turn of a joint is that from its rest pose, in the world: whatever frame it
has, whatever pose it rests in, turned by nothing it stands as at rest.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh
from data.retargeting.body_motion import BONES, JOINT, LEGS, SMPL_BODY, RestBody
from data.retargeting.frames import unit
from data.retargeting.mapping.mapper import JointMap, draft_map, map_joints
from data.retargeting.mapping.skeletons import NEEDED
from data.retargeting.mapping.tree import common_ancestor, path_between
from data.retargeting.rest_pose.rest import zero_pose_frames
from data.retargeting.source import Recording, read_recording, zero_axes
from data.rigs.clearance import Thickness, thickness_of
from data.rigs.rest_mesh import rest_vertices
from data.rigs.rig import Rig
from data.rigs.soles import sole_height
from models.body.skeleton import BODY_JOINTS, BODY_PARENTS
from models.errors import PoseGPTError
from models.rotations import matrix_to_quat, quat_to_matrix

FloatArray = NDArray[np.float64]

SMPL_LEG = float(np.linalg.norm(BONES[LEGS], axis=1).sum() / 2)
"""Metres of thigh and shin together."""


class Driver(NamedTuple):
    """What turns a joint of the rig: one of SMPL's joints, or two of them by shares."""

    start: int
    end: int
    share: float
    """0 is the start's turn, 1 the end's."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How a rig follows SMPL's body; M of its J joints turn, the others keep their rest pose."""

    rig: Rig
    joints: JointMap
    axes: FloatArray
    """(3, 3) turn of the file's world to one with Y up in which the rig faces +Z."""
    size: float
    """Our metres per unit of the file: legs as long as SMPL's."""
    rest_positions: FloatArray
    """(J, 3) at rest, in our world."""
    floor: float
    """Height of the file's floor before it was put at y = 0, in our metres."""
    thickness: Thickness
    """Of its body."""
    alignments: FloatArray
    """(22, 3, 3) turn of each joint from rest to SMPL's T-pose."""
    moving: tuple[int, ...]
    """Joints of the rig that turn, parents before children; the first carries all others."""
    parents: tuple[int, ...]
    """For each of them which of them carries it; -1 for the first."""
    drivers: tuple[Driver, ...]
    """For each of them what turns it."""

    @cached_property
    def place_of(self) -> dict[int, int]:
        """Joint of the rig to its place among those that turn."""
        return {joint: k for k, joint in enumerate(self.moving)}

    @cached_property
    def offsets(self) -> FloatArray:
        """(M, 3) rest vector from what carries a joint to it."""
        positions = self.rest_positions[list(self.moving)]
        offsets = positions - positions[np.maximum(self.parents, 0)]
        offsets[0] = 0.0
        return offsets

    @cached_property
    def body(self) -> RestBody:
        """The rig's own 22 joints in SMPL's T-pose; those that it lacks lie as SMPL's do."""
        turns = np.broadcast_to(np.eye(3), (1, len(BODY_JOINTS), 3, 3))
        return RestBody(self.body_positions(turns, np.zeros((1, 3)), SMPL_BODY)[0], self._drops())

    def turns(self, rotations: FloatArray) -> FloatArray:
        """(T, M, 3, 3) turns of the rig's joints for SMPL's global rotations (T, 22, 3, 3)."""
        drivers = np.array(self.drivers)
        starts = drivers[:, 0].astype(int)
        ends = drivers[:, 1].astype(int)
        shares = drivers[:, 2]

        # Most joints turn as one of SMPL's; the others lie between two.
        turned = rotations[:, starts]
        shared = np.flatnonzero(shares)
        if len(shared):
            turned[:, shared] = _between(turned[:, shared], rotations[:, ends[shared]], shares[shared])
        return np.asarray(turned @ self.alignments[starts])

    def positions(self, turns: FloatArray, root: FloatArray) -> FloatArray:
        """(T, M, 3) where the joints are; `root` (T, 3) is where the first one is."""
        positions = np.empty(turns.shape[:-1])
        positions[:, 0] = root
        for k, parent in enumerate(self.parents[1:], start=1):
            positions[:, k] = positions[:, parent] + turns[:, parent] @ self.offsets[k]
        return positions

    def body_positions(self, rotations: FloatArray, root: FloatArray, spare: RestBody) -> FloatArray:
        """(T, 22, 3) where the rig has SMPL's joints; those that it lacks lie as on the spare body."""
        own = self.positions(self.turns(rotations), root)
        positions = np.empty(rotations.shape[:-1])
        for name, j in JOINT.items():
            if name in self.joints.turning:
                positions[:, j] = own[:, self.place_of[self.joints.turning[name]]]
            else:
                parent = BODY_PARENTS[j]
                positions[:, j] = positions[:, parent] + rotations[:, parent] @ spare.offsets[j]
        return positions

    def _drops(self) -> FloatArray:
        drops = SMPL_BODY.drops.copy()
        turning = self.joints.turning
        for side in ("left", "right"):
            ankle = JOINT[f"{side}_ankle"]
            foot = JOINT[f"{side}_foot"]
            drops[ankle] = self.rest_positions[turning[f"{side}_ankle"], 1]
            # A foot without toes stands flat too.
            drops[foot] = drops[ankle] + SMPL_BODY.offsets[foot, 1]
            if f"{side}_foot" in turning:
                drops[foot] = self.rest_positions[turning[f"{side}_foot"], 1]
        return drops


def fit_rig(rig: Rig) -> Fit:
    """Find out how a rig follows SMPL's body.

    Raises PoseGPTError if it has no person's limbs, with the joints that were looked for, or rests in a pose
    that says nothing.
    """
    joints = _find_joints(rig)
    recording = read_recording(rig.rest, joints)
    _refuse_four_legs(rig, recording)
    axes = zero_axes(recording)
    if axes is None:
        raise PoseGPTError(
            f"{rig.name} rests in no T-pose or A-pose: legs straight and down, left as right",
            "make that its rest pose, and export it again",
        )

    # Turned upright, its zero pose is read as that of a recording would be.
    upright = _turned(rig.rest, axes)
    recording = read_recording(upright, joints)
    zero = zero_pose_frames(recording)
    assert zero is not None, "the same pose turned"
    legs = recording.leg_length
    if legs <= 0:
        raise PoseGPTError(f"{rig.name} has legs without length", "use another rig")
    size = SMPL_LEG / legs
    positions = rig.world_positions @ axes.T * size
    points, carriers = rest_vertices(rig)
    points = points @ axes.T * size
    floor = sole_height(rig.parents, joints, positions, points[:, 1], carriers)
    positions[:, 1] -= floor
    points[:, 1] -= floor
    moving = _moving(rig, joints)
    if rig.nodes and rig.nodes[moving[0][0]] < 0:
        raise PoseGPTError(
            f"{rig.name} has no joint that carries both legs and trunk", "join them below one root", "rig"
        )
    thickness = _thickness(rig, joints, positions, points, carriers)
    return Fit(rig, joints, axes, size, positions, floor, thickness, zero.alignments, *moving)


def _thickness(
    rig: Rig, joints: JointMap, positions: FloatArray, points: FloatArray, carriers: NDArray[np.int64]
) -> Thickness:
    """How thick a rig is, by the vertices that move with its joints."""
    # What is no joint of SMPL's moves with the one above it.
    names = [""] * rig.n_joints
    turning = {joint: name for name, joint in joints.turning.items()}
    for joint, parent in enumerate(rig.parents):
        names[joint] = turning.get(joint, names[parent] if parent >= 0 else "")
    places = {name: positions[joint] for name, joint in joints.turning.items()}
    return thickness_of(places, points, [names[joint] if joint >= 0 else "" for joint in carriers])


def _find_joints(rig: Rig) -> JointMap:
    try:
        return map_joints(rig.rest)
    except PoseGPTError:
        draft = draft_map(rig.rest)
    # Some rigs lack one limb only: that is what to look at.
    found = [f"{joint}: {draft[joint]}" for joint in NEEDED if draft[joint]]
    missing = [joint for joint in NEEDED if not draft[joint]]
    lacks = "hips, knees, ankles, shoulders, elbows, wrists"
    if found and missing:
        lacks = ", ".join(missing)
    said = f"found {', '.join(found)}" if found else f"its joints are {', '.join(rig.names[:6])}, ..."
    raise PoseGPTError(
        f"{rig.name} ({rig.n_joints} joints) is no person's skeleton: looked for {lacks}",
        f"name its joints as Mixamo or VRM do; {said}",
        "rig",
    )


def _refuse_four_legs(rig: Rig, recording: Recording) -> None:
    """Raises PoseGPTError for a rig whose hands rest as low as its feet."""
    # Whichever axis is up: arms that point where legs do, from a trunk that lies across.
    zero = recording.zero
    hips, ankles, shoulders, wrists = (
        zero[[JOINT[f"left_{name}"], JOINT[f"right_{name}"]]].mean(axis=0)
        for name in ("hip", "ankle", "shoulder", "wrist")
    )
    down = unit(ankles - hips)
    reach = float((wrists - hips) @ down)
    trunk = float(abs((shoulders - hips) @ down))
    if reach > 0.5 * float((ankles - hips) @ down) and trunk < 0.7 * float(np.linalg.norm(shoulders - hips)):
        raise PoseGPTError(
            f"{rig.name} stands on four legs", "give a rig of a person: two legs and two arms", "rig"
        )


def _turned(rest: Bvh, axes: FloatArray) -> Bvh:
    """A rest pose of one frame, turned as a whole."""
    offsets = rest.offsets @ axes.T
    values = rest.values.copy()
    values[0, :3] = offsets[0]
    return replace(rest, offsets=offsets, values=values)


def _moving(rig: Rig, joints: JointMap) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Driver, ...]]:
    """The joints that turn, what carries each, and what turns it."""
    turning = joints.turning
    drivers = {}
    for name, joint in turning.items():
        drivers[joint] = Driver(JOINT[name], JOINT[name], 0.0)

    # The chest turns its shoulders, and a single joint above it looks where the head does.
    chest = common_ancestor(rig.parents, turning["left_shoulder"], turning["right_shoulder"])
    pelvis = turning["pelvis"]
    if "spine3" not in turning and chest != pelvis and chest in drivers:
        drivers[chest] = Driver(JOINT["spine3"], JOINT["spine3"], 0.0)
    if "head" not in turning and "neck" in turning:
        drivers[turning["neck"]] = Driver(JOINT["head"], JOINT["head"], 0.0)

    # What carries both legs and chest moves with the pelvis.
    fork = common_ancestor(rig.parents, pelvis, chest)
    for joint in (fork, *path_between(rig.parents, fork, pelvis)) if fork != pelvis else ():
        drivers[joint] = Driver(JOINT["pelvis"], JOINT["pelvis"], 0.0)

    # More joints in the spine or the neck than SMPL has share the bend of those around them.
    top = turning.get("head", turning.get("neck", chest))
    column = [fork, *path_between(rig.parents, fork, top), top] if top != fork else [fork]
    known = [k for k, joint in enumerate(column) if joint in drivers]
    for first, last in itertools.pairwise(known):
        start = drivers[column[first]].start
        end = drivers[column[last]].start
        for k in range(first + 1, last):
            drivers[column[k]] = Driver(start, end, (k - first) / (last - first))

    # The file has parents before their children, and so has what turns; what rests between is passed over.
    moving = tuple(sorted(drivers))
    place = {joint: k for k, joint in enumerate(moving)}
    parents = []
    for joint in moving:
        above = rig.parents[joint]
        while above >= 0 and above not in place:
            above = rig.parents[above]
        parents.append(place.get(above, -1))
    return moving, tuple(parents), tuple(drivers[joint] for joint in moving)


def _between(start: FloatArray, end: FloatArray, shares: FloatArray) -> FloatArray:
    """(T, N, 3, 3) rotations at shares (N,) of the way between two."""
    first = matrix_to_quat(start)
    last = matrix_to_quat(end)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    last /= np.linalg.norm(last, axis=-1, keepdims=True)
    # A quaternion and its negative are one rotation. Bends between neighbours are small: no slerp is needed.
    last *= np.copysign(1.0, (first * last).sum(axis=-1, keepdims=True))
    mixed = first + shares[:, None] * (last - first)
    return quat_to_matrix(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))
