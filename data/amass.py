"""AMASS npz files, read and written: Z up in the file, Y up in a Motion. No torch."""

import io
import math
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.files import write_atomically
from data.resample import resample
from models.errors import PoseGPTError
from models.motion import Motion
from models.skeleton import BODY_JOINTS, BODY_TYPES, JOINT_NAMES, REST_PELVIS, BodyType, n_joints

FloatArray = NDArray[np.float64]

Z_TO_Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Turns AMASS's world (Z up) into ours (Y up): x stays, z becomes y, y becomes -z."""

_BODY_TYPE_OF_WIDTH: dict[int, BodyType] = {n_joints(b) * 3: b for b in BODY_TYPES}
_FIRST_OF_HANDS = [JOINT_NAMES["smplh"].index(f"{side}_index1") for side in ("left", "right")]
_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate", "fps")  # SMPL-H release, SMPL-X release, ours of old
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_NO_AMASS = "give an AMASS .npz with poses, trans and mocap_framerate"


def read_amass(path: Path | str, fps: float | None = None, to_fps: float | None = None) -> Motion:
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
    arrays = _load(path)
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
    rotvecs, moved = _turn_world(rotvecs, trans, Z_TO_Y, body_type)
    return Motion(
        poses=rotvecs.astype(np.float32),
        trans=moved.astype(np.float32),
        fps=to_fps or rate,
        body_type=body_type,
        labels=_labels(arrays),
        name=path.stem,
    )


def write_amass(
    path: Path | str, motion: Motion, body_type: BodyType | None = "smplh", force: bool = False
) -> None:
    """Write a motion in AMASS's layout, Z up, with both names of the frame rate, and its labels beside.

    Args:
        path: the file to write.
        motion: of any body type.
        body_type: what the file holds; joints that the motion lacks are at rest. None keeps the motion's own.
        force: replace an existing file.

    Raises PoseGPTError where the target exists or cannot be written.
    """
    motion = motion.to_body_type(body_type or motion.body_type)
    poses, trans = _turn_world(
        motion.poses.astype(float), motion.trans.astype(float), Z_TO_Y.T, motion.body_type
    )
    content = io.BytesIO()
    np.savez_compressed(
        content,
        poses=poses.reshape(motion.n_frames, -1),
        trans=trans,
        betas=np.zeros(10 if motion.body_type == "smpl" else 16),
        gender=np.array("neutral"),
        surface_model_type=np.array(motion.body_type),
        mocap_framerate=np.array(motion.fps),
        mocap_frame_rate=np.array(motion.fps),
        labels=np.array(motion.labels, dtype=np.str_),
    )
    write_atomically(Path(path), content.getvalue(), force=force)


def _turn_world(
    poses: FloatArray, trans: FloatArray, turn: FloatArray, body_type: BodyType
) -> tuple[FloatArray, FloatArray]:
    """(T, J, 3) poses and (T, 3) trans in a world turned by a (3, 3) rotation; the pelvis turns with it."""
    turned = poses.copy()
    x, y, z, w = Rotation.from_matrix(turn).as_quat()
    # the quaternion product as a matrix: a single rotation times many is slow in scipy
    product = np.array([[w, -z, y, x], [z, w, -x, y], [-y, x, w, z], [-x, -y, -z, w]])
    root = Rotation.from_rotvec(turned[:, 0]).as_quat() @ product.T
    turned[:, 0] = Rotation.from_quat(root).as_rotvec()
    pelvis = np.array(REST_PELVIS[body_type])
    return turned, (trans + pelvis) @ turn.T - pelvis


def smplh_to_smpl(motion: Motion) -> Motion:
    """An SMPL-H motion on SMPL's 24 joints: the 22 body joints and the first joint of each hand (index1).

    This is BABEL's and PoseGPT's convention for data, by position in the file. (`Motion.to_body_type` goes by
    anatomy: it takes the middle finger, which SMPL's rigid hand follows best.)
    """
    poses = motion.poses[:, [*range(len(BODY_JOINTS)), *_FIRST_OF_HANDS]]
    return replace(motion, poses=poses, body_type="smpl")


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays we use; arrays of Python objects, whose loading could run code, are refused.

    As np.load does it, but each member in one piece: it takes half the time.
    """
    try:
        with zipfile.ZipFile(path) as file:
            there = set(file.namelist())
            wanted = [key for key in ("poses", "trans", "labels", *_RATE_KEYS) if f"{key}.npy" in there]
            return {key: _array(file.read(f"{key}.npy")) for key in wanted}
    except FileNotFoundError:
        raise PoseGPTError(f"no file {path}", "check the path") from None
    except zipfile.BadZipFile as error:
        reason = "it is a single array, or cut off" if "not a zip" in str(error) else str(error)
        raise PoseGPTError(f"{path.name} cannot be read: {reason}", _NO_AMASS) from None
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is damaged"
        raise PoseGPTError(f"{path.name} cannot be read: {reason}", _NO_AMASS) from None


def _array(content: bytes) -> NDArray[Any]:
    """A .npy file's array, read-only, without a copy. Raises ValueError where it holds objects."""
    file = io.BytesIO(content)
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("its arrays are of an unknown .npy version")
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    values = np.frombuffer(content, dtype, count=math.prod(shape), offset=file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")


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


def _labels(arrays: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    labels = arrays.get("labels")
    return (
        tuple(str(name) for name in labels.reshape(-1))
        if labels is not None and labels.dtype.kind == "U"
        else ()
    )
