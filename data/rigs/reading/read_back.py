"""Recordings on rigs to SMPL: what posegpt made is undone, others are retargeted. No torch.

What posegpt put on a rig has its feet planted already, on a floor at y = 0; planting them once more would
move them again.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh, forward_kinematics
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import HIPS, JOINT, OFFSETS
from data.retargeting.glitches import count_glitches
from data.retargeting.mapping.skeletons import SourceSkeleton
from data.retargeting.own_files import is_own_file
from data.retargeting.retarget import RetargetedMotion, retarget_counted
from data.rigs.fit import Fit, fit_rig
from data.rigs.reading.bvh_rig import bvh_rig, is_marked
from data.rigs.solve import standing_lift
from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, REST_PELVIS
from models.motion import Motion
from models.rotations import matrix_to_quat, quat_to_rotvec, rotvec_to_quat

FloatArray = NDArray[np.float64]


def read_recording_counted(
    bvh: Bvh, skeleton: SourceSkeleton | None = None, settings: ReadingSettings | None = None
) -> RetargetedMotion:
    """A recording as SMPL's motion, and how often a joint jumps in it.

    Raises PoseGPTError if the skeleton is not known, or the result does not fit the file's joint positions.
    """
    if skeleton is not None or is_own_file(bvh) or not is_marked(bvh):
        return retarget_counted(bvh, skeleton, settings)
    motion = undo(fit_rig(bvh_rig(bvh)), bvh)
    return RetargetedMotion(motion, count_glitches(rotvec_to_quat(motion.poses)))


def undo(fit: Fit, bvh: Bvh) -> Motion:
    """SMPL's motion out of a recording that posegpt put on a rig.

    Args:
        fit: how the rig follows SMPL's body.
        bvh: the rig's joints, in its order, with frames that lie along the world's axes at rest.
    """
    # The same turns that were put on the rig, in our world and size again.
    pose = forward_kinematics(bvh)
    moving = list(fit.moving)
    turns = fit.axes @ pose.rotations[:, moving] @ fit.axes.T
    root = pose.positions[:, moving[0]] @ fit.axes.T * fit.size - [0.0, fit.floor, 0.0]
    rotations = _body_rotations(fit, turns)

    # The hips are where both bodies agree, up to what is between them and the soles.
    own = fit.positions(turns, root)
    hips = [fit.place_of[fit.joints.turning[f"{side}_hip"]] for side in ("left", "right")]
    middle = own[:, hips].mean(axis=1) - standing_lift(fit)
    pelvis = middle - rotations[:, 0] @ OFFSETS[HIPS].mean(axis=0)

    local = rotations.copy()
    above = rotations[:, list(BODY_PARENTS[1:])]
    local[:, 1:] = np.swapaxes(above, -1, -2) @ rotations[:, 1:]
    rotvecs = quat_to_rotvec(matrix_to_quat(local))
    poses = np.concatenate([rotvecs, np.zeros((len(rotvecs), 2, 3))], axis=1)
    trans = pelvis - REST_PELVIS["smpl"]
    motion = Motion(poses.astype(np.float32), trans.astype(np.float32), bvh.fps)
    return replace(motion, name=bvh.name, notes=bvh.notes)


def _body_rotations(fit: Fit, turns: FloatArray) -> FloatArray:
    """(T, 22, 3, 3) SMPL's global rotations; joints that the rig lacks turn with those below them."""
    rotations = np.empty((len(turns), len(BODY_JOINTS), 3, 3))
    known = np.zeros(len(BODY_JOINTS), bool)
    for k, driver in enumerate(fit.drivers):
        if driver.share == 0:
            rotations[:, driver.start] = turns[:, k] @ fit.alignments[driver.start].T
            known[driver.start] = True

    # A spine with fewer joints bends as far as its chest does; a neck that is none turns with the head.
    for name, above in (("spine2", "spine3"), ("spine1", "spine2"), ("neck", "head")):
        if not known[JOINT[name]] and known[JOINT[above]]:
            rotations[:, JOINT[name]] = rotations[:, JOINT[above]]
            known[JOINT[name]] = True
    for joint, parent in enumerate(BODY_PARENTS):
        if not known[joint]:
            rotations[:, joint] = rotations[:, parent]
    return rotations
