"""Motion from joint positions: .npy files of HumanML3D and MDM, and HumanML3D's features. Imports no torch.

Joints are SMPL's first 22, by its order; rotations are fitted to them (`joint_fit`). Their frame rate is
HumanML3D's, 20 frames per second, unless something else is said.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.formats.settings import ReadingSettings
from data.formats.up_axis import MATRICES, Axis, Stance, find_up
from data.retargeting.body_motion import JOINT
from data.retargeting.ground import plant, source_feet
from data.retargeting.joint_fit import fit_joints
from data.retargeting.retarget import to_motion
from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.motion import Motion

FloatArray = NDArray[np.float64]

HUMANML3D_FPS = 20.0
HUMANML3D_FEATURES = 263
_N_JOINTS = len(BODY_JOINTS)
_JOINT_COUNTS = (22, 24, 52, 55)
"""Skeletons that begin with SMPL's 22 body joints."""
_LARGEST_ERROR = 0.12
"""Metres: joints that lie farther from the body's are not SMPL's, or stand in another order."""
_STRETCH = 0.25
"""Share by which bones of a body may change their length over time; generated ones do."""
_ROOT_HEIGHTS = (0.1, 3.0)
"""Metres: between these a pelvis moves, in features that are not normalized."""
_EXPECTED = "give joints (T, 22, 3) in SMPL's order, or HumanML3D's features (T, 263)"


def motion_of_array(array: NDArray[np.generic], name: str, settings: ReadingSettings) -> Motion:
    """A motion from joints (T, 22, 3), (T, 66), a batch of one, MDM's (N, 22, 3, T), or features (T, 263).

    Raises PoseGPTError if the array is none of these, or no person.
    """
    if array.dtype.kind not in "fiu":
        raise PoseGPTError(f"{name} holds {array.dtype}, expected numbers", _EXPECTED)
    values = array.astype(float)
    if not np.isfinite(values).all():
        raise PoseGPTError(f"{name} holds NaN or infinite values", "use another file")
    notes: list[str] = []
    if values.ndim in (2, 3) and values.shape[-1] == HUMANML3D_FEATURES:
        joints = joints_of_features(_one_of_batch(values, 2, notes), name)
    else:
        joints = _joints(values, name, notes)
    return motion_of_joints(joints, name, settings, notes)


def motion_of_joints(joints: FloatArray, name: str, settings: ReadingSettings, notes: list[str]) -> Motion:
    """A motion whose joints are where these (T, 22, 3) are.

    Raises PoseGPTError if they are no person's.
    """
    _check_bones(joints, name)
    rate = settings.fps_in
    if rate is None:
        rate = HUMANML3D_FPS
        notes.append(f"no frame rate in the file: {rate:g} taken, HumanML3D's")

    # Upright first: the fit needs to know which way the pelvis rests.
    joints = joints @ MATRICES[_up_axis(joints, name, settings, notes)].T
    fit = fit_joints(joints, rate, settings.scale)
    if fit.error > _LARGEST_ERROR:
        raise PoseGPTError(
            f"{name}: its joints lie {1000 * fit.error:.0f} mm from those of a body in the same pose",
            _EXPECTED,
        )
    notes.append(f"rotations fitted to joints, which lie {1000 * fit.error:.0f} mm from the body's")
    # Planted feet of the source stay planted on a body of other proportions.
    feet = source_feet(joints * fit.scale, np.ones(_N_JOINTS, bool), rate)
    motion = to_motion(plant(fit.body, feet, rate), rate, name)
    return replace(motion, notes=(*motion.notes, *notes))


def joints_of_features(features: FloatArray, name: str) -> FloatArray:
    """(T, 22, 3) joints of HumanML3D's 263 features (Guo et al. 2022), Y up, metres.

    A frame holds the root's turn to the next frame, its step in its own heading (x, z), its height, the other
    joints around it in its heading, and more that follows from these.

    Raises PoseGPTError if the features are normalized: without their mean they are no motion.
    """
    height = features[:, 3]
    if not _ROOT_HEIGHTS[0] < float(np.median(height)) < _ROOT_HEIGHTS[1]:
        raise PoseGPTError(
            f"{name}: the root of its features is {np.median(height):.2f} m high: they are normalized",
            "undo it first: features * std + mean",
        )
    # A frame's turn and step lead to the next frame, so the first one stands at the origin.
    turns = np.concatenate([[0.0], np.cumsum(features[:-1, 0])])
    steps = np.zeros((len(features), 3))
    steps[1:, 0] = features[:-1, 1]
    steps[1:, 2] = features[:-1, 2]
    to_world = _inverse_heading(turns)
    root = np.cumsum(np.einsum("tij,tj->ti", to_world, steps), axis=0)
    root[:, 1] = height

    # The other joints are given around the root's place on the floor, in its heading.
    around = features[:, 4 : 4 + 3 * (_N_JOINTS - 1)].reshape(len(features), _N_JOINTS - 1, 3)
    others = np.einsum("tij,tkj->tki", to_world, around)
    others[..., 0] += root[:, None, 0]
    others[..., 2] += root[:, None, 2]
    return np.concatenate([root[:, None], others], axis=1)


def _inverse_heading(half_turns: FloatArray) -> FloatArray:
    """(T, 3, 3) rotations about y by minus twice the angles: HumanML3D keeps a quaternion's half angle."""
    cosine = np.cos(2 * half_turns)
    sine = np.sin(2 * half_turns)
    zero = np.zeros_like(cosine)
    one = np.ones_like(cosine)
    rows = [[cosine, zero, -sine], [zero, one, zero], [sine, zero, cosine]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _joints(values: FloatArray, name: str, notes: list[str]) -> FloatArray:
    """(T, 22, 3) of an array of joints. Raises PoseGPTError if it is none."""
    shape = values.shape
    # MDM has frames last.
    if values.ndim == 4 and shape[1] in _JOINT_COUNTS and shape[2] == 3:
        values = np.moveaxis(values, -1, 1)
    if values.ndim == 4:
        values = _one_of_batch(values, 3, notes)
    if values.ndim == 2 and shape[1] in [3 * n for n in _JOINT_COUNTS]:
        values = values.reshape(len(values), -1, 3)
    if values.ndim != 3 or values.shape[1] not in _JOINT_COUNTS or values.shape[2] != 3 or len(values) == 0:
        raise PoseGPTError(f"{name} has shape {shape}, which is no motion that is known", _EXPECTED)
    return values[:, :_N_JOINTS]


def _one_of_batch(values: FloatArray, n_axes: int, notes: list[str]) -> FloatArray:
    """The first motion of a batch."""
    if values.ndim == n_axes:
        return values
    if len(values) > 1:
        notes.append(f"it holds {len(values)} motions: the first was taken")
    return values[0] if len(values) else values.reshape(values.shape[1:])


def _check_bones(joints: FloatArray, name: str) -> None:
    """Raises PoseGPTError if thighs and shins are no bones: too short, or of changing length."""
    for side in ("left", "right"):
        for upper, lower in (("hip", "knee"), ("knee", "ankle")):
            bone = joints[:, JOINT[f"{side}_{lower}"]] - joints[:, JOINT[f"{side}_{upper}"]]
            lengths = np.linalg.norm(bone, axis=-1)
            middle = float(np.median(lengths))
            if not middle > 0 or np.percentile(np.abs(lengths / middle - 1), 90) > _STRETCH:
                raise PoseGPTError(
                    f"{name}: the length from {side} {upper} to {lower} changes from frame to frame",
                    _EXPECTED,
                )


def _up_axis(joints: FloatArray, name: str, settings: ReadingSettings, notes: list[str]) -> Axis:
    if settings.up != "auto":
        return "+y" if settings.up == "y" else "+z"
    hips = joints[:, [JOINT["left_hip"], JOINT["right_hip"]]].mean(axis=1)
    spine = joints[:, JOINT["neck"]] - hips
    length = np.linalg.norm(spine, axis=-1, keepdims=True)
    # Half a metre from hips to neck tells the unit well enough to see a floor.
    in_metres = joints * 0.5 / max(float(np.median(length)), 1e-9)
    return find_up(Stance(spine / np.maximum(length, 1e-9), in_metres), "+y", name, notes)
