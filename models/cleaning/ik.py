"""Inverse kinematics of a posed body: limbs whose ends are moved, toes that bend at the floor."""

import numpy as np

from models.body.ik import axis_turn, reach
from models.cleaning.skeleton import FEET, LIMBS, N_FEET, FloatArray, WorldPose

_LEAST = 1e-5
"""Metres; less is not worth a new pose."""
_MOST_BENT = 1.0
"""Radians by which toes bend upwards at most."""


def move_ends(pose: WorldPose, by: FloatArray) -> None:
    """Move the ends of the limbs by (B, T, 4, 3) metres, in place; they and the toes keep their directions.

    Rotations of the two bones are exact; of the joints' positions only those of the limb itself follow.
    """
    offsets = pose.rest.offsets
    for k, limb in enumerate(LIMBS):
        where = np.nonzero(np.abs(by[:, :, k]).max(axis=-1) > _LEAST)
        if len(where[0]) == 0:
            continue
        # Only the frames in which the limb has to move: in most it has not.
        start = pose.positions[limb.upper][where]
        middle = pose.positions[limb.lower][where]
        end = pose.positions[limb.end][where]
        upper = pose.rotations[limb.upper][where]
        lower = pose.rotations[limb.lower][where]
        turn = reach(start, middle, end, end + by[:, :, k][where], upper @ np.array(limb.hinge))

        upper = turn.upper @ upper
        lower = turn.lower @ lower
        new_middle = start + upper @ offsets[limb.lower]
        new_end = new_middle + lower @ offsets[limb.end]
        pose.rotations[limb.upper][where] = upper
        pose.rotations[limb.lower][where] = lower
        pose.positions[limb.lower][where] = new_middle
        pose.positions[limb.end][where] = new_end
        if k < N_FEET:
            pose.positions[FEET[k]][where] += new_end - end


def bend_toes(pose: WorldPose) -> None:
    """Toes that would dip into the floor bend upwards, in place: a foot rolls off over its ball."""
    for side in range(N_FEET):
        joint = FEET[side]
        offset = pose.rest.tip(side)
        where = np.nonzero(pose.point(joint, offset)[..., 1] < -_LEAST)
        if len(where[0]) == 0:
            continue
        rotation = pose.rotations[joint][where]
        base = pose.positions[joint][where][:, 1]

        # Turned up by an angle, the tip is at base + radius * sin(angle + phase): solved for the floor.
        upward = rotation[:, 1, 1]
        forward = rotation[:, 1, 2]
        sine_part = upward * offset[2] - forward * offset[1]
        cosine_part = upward * offset[1] + forward * offset[2]
        radius = np.hypot(sine_part, cosine_part)
        phase = np.arctan2(cosine_part, sine_part)
        angle = np.arcsin(np.clip(-base / np.maximum(radius, 1e-9), -1.0, 1.0)) - phase
        angle = np.clip(angle, 0.0, _MOST_BENT)
        axis = np.broadcast_to([-1.0, 0.0, 0.0], (len(angle), 3))
        pose.rotations[joint][where] = rotation @ axis_turn(axis, angle[:, None])
