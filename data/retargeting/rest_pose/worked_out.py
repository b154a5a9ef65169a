"""Joint frames of a T-pose worked out from a motion: from bones, and from axes of bending. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import BONES, JOINT, OFFSETS
from data.retargeting.frames import angle_between, mean_rotation, snapped, turn_onto, unit
from data.retargeting.rest_pose.evidence import bend_axes, planted_frames, shoulder_line
from data.retargeting.source import Recording
from models.body.ik import apply, smallest_turn

FloatArray = NDArray[np.float64]

_LEFT = np.array([1.0, 0.0, 0.0])
_UP = np.array([0.0, 1.0, 0.0])
_FORWARD = np.array([0.0, 0.0, 1.0])
_NEAR_AXES = 25.0
"""Degrees within which a frame is taken to lie along the axes, as those of most skeletons do."""
_LINE_OFF = 3.0
"""Degrees that the line of hips or shoulders may lie off the axis of a frame that lies along the axes."""
_SHOWN = 0.15
"""Root mean square of a bend's sine from which on its axis is trusted."""


def worked_out_frames(sample: Recording) -> FloatArray:
    """(22, 3, 3) orientation of each joint's frame in a T-pose that faces +Z, Y up.

    Trunk and limbs follow from where their bones and lines lie in the joints' own frames. Collars, neck, head
    and hands are taken to rest on the whole as the joint before them does.
    """
    frames = np.broadcast_to(np.eye(3), (len(JOINT), 3, 3)).copy()
    _work_out_trunk(sample, frames)
    chest = sample.turn(sample.chest) @ frames[JOINT[sample.chest]].T
    for joint in ("neck", "head", "left_collar", "right_collar"):
        if sample.has(joint):
            frames[JOINT[joint]] = _at_rest_on(chest, sample.turn(joint))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _work_out_limb(sample, frames, (f"{side}_hip", f"{side}_knee", f"{side}_ankle"), _LEFT)
        arm = (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        _work_out_limb(sample, frames, arm, -sign * _UP)
        forearm = sample.turn(arm[1]) @ frames[JOINT[arm[1]]].T
        frames[JOINT[arm[2]]] = _at_rest_on(forearm, sample.turn(arm[2]))
        _work_out_foot(sample, frames, side)
    return frames


def _work_out_trunk(sample: Recording, frames: FloatArray) -> None:
    """Pelvis by the hips, chest by the shoulders, what lies between by the bones of the spine."""
    hips = sample.bone("right_hip", "left_hip")
    top = sample.torso_top()
    spine = [joint for joint in ("spine1", "spine2", "spine3") if sample.has(joint)]
    # On the whole the back is straight: where the spine begins says less, skeletons differ there.
    up = sample.local("pelvis", unit(top - sample.hips_middle()))
    across = sample.local("pelvis", unit(hips))
    frames[0] = _along_axes(turn_onto(across, up, _LEFT, _UP), across)

    for k, joint in enumerate(spine):
        is_last = k == len(spine) - 1
        following = top if is_last else sample.at(spine[k + 1])
        line = shoulder_line(sample) if is_last else unit(hips) + unit(shoulder_line(sample))
        along = sample.local(joint, unit(following - sample.at(joint)))
        across = sample.local(joint, unit(line))
        primary_is_line = is_last
        if primary_is_line:
            worked = turn_onto(across, along, _LEFT, _UP)
        else:
            worked = turn_onto(along, across, _UP, _LEFT)
        frames[JOINT[joint]] = _along_axes(worked, across)


def _along_axes(worked: FloatArray, left: FloatArray) -> FloatArray:
    """The nearest right-angled frame, if it keeps what points left: lines say more than how a back leans."""
    nearest = snapped(worked, _NEAR_AXES)
    return nearest if angle_between(nearest @ left, _LEFT) < _LINE_OFF else worked


def _work_out_limb(
    sample: Recording, frames: FloatArray, limb: tuple[str, str, str], hinge: FloatArray
) -> None:
    """Both bones of a leg or an arm: along SMPL's bone, bending about SMPL's hinge."""
    upper, middle, lower = limb
    axes = bend_axes(sample, upper, middle, lower)
    bends_enough = np.sqrt((axes**2).sum(axis=-1).mean()) > _SHOWN
    bone = sample.local(upper, unit(sample.bone(upper, middle)))
    across = sample.local(upper, axes) if bends_enough else _resting_hinge(sample, frames, limb, hinge)
    frames[JOINT[upper]] = turn_onto(bone, across, BONES[JOINT[upper]], hinge)

    # On the whole the lower bone does not twist on the upper one: what it turns beside bending is its frame.
    turn = sample.turn(upper) @ frames[JOINT[upper]].T
    resting = mean_rotation(np.swapaxes(turn, -1, -2) @ sample.turn(middle))
    lower_bone = resting @ sample.local(middle, unit(sample.bone(middle, lower)))
    frames[JOINT[middle]] = smallest_turn(lower_bone, BONES[JOINT[middle]]) @ resting


def _resting_hinge(
    sample: Recording, frames: FloatArray, limb: tuple[str, str, str], hinge: FloatArray
) -> FloatArray:
    """(3,) where the hinge of a limb that never bends lies in its upper joint's frame.

    The limb is taken to have swung from its rest pose on the trunk without twisting.
    """
    upper, middle, _ = limb
    trunk = "pelvis" if upper.endswith("hip") else sample.chest
    turn = sample.turn(trunk) @ frames[JOINT[trunk]].T
    swing = smallest_turn(apply(turn, BONES[JOINT[upper]]), sample.bone(upper, middle))
    return sample.local(upper, apply(swing @ turn, hinge))


def _work_out_foot(sample: Recording, frames: FloatArray, side: str) -> None:
    """Foot and toes: flat on the floor while the foot is planted, pointing where the toes do."""
    flat = planted_frames(sample, side)
    planted = sample.frames(flat) if flat.any() else sample
    up = np.broadcast_to(_UP, (planted.n_frames, 3))
    if sample.has(f"{side}_foot"):
        forward = planted.bone(f"{side}_ankle", f"{side}_foot")
        rest = OFFSETS[JOINT[f"{side}_foot"]] * [1.0, 0.0, 1.0]
    else:
        pelvis = planted.turn("pelvis") @ frames[0].T
        forward = apply(pelvis, _FORWARD)
        rest = _FORWARD
    for joint in (f"{side}_ankle", f"{side}_foot"):
        if sample.has(joint):
            own_up = planted.local(joint, up)
            own_forward = planted.local(joint, unit(forward * [1.0, 0.0, 1.0]))
            frames[JOINT[joint]] = turn_onto(own_up, own_forward, _UP, rest)


def _at_rest_on(turn_before: FloatArray, turn: FloatArray) -> FloatArray:
    """(3, 3) frame under which a joint rests, on the whole, on the joint before it.

    Args:
        turn_before: (T, 3, 3) SMPL's rotation of the joint before.
        turn: (T, 3, 3) the file's rotation of the joint.
    """
    return snapped(mean_rotation(np.swapaxes(turn_before, -1, -2) @ turn), _NEAR_AXES)
