"""Our motion on a rig: directions of limbs kept, feet planted on the rig's own legs. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import HIPS, JOINT, SMPL_BODY, BodyMotion, body_motion
from data.retargeting.ground import hold_feet, sole_heights, source_feet
from data.retargeting.tolerance import Tolerance
from data.rigs.clearance import clear_hands, lift_off_floor
from data.rigs.fingers import finger_turns
from data.rigs.fit import Fit
from models.body.skeleton import BODY_JOINTS
from models.motion import Motion
from models.rotations import matrix_to_quat

FloatArray = NDArray[np.float64]

_ALL = np.ones(len(BODY_JOINTS), bool)


@dataclass(frozen=True, eq=False)
class RigMotion:
    """A motion as a rig's own joints make it."""

    fit: Fit
    turns: FloatArray
    """(T, M, 3, 3) of the joints that turn, in our world, from their rest pose."""
    root: FloatArray
    """(T, 3) where the first of them is, in our world and size."""
    fingers: Mapping[int, FloatArray]
    """Joint of a finger to its turns (T, 3, 3) or (1, 3, 3) relative to its parent, in our world at rest."""
    fps: float
    name: str = ""
    licence: str = ""

    @property
    def n_frames(self) -> int:
        return len(self.root)

    def local_rotations(self) -> FloatArray:
        """(T, M, 4) unit quaternions relative to the parent in the file, without jumps of sign."""
        # A joint's frame at rest, C, turns with its carrier; between both may be joints that stay at rest.
        rig = self.fit.rig
        frames = self.fit.axes @ rig.world_rotations
        local = np.empty_like(self.turns)
        for k, (joint, carrier) in enumerate(zip(self.fit.moving, self.fit.parents, strict=True)):
            parent = rig.parents[joint]
            above = frames[parent] if parent >= 0 else self.fit.axes
            turn = self.turns[:, k]
            if carrier >= 0:
                turn = np.swapaxes(self.turns[:, carrier], -1, -2) @ turn
            local[:, k] = above.T @ turn @ frames[joint]
        quats = matrix_to_quat(local)
        quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
        _keep_sign(quats)
        return quats

    def all_local_rotations(self) -> FloatArray:
        """(T, J, 4) unit quaternions of all joints of the rig relative to their parents in the file."""
        rig = self.fit.rig
        quats = np.tile(rig.rotations, (self.n_frames, 1, 1))
        quats[:, list(self.fit.moving)] = self.local_rotations()
        for joint in self.fingers:
            quats[:, joint] = self.finger_rotations(joint)
        return quats

    def finger_rotations(self, joint: int) -> FloatArray:
        """(T, 4) or (1, 4) unit quaternions of a finger's joint relative to its parent in the file."""
        frames = self.fit.axes @ self.fit.rig.world_rotations
        above = frames[self.fit.rig.parents[joint]]
        quats = matrix_to_quat(above.T @ self.fingers[joint] @ frames[joint])
        quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
        _keep_sign(quats)
        return quats

    def local_translation(self) -> FloatArray:
        """(T, 3) of the first joint relative to its parent in the file, in the file's units."""
        rig = self.fit.rig
        joint = self.fit.moving[0]
        parent = rig.parents[joint]
        # How far it is from where it rests; heights are counted from the floor.
        way = (self.root - self.fit.rest_positions[joint]) / self.fit.size
        if parent < 0:
            return np.asarray(rig.world_positions[joint] + way @ self.fit.axes)
        above = self.fit.axes @ rig.world_rotations[parent]
        stretch = np.where(np.abs(rig.world_scales[parent]) > 1e-12, rig.world_scales[parent], 1.0)
        return np.asarray(rig.translations[joint] + way @ above / stretch)


def put_on_rig(fit: Fit, motion: Motion) -> RigMotion:
    """Put a motion on a rig.

    Limbs point as the motion's do, as far as planted feet allow. The way over the floor is scaled by the
    length of the legs.
    """
    # SMPL's directions on the rig's bones first: everything points right, but feet slide and float.
    source = body_motion(motion.poses, motion.trans.astype(float), motion.body_type)
    body = _on_own_bones(fit, source)

    # Feet stand where the motion's do, as high over the floor as they are there.
    feet = source_feet(source.positions, _ALL, motion.fps)
    heights = np.maximum(sole_heights(source), 0.0)
    body = hold_feet(body, feet, motion.fps, heights, Tolerance())

    # Thicker bodies need room for their hands, and other limbs may reach the floor.
    body = clear_hands(source, body, fit.thickness, motion.fps)
    body = lift_off_floor(source, body, motion.fps)

    # Back from SMPL's joints to those of the rig.
    turns = fit.turns(body.rotations)
    root = _root(fit, body.rotations, body.positions)
    fingers = finger_turns(fit, motion)
    name = motion.name or " ".join(motion.labels) or "motion"
    return RigMotion(fit, turns, root, fingers, motion.fps, name, motion.licence)


def _on_own_bones(fit: Fit, source: BodyMotion) -> BodyMotion:
    """The source's rotations on the rig's bones, standing where the source stands."""
    lift = standing_lift(fit)
    origin = np.zeros((len(source.positions), 3))
    positions = fit.body_positions(source.rotations, origin, fit.body)
    middle = source.positions[:, HIPS].mean(axis=1) + lift
    positions += (middle - positions[:, HIPS].mean(axis=1))[:, None]
    return BodyMotion(source.rotations, positions, fit.body)


def standing_lift(fit: Fit) -> FloatArray:
    """(3,) by how much higher the rig's hips are than SMPL's when both stand on the floor."""
    own_height = _hips_height(fit.body.joints, fit.body.drops)
    height = _hips_height(SMPL_BODY.joints, SMPL_BODY.drops)
    return np.array([0.0, own_height - height, 0.0])


def _root(fit: Fit, rotations: FloatArray, positions: FloatArray) -> FloatArray:
    """(T, 3) place of the joint that carries all, which brings the hips to where they are."""
    origin = np.zeros((len(positions), 3))
    from_root = fit.body_positions(rotations, origin, fit.body)
    return np.asarray((positions[:, HIPS] - from_root[:, HIPS]).mean(axis=1))


def _hips_height(joints: FloatArray, drops: FloatArray) -> float:
    """Height of the middle of the hips over the soles of somebody who stands."""
    ankles = [JOINT["left_ankle"], JOINT["right_ankle"]]
    soles = joints[ankles, 1] - drops[ankles]
    return float(joints[HIPS, 1].mean() - soles.mean())


def _keep_sign(quats: FloatArray) -> None:
    """Let each quaternion (T, ..., 4) lie on the side of the one before, in place: viewers interpolate."""
    flips = np.sign((quats[1:] * quats[:-1]).sum(axis=-1, keepdims=True))
    flips[flips == 0] = 1
    quats[1:] *= np.cumprod(flips, axis=0)
