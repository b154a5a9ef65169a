"""SMPL parameters by whatever names a file has for them: AMASS, smplx, AIST++, estimators. No torch.

A file is a tree of arrays. One person's parameters are a dictionary in it; here its names and shapes become
one form, still in the file's own world and units (`smpl_world` puts those right).
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.rotation_arrays import rotation_shape, to_rotvecs
from data.formats.up_axis import Axis
from models.body.skeleton import BODY_JOINTS, BODY_TYPES, BodyType, n_joints
from models.errors import PoseGPTError
from models.npz import is_readable

FloatArray = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

RATE_KEYS = (
    "mocap_framerate",
    "mocap_frame_rate",
    "framerate",
    "frame_rate",
    "fps",
    "mocap_fps",
    "frameRate",
)
"""Names of the frame rate: SMPL-H release, SMPL-X release, others."""
_POSE_KEYS = (
    "pose_world",
    "poses",
    "smpl_poses",
    "pose",
    "fullpose",
    "full_pose",
    "rotmat",
    "pred_rotmat",
    "thetas",
)
"""Names of all joints' rotations in one array; of several, the first counts."""
_ROOT_KEYS = ("root_orient", "global_orient", "root_pose")
_BODY_KEYS = ("pose_body", "body_pose")
_TRANS_KEYS = (
    "trans_world",
    "trans",
    "smpl_trans",
    "transl",
    "pred_trans",
    "translation",
    "root_trans",
    "camera",
)
_BETAS_KEYS = ("betas", "shape", "pred_shape", "beta")
_HAND_KEYS = ("pose_hand", "left_hand_pose", "right_hand_pose")
_FACE_KEYS = ("pose_jaw", "jaw_pose", "pose_eye", "leye_pose", "reye_pose")
_TEXT_KEYS = ("gender", "labels", "licence", "up", "surface_model_type")
PERSON_KEYS = frozenset((*_BETAS_KEYS, "gender", "licence"))
"""What says who it is, not how they move."""
_LONGEST_LICENCE = 1000
_AMASS_KEYS = ("dmpls", "mocap_time_length", "markers_latent", "marker_data")
"""Only AMASS's own files have one of these."""
_MARKER_KEYS = ("markers", "markers_latent", "marker_data", "markers_obs", "marker_labels")
KEYS = frozenset((
    *RATE_KEYS, *_POSE_KEYS, *_ROOT_KEYS, *_BODY_KEYS, *_TRANS_KEYS, *_BETAS_KEYS, *_HAND_KEYS, *_FACE_KEYS,
    *_TEXT_KEYS, "smpl_scaling",
))  # fmt: skip
"""All that is read."""

_WHOLE_BODY = (22, 24, 52, 55)
_WITHOUT_ROOT = (21, 23)
_HAND_JOINTS = 15
_MOST_BETAS = 16
_GENDERS = ("neutral", "female", "male")
_MOST_RATE = 1000.0

_NO_SMPL = "give a file with poses and trans, or root_orient, pose_body and trans"


@dataclass(frozen=True)
class Convention:
    """What is known of the tools that write a set of keys."""

    source: str
    """What messages call it."""
    up: Axis | None
    """Axis that points up; None if such files have either."""
    is_sure: bool = False
    """Whether the axis and the unit need no look at the motion."""
    fps: float | None = None
    """Frame rate where the file says none."""


_AMASS = Convention("AMASS", "+z", is_sure=True)
_AMASS_LIKE = Convention("AMASS's layout", "+z")
_SMPLX_NAMES = Convention("smplx' names", None)
_AIST = Convention("AIST++", "+y", fps=60.0)
_VIDEO_WORLD = Convention("an estimate from video", "+y", fps=30.0)
_VIDEO_CAMERA = Convention("an estimate in camera coordinates", "-y", fps=30.0)


@dataclass(frozen=True, eq=False)
class SmplParameters:
    """One person's motion as its file has it."""

    poses: FloatArray
    """(T, J, 3) rotation vectors."""
    trans: FloatArray
    """(T, 3) in the file's units."""
    body_type: BodyType
    convention: Convention
    fps: float | None = None
    """Frames per second; None if the file does not say."""
    unit: float | None = None
    """Metres per unit; None if the file does not say."""
    betas: tuple[float, ...] = ()
    gender: str | None = None
    labels: tuple[str, ...] = ()
    licence: str = ""
    notes: tuple[str, ...] = ()


def has_parameters(names: Collection[str]) -> bool:
    """Whether a dictionary with these keys holds one person's pose."""
    if any(name in names for name in _POSE_KEYS):
        return True
    return any(name in names for name in _ROOT_KEYS) and any(name in names for name in _BODY_KEYS)


def wanted_keys(there: Collection[str]) -> set[str]:
    """The keys that must be read of a file that has these: parts of the pose only if the whole is missing."""
    # Reading parts beside the whole would double the time for nothing.
    wanted = {name for name in there if name in KEYS}
    if any(name in there for name in _POSE_KEYS):
        wanted -= {*_BODY_KEYS, *_HAND_KEYS, *_FACE_KEYS}
    return wanted


def read_parameters(arrays: Arrays, name: str, there: Collection[str], place: str = "") -> SmplParameters:
    """One person's parameters.

    Args:
        arrays: by the file's own names.
        name: of the file, for messages.
        there: all names in the file, also of what was not read.
        place: where in the file the dictionary stands, e.g. `smpl_params_global`.

    Raises PoseGPTError if something is missing, or shapes do not fit or could mean two things.
    """
    # The translation has one row per frame whatever its shape, so it tells how to read the rotations.
    trans = _translation(arrays, name)
    n_frames = len(trans)
    try:
        poses, notes = _poses(arrays, n_frames, name)
    except ValueError as error:
        raise PoseGPTError(f"{name}: {error}", _NO_SMPL) from None
    if not np.isfinite(poses.sum() + trans.sum()):  # a sum shows NaN, and needs no copy
        raise PoseGPTError(f"{name} holds NaN or infinite values", "use another file")
    return SmplParameters(
        poses=poses,
        trans=trans,
        body_type=next(body_type for body_type in BODY_TYPES if n_joints(body_type) == poses.shape[1]),
        convention=_convention(arrays, there, place),
        fps=_frame_rate(arrays, name),
        unit=_unit(arrays, name),
        betas=_betas(arrays),
        gender=_gender(arrays),
        labels=_labels(arrays, there),
        licence=_licence(arrays),
        notes=notes,
    )


def _translation(arrays: Arrays, name: str) -> FloatArray:
    """(T, 3); axes of one are dropped."""
    key = _first(_TRANS_KEYS, arrays)
    if key is None:
        keys = ", ".join(sorted(arrays)) or "none of SMPL's"
        raise PoseGPTError(f"{name} has no 'trans' (it has {keys})", _NO_SMPL)
    trans = _numbers(arrays, key, name)
    if trans.ndim == 0 or trans.shape[-1] != 3 or _long_axes(trans.shape[:-1]) > 1:
        raise PoseGPTError(f"{name} has {key} {trans.shape}, expected (T, 3)", _NO_SMPL)
    if trans.size == 0:
        raise PoseGPTError(f"{name} has no frames", "use another file")
    return trans.reshape(-1, 3)


def _poses(arrays: Arrays, n_frames: int, name: str) -> tuple[FloatArray, tuple[str, ...]]:
    """(T, J, 3) rotation vectors of a whole body, and what was found out. Raises ValueError."""
    # All joints in one array, or the root and the body apart; some files have both.
    whole = _first(_POSE_KEYS, arrays)
    root = _first(_ROOT_KEYS, arrays)
    body = _first(_BODY_KEYS, arrays)

    # One array of the whole body, or the root beside it, or root and body in parts.
    if whole is not None:
        counts = _WHOLE_BODY if root is None else (*_WHOLE_BODY, *_WITHOUT_ROOT)
        rotvecs = _rotations(arrays, whole, n_frames, counts, name)
        if rotvecs.shape[1] not in _WITHOUT_ROOT:
            if rotvecs.shape[1] == len(BODY_JOINTS):
                rotvecs = _padded(rotvecs, n_joints("smpl"))
            return rotvecs, ()
    elif root is not None and body is not None:
        rotvecs = _rotations(arrays, body, n_frames, _WITHOUT_ROOT, name)
    else:
        keys = ", ".join(sorted(arrays)) or "none of SMPL's"
        raise ValueError(f"it has no 'poses' (it has {keys})")
    assert root is not None
    rotvecs = np.concatenate([_rotations(arrays, root, n_frames, (1,), name), rotvecs], axis=1)
    return _with_hands_and_face(rotvecs, arrays, n_frames, name)


def _with_hands_and_face(
    rotvecs: FloatArray, arrays: Arrays, n_frames: int, name: str
) -> tuple[FloatArray, tuple[str, ...]]:
    """A body of root and 21 or 23 joints, with the fingers and the face that the file has beside."""
    notes: list[str] = []
    hands = _hands(arrays, n_frames, name, notes)
    face = [key for key in _FACE_KEYS if key in arrays]
    is_smplx = bool(face) or _text(arrays, "surface_model_type").lower() == "smplx"
    if hands is None and not is_smplx:
        return _padded(rotvecs, n_joints("smpl")), tuple(notes)

    # SMPL's own two hand joints give way to the fingers.
    n_body = len(BODY_JOINTS)
    body_type: BodyType = "smplx" if is_smplx else "smplh"
    whole = _padded(rotvecs[:, :n_body], n_joints(body_type))
    if hands is not None:
        whole[:, -2 * _HAND_JOINTS :] = hands
    # SMPL-X: jaw, left eye, right eye follow the body.
    for keys, first, n in (
        (("pose_jaw", "jaw_pose"), 0, 1),
        (("pose_eye",), 1, 2),
        (("leye_pose",), 1, 1),
        (("reye_pose",), 2, 1),
    ):
        key = _first(keys, arrays)
        if key is not None:
            whole[:, n_body + first : n_body + first + n] = _rotations(arrays, key, n_frames, (n,), name)
    return whole, tuple(notes)


def _hands(arrays: Arrays, n_frames: int, name: str, notes: list[str]) -> FloatArray | None:
    """(T, 30, 3) of both hands; None if the file has none, or has PCA coefficients of them."""
    if "pose_hand" in arrays:
        return _rotations(arrays, "pose_hand", n_frames, (2 * _HAND_JOINTS,), name)
    keys = ("left_hand_pose", "right_hand_pose")
    if not all(key in arrays for key in keys):
        return None
    if any(arrays[key].size < n_frames * _HAND_JOINTS * 3 for key in keys):
        # Coefficients of a basis that only the model file has.
        notes.append("its hands are PCA coefficients: they were left at rest")
        return None
    sides = [_rotations(arrays, key, n_frames, (_HAND_JOINTS,), name) for key in keys]
    return np.concatenate(sides, axis=1)


def _rotations(
    arrays: Arrays, key: str, n_frames: int, joint_counts: tuple[int, ...], name: str
) -> FloatArray:
    """(T, J, 3). Raises ValueError if the array's shape does not say what it is."""
    array = _numbers(arrays, key, name)

    # A shape that could mean two things has no form, and is refused.
    form = rotation_shape(array.shape, n_frames, joint_counts)
    if form is None:
        widths = ", ".join(str(3 * n) for n in joint_counts)
        raise ValueError(
            f"it has {key} {array.shape} and trans {(n_frames, 3)}, expected {key} (T, {widths}), "
            "or by joint 3, 6 or 3x3 numbers"
        )
    return to_rotvecs(array, n_frames, form)


def _padded(rotvecs: FloatArray, n: int) -> FloatArray:
    """With joints at rest behind, up to n."""
    missing = n - rotvecs.shape[1]
    return np.concatenate([rotvecs, np.zeros((len(rotvecs), missing, 3))], axis=1)


def _convention(arrays: Arrays, there: Collection[str], place: str) -> Convention:
    """Who writes such keys, and which way is up there."""
    if any(word in place for word in ("incam", "cam", "camera")):
        return _VIDEO_CAMERA

    # What the file says of itself counts most, then keys that only one tool writes, then habits.
    said = _text(arrays, "up").lower()
    if said in ("y", "z"):
        return Convention("the file itself", "+y" if said == "y" else "+z", is_sure=True)
    # Files of ours from before they said so have both names of the frame rate; nobody else's do.
    if any(key in there for key in _AMASS_KEYS) or {"mocap_framerate", "mocap_frame_rate"} <= set(there):
        return _AMASS
    if "smpl_poses" in arrays:
        return _AIST
    if "pose_world" in arrays or "global" in place or "world" in place:
        return _VIDEO_WORLD
    if "camera" in arrays or "pred_rotmat" in arrays:
        return _VIDEO_CAMERA
    if "poses" in arrays or "root_orient" in arrays:
        return _AMASS_LIKE
    return _SMPLX_NAMES


def _frame_rate(arrays: Arrays, name: str) -> float | None:
    key = _first(RATE_KEYS, arrays)
    if key is None or arrays[key].size != 1:
        return None

    # Some tools write the rate as text.
    value = arrays[key].reshape(())
    try:
        rate = float(_as_text(value) if value.dtype.kind in "US" else value)
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(rate) and 0 < rate <= _MOST_RATE):
        raise PoseGPTError(
            f"{name} has a frame rate of {rate:g}", "say the right one with fps_in", parameter="fps_in"
        )
    return rate


def _unit(arrays: Arrays, name: str) -> float | None:
    """Metres per unit by AIST++'s smpl_scaling: how much larger its body is than SMPL's."""
    if "smpl_scaling" not in arrays:
        return None
    scaling = _numbers(arrays, "smpl_scaling", name)
    if scaling.size != 1 or not scaling.reshape(()) > 0:
        raise PoseGPTError(f"{name} has smpl_scaling {scaling}, expected a number", "use another file")
    return 1.0 / float(scaling.reshape(()))


def _betas(arrays: Arrays) -> tuple[float, ...]:
    """Shape coefficients; of an estimate per frame, the mean. Empty if there are none, or all are zero."""
    key = _first(_BETAS_KEYS, arrays)
    if key is None or arrays[key].dtype.kind not in "fiu" or arrays[key].size == 0:
        return ()
    # (N,), (1, N) or one row per frame.
    values = arrays[key].reshape(-1, arrays[key].shape[-1] if arrays[key].ndim else 1)
    mean = values.astype(float).mean(axis=0)[:_MOST_BETAS]
    if not np.isfinite(mean).all() or not mean.any():
        return ()
    return tuple(mean.tolist())


def _gender(arrays: Arrays) -> str | None:
    gender = _text(arrays, "gender").lower()
    return gender if gender in _GENDERS else None


def _labels(arrays: Arrays, there: Collection[str]) -> tuple[str, ...]:
    """Action names. `labels` of AMASS's older files are names of markers, e.g. LFWT, C7."""
    labels = arrays.get("labels")
    if labels is None or labels.dtype.kind != "U" or not is_readable(labels):
        return ()
    if any(key in there for key in _MARKER_KEYS):
        return ()
    names = tuple(str(name) for name in labels.reshape(-1))
    if any(name == name.upper() for name in names):
        return ()
    return names


def _licence(arrays: Arrays) -> str:
    """Terms that the file names, as one printable line."""
    words = " ".join(_text(arrays, "licence").split())
    return "".join(filter(str.isprintable, words))[:_LONGEST_LICENCE]


def _numbers(arrays: Arrays, key: str, name: str) -> FloatArray:
    if arrays[key].dtype.kind not in "fiu":
        raise PoseGPTError(f"{name}: {key!r} holds {arrays[key].dtype}, expected numbers", _NO_SMPL)
    return arrays[key].astype(float, copy=False)


def _text(arrays: Arrays, key: str) -> str:
    """A single text, empty if there is none."""
    array = arrays.get(key)
    if array is None or array.size != 1 or array.dtype.kind not in "US" or not is_readable(array):
        return ""
    return _as_text(array.reshape(()))


def _as_text(value: NDArray[Any]) -> str:
    text = value.item()
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)


def _first(keys: Iterable[str], arrays: Arrays) -> str | None:
    for key in keys:
        if key in arrays:
            return key
    return None


def _long_axes(shape: tuple[int, ...]) -> int:
    return sum(n != 1 for n in shape)
