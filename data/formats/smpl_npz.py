"""AMASS npz files, read and written: Z up in the file, Y up in a Motion. No torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.resample import resample
from data.rotations import turn_rotvecs
from models.body.skeleton import BODY_JOINTS, BODY_TYPES, JOINT_NAMES, REST_PELVIS, BodyType, n_joints
from models.errors import PoseGPTError
from models.files import atomic_file
from models.motion import Motion
from models.npz import read_arrays

FloatArray = NDArray[np.float64]

Z_TO_Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Turns AMASS's world (Z up) into ours (Y up): x stays, z becomes y, y becomes -z."""
_Z_TO_Y_QUAT = np.array([-(0.5**0.5), 0.0, 0.0, 0.5**0.5])  # the same

_BODY_TYPE_OF_WIDTH: dict[int, BodyType] = {n_joints(b) * 3: b for b in BODY_TYPES}
_FIRST_OF_HANDS = [JOINT_NAMES["smplh"].index(f"{side}_index1") for side in ("left", "right")]
_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate", "fps")  # SMPL-H release, SMPL-X release, ours of old
_LONGEST_LICENCE = 1000
_NO_AMASS = "give an AMASS .npz with poses, trans and mocap_framerate"


def read_smpl_npz(path: Path | str, fps: float | None = None, to_fps: float | None = None) -> Motion:
    """Read an AMASS npz: poses (T, 72, 156 or 165) and trans (T, 3), Z up.

    The pelvis keeps its place: SMPL turns the root about the pelvis, which stands at trans + REST_PELVIS, so
    the translation turns about that point and not about the origin.

    Args:
        path: the file.
        fps: frame rate where the file has none.
        to_fps: frame rate of the result (None: the file's own).

    Raises PoseGPTError where the file is damaged, holds objects, lacks a key, or is of no known body.
    """
    path = Path(path)
    arrays = read_arrays(path, ("poses", "trans", "labels", "licence", *_RATE_KEYS), _NO_AMASS)
    poses, trans = (_numbers(arrays, key, path) for key in ("poses", "trans"))
    body_type = _BODY_TYPE_OF_WIDTH.get(poses.shape[-1]) if poses.ndim == 2 else None
    if body_type is None or trans.shape != (len(poses), 3):
        raise PoseGPTError(
            f"{path.name} has poses {poses.shape} and trans {trans.shape}, expected poses "
            f"(T, {', '.join(map(str, _BODY_TYPE_OF_WIDTH))}) and trans (T, 3)",
            _NO_AMASS,
        )
    if len(poses) == 0 or not np.isfinite(poses.sum() + trans.sum()):  # a sum shows NaN, and needs no copy
        reason = "holds NaN or infinite values" if len(poses) else "has no frames"
        raise PoseGPTError(f"{path.name} {reason}", "use another file")
    rate = _frame_rate(arrays, path, fps)
    rotvecs = poses.reshape(len(poses), -1, 3)
    if to_fps is not None:  # before the turn: fewer frames to turn, and the two commute
        rotvecs, trans = resample(rotvecs, trans, rate, to_fps)
    root, moved = _turn_world(rotvecs[:, 0], trans, body_type)
    turned = rotvecs.astype(np.float32)
    turned[:, 0] = root
    return Motion(
        poses=turned,
        trans=moved.astype(np.float32),
        fps=to_fps or rate,
        body_type=body_type,
        labels=_labels(arrays),
        licence=_licence(arrays),
        name=path.stem,
    )


def write_smpl_npz(
    path: Path | str, motion: Motion, body_type: BodyType | None = "smplh", force: bool = False
) -> None:
    """Write a motion in AMASS's layout, Z up, with both names of the frame rate, and its labels beside.

    SMPL-X files also hold the poses by part (root_orient, pose_body, ...), as AMASS's SMPL-X release does.

    Args:
        path: the file to write.
        motion: of any body type.
        body_type: what the file holds; joints that the motion lacks are at rest. None keeps the motion's own.
        force: replace an existing file.

    Raises PoseGPTError where the target exists or cannot be written.
    """
    motion = motion.to_body_type(body_type or motion.body_type)
    poses = motion.poses.astype(float)
    poses[:, 0], trans = _turn_world(poses[:, 0], motion.trans.astype(float), motion.body_type, back=True)
    flat = poses.reshape(motion.n_frames, -1)
    more: dict[str, Any] = {}
    if motion.body_type == "smplx":
        more |= _smplx_parts(flat, motion.fps)
    if motion.licence:
        more["licence"] = np.array(motion.licence)
    with atomic_file(Path(path), force) as file:
        np.savez_compressed(
            file,
            poses=flat,
            trans=trans,
            betas=np.zeros(10 if motion.body_type == "smpl" else 16),
            gender=np.array("neutral"),
            surface_model_type=np.array(motion.body_type),
            mocap_framerate=np.array(motion.fps),
            mocap_frame_rate=np.array(motion.fps),
            labels=np.array(motion.labels, dtype=np.str_),
            **more,
        )


def _smplx_parts(poses: FloatArray, fps: float) -> dict[str, NDArray[Any]]:
    """SMPL-X poses (T, 165) by the names of AMASS's SMPL-X release."""
    return {
        "root_orient": poses[:, :3],
        "pose_body": poses[:, 3:66],
        "pose_jaw": poses[:, 66:69],
        "pose_eye": poses[:, 69:75],
        "pose_hand": poses[:, 75:],
        "num_betas": np.array(16),
        "mocap_time_length": np.array(len(poses) / fps),
    }


def _turn_world(
    root: FloatArray, trans: FloatArray, body_type: BodyType, back: bool = False
) -> tuple[FloatArray, FloatArray]:
    """(T, 3) root rotations and trans from Z up to Y up, or back; the pelvis turns with the world."""
    pelvis = np.array(REST_PELVIS[body_type])
    sign, matrix = (-1, Z_TO_Y.T) if back else (1, Z_TO_Y)
    quat = _Z_TO_Y_QUAT * [sign, sign, sign, 1]
    return turn_rotvecs(root, quat), (trans + pelvis) @ matrix.T - pelvis


def smplh_to_smpl(motion: Motion) -> Motion:
    """An SMPL-H motion on SMPL's 24 joints: the 22 body joints and the first joint of each hand (index1).

    This is BABEL's and PoseGPT's convention for data, by position in the file. (`Motion.to_body_type` goes by
    anatomy: it takes the middle finger, which SMPL's rigid hand follows best.)
    """
    poses = motion.poses[:, [*range(len(BODY_JOINTS)), *_FIRST_OF_HANDS]]
    return replace(motion, poses=poses, body_type="smpl")


def _numbers(arrays: dict[str, NDArray[Any]], key: str, path: Path) -> FloatArray:
    if key not in arrays:
        raise PoseGPTError(f"{path.name} has no {key!r}", _NO_AMASS)
    if arrays[key].dtype.kind not in "fiu":
        raise PoseGPTError(f"{path.name}: {key!r} holds {arrays[key].dtype}, expected numbers", _NO_AMASS)
    return arrays[key].astype(float, copy=False)


def _frame_rate(arrays: dict[str, NDArray[Any]], path: Path, fallback: float | None) -> float:
    for key in _RATE_KEYS:
        if key in arrays and arrays[key].size == 1 and arrays[key].dtype.kind in "fiu":
            rate = float(arrays[key].reshape(()))
            if not (np.isfinite(rate) and rate > 0):
                raise PoseGPTError(f"{path.name} has a frame rate of {rate}", _NO_AMASS)
            return rate
    if fallback is None:
        raise PoseGPTError(f"{path.name} has no frame rate ({' or '.join(_RATE_KEYS[:2])})", _NO_AMASS)
    return fallback


def _licence(arrays: dict[str, NDArray[Any]]) -> str:
    """Terms that the file names, as one printable line."""
    licence = arrays.get("licence")
    if licence is None or licence.dtype.kind != "U" or licence.size != 1:
        return ""
    text = " ".join(str(licence.reshape(())).split())
    return "".join(filter(str.isprintable, text))[:_LONGEST_LICENCE]


def _labels(arrays: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    labels = arrays.get("labels")
    return (
        tuple(str(name) for name in labels.reshape(-1))
        if labels is not None and labels.dtype.kind == "U"
        else ()
    )
