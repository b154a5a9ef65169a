"""BVH files of a motion on a rig: its bone names, its hierarchy, its rest pose as the zero pose. No torch."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import depth_first, hierarchy_lines
from data.formats.euler import rotvecs_to_zyx
from data.rigs.reading.bvh_rig import mark_root
from data.rigs.solve import RigMotion
from models.files import atomic_file
from models.rotations import matrix_to_quat, quat_to_rotvec

FloatArray = NDArray[np.float64]

_NO_NAME = re.compile(r"[\s{}]+")


def write_rig_bvh(path: Path, motion: RigMotion, force: bool = False) -> None:
    """Write a motion on a rig as BVH: in centimetres, or the units of the rig's own BVH file, and its axes.

    Raises PoseGPTError if the file exists (without `force`) or cannot be written.
    """
    rig = motion.fit.rig
    joints = _joints_below(rig.parents, rig.top)
    parents = [joints.index(rig.parents[joint]) if joint != rig.top else -1 for joint in joints]
    unit = rig.bvh_units
    # The floor of the rig's file comes to zero.
    floor = motion.fit.axes[1] * motion.fit.floor / motion.fit.size
    places = (rig.world_positions[joints] - floor) * unit
    offsets = places - np.where(np.array(parents)[:, None] < 0, 0.0, places[parents])
    first = motion.fit.moving[0]

    # What carries the body has a path of its own, also if it is not the uppermost joint.
    placed = {joints.index(rig.top), joints.index(first)}
    # Names may hold anything in glTF, but neither lines nor braces in BVH.
    names = [" ".join(_NO_NAME.sub(" ", rig.names[joint]).split()) or "joint" for joint in joints]
    shown = offsets.copy()
    shown[0] = mark_root(offsets[0])
    lines = ["HIERARCHY", *hierarchy_lines(names, parents, shown, 0, 0, placed), "MOTION"]
    lines += [f"Frames: {motion.n_frames}", f"Frame Time: {1 / motion.fps:.8f}"]

    order = depth_first(parents)
    angles = rotvecs_to_zyx(quat_to_rotvec(_local_turns(motion, [joints[k] for k in order])))
    columns = []
    for k, joint in enumerate(order):
        if joint in placed:
            columns.append(_path(motion, joints[joint], unit, offsets[joint]))
        columns.append(angles[:, k])
    with atomic_file(path, force) as file:
        file.write(("\n".join(lines) + "\n").encode())
        np.savetxt(file, np.concatenate(columns, axis=1), fmt="%.6f")


def _joints_below(parents: tuple[int, ...], top: int) -> list[int]:
    """A joint and all joints below it."""
    found = [top]
    for joint, parent in enumerate(parents):
        if parent in found:
            found.append(joint)
    return found


def _local_turns(motion: RigMotion, joints: list[int]) -> FloatArray:
    """(T, N, 4) turns of joints from rest, relative to their parents, in the axes of the file's world."""
    fit = motion.fit
    axes = fit.axes
    turns = np.zeros((motion.n_frames, len(joints), 4))
    turns[..., 3] = 1.0
    for k, joint in enumerate(joints):
        if joint in motion.fingers:
            turns[:, k] = matrix_to_quat(axes.T @ motion.fingers[joint] @ axes)
        place = fit.place_of.get(joint)
        if place is None:
            continue
        turn = motion.turns[:, place]
        carrier = fit.parents[place]
        if carrier >= 0:
            turn = np.swapaxes(motion.turns[:, carrier], -1, -2) @ turn
        turns[:, k] = matrix_to_quat(axes.T @ turn @ axes)
    return turns


def _path(motion: RigMotion, joint: int, unit: float, offset: FloatArray) -> FloatArray:
    """(T, 3) place of a joint relative to its parent."""
    fit = motion.fit
    path = np.tile(offset, (motion.n_frames, 1))
    if joint == fit.moving[0]:
        way = (motion.root - fit.rest_positions[joint]) / fit.size
        path += way @ fit.axes * unit
    return path
