"""Model files of SMPL-family bodies: official ones are read, the default body is written for smplx.create.

Nothing here runs code from a file: .npz files are read without pickles, .pkl files by `body_pickle`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.body.body_model import BodyModel
from models.body.body_pickle import numbers, read_pickle
from models.body.default_body import DEFAULT_BODY, default_model
from models.body.official_files import find_official
from models.body.skeleton import PARENTS, BodyType, n_joints
from models.errors import PoseGPTError
from models.files import atomic_file
from models.npz import read_arrays

LANDMARKS: dict[BodyType, tuple[int, ...]] = {
    "smplx": (
        9120,
        9929,
        9448,
        616,
        6,
        8079,
        7669,
        7794,
        7905,
        8022,
        5361,
        4933,
        5058,
        5169,
        5286,
        5770,
        5780,
        8846,
        8463,
        8474,
        8635,
    ),
    "smplh": (
        332,
        6260,
        2800,
        4071,
        583,
        6191,
        5782,
        5905,
        6016,
        6133,
        2746,
        2319,
        2445,
        2556,
        2673,
        3216,
        3226,
        3387,
        6617,
        6624,
        6787,
    ),
}
"""Vertices that smplx appends to the joints: nose, eyes, ears, finger tips, toes and heels.

Source: smplx.vertex_ids. The exported body has these landmarks at these indices.
"""


_NEEDED = (
    "v_template",
    "f",
    "weights",
    "J_regressor",
    "posedirs",
    "kintree_table",
    "hands_meanl",
    "hands_meanr",
)
"""Official files also hold pickled dictionaries, which stay unread."""
_EXPORTED: dict[BodyType, str] = {
    "smpl": "SMPL_NEUTRAL.pkl",  # smplx 0.1.28 reads SMPL from .pkl only, whatever `ext` says
    "smplh": "SMPLH_NEUTRAL.npz",
    "smplx": "SMPLX_NEUTRAL.npz",
}
N_FACE_LANDMARKS = 51
_N_SHAPES_SMPLX = 300
"""Betas of SMPL-X 1.1; version 1.0 has 10, and both have expressions behind."""
_FEWEST_SHAPES = 10


def read_model(
    body_type: BodyType, place: Path, gender: str | None = None, with_shapes: bool = False
) -> BodyModel:
    """An official model file, in any layout of the downloads.

    Args:
        body_type: smpl, smplh or smplx.
        place: folder at or below which the file is, or the file itself.
        gender: neutral, female or male; None: neutral if it is there, else another.
        with_shapes: whether betas will be asked for.

    Raises PoseGPTError if the file is missing, is not such a model, or holds anything but arrays.
    """
    path = find_official(body_type, place, gender).path
    needed = (*_NEEDED, "shapedirs") if with_shapes else _NEEDED
    try:
        if path.suffix.lower() == ".pkl":
            arrays = read_pickle(path, needed)
        else:
            arrays = read_arrays(path, needed, "download the file again")
        return _to_model(body_type, arrays, with_shapes)
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise PoseGPTError(
            f"{path} is not a {body_type} model: {problem}", "download the file again", "model_dir"
        ) from problem


def write_model_files(folder: Path) -> dict[BodyType, Path]:
    """Write the default body so that `smplx.create(folder, model_type=..., ext="npz")` reads it.

    The .pkl holds plain numpy arrays. Files that are there already are replaced.

    Raises PoseGPTError if a file cannot be written.
    """
    written: dict[BodyType, Path] = {}
    for body_type, name in _EXPORTED.items():
        arrays: dict[str, Any] = smplx_arrays(default_model(body_type, with_shapes=True))
        path = folder / body_type / name
        with atomic_file(path, force=True) as file:
            if path.suffix == ".pkl":
                pickle.dump(arrays, file, protocol=2)
            else:
                np.savez_compressed(file, **arrays)
        written[body_type] = path
    return written


def smplx_arrays(model: BodyModel) -> dict[str, NDArray[Any]]:
    """The arrays that the classes of the smplx package want, by their names, for files and for `data_struct`.

    Vertices are reordered so that smplx's landmarks sit at the indices it expects. Pose blend shapes are
    zero. Facial landmarks (SMPL-X) are not modelled: all of them lie at the nose.
    """
    assert model.shapedirs is not None
    # Faces name vertices by index, so they follow the new order the other way round.
    order = landmark_order(model.body_type, len(model.v_template))
    place = np.argsort(order)
    joints = n_joints(model.body_type)
    arrays: dict[str, NDArray[Any]] = {
        "v_template": model.v_template[order],
        "f": place[model.faces].astype(np.uint32),
        "weights": model.weights[order],
        "kintree_table": np.stack([PARENTS[model.body_type], np.arange(joints)]).astype(np.int64),
        "J_regressor": model.J_regressor[:, order],
        "shapedirs": model.shapedirs[order],
        "posedirs": np.zeros((len(order), 3, 9 * (joints - 1)), np.float16),
    }
    if model.vertex_colors is not None:
        arrays["vertex_colors"] = model.vertex_colors[order]

    if model.hands_mean is not None and model.hands_components is not None:
        for k, side in enumerate("lr"):
            arrays[f"hands_mean{side}"] = model.hands_mean[k].reshape(45)
            arrays[f"hands_components{side}"] = model.hands_components[k]

    if model.body_type == "smplx":
        nose = LANDMARKS["smplx"][0]
        nose_face = np.flatnonzero((arrays["f"] == nose).any(axis=1))[0]
        arrays["lmk_faces_idx"] = np.full(N_FACE_LANDMARKS, nose_face)
        arrays["lmk_bary_coords"] = np.full((N_FACE_LANDMARKS, 3), 1 / 3, np.float32)
    return arrays


def landmark_order(body_type: BodyType, n_vertices: int) -> NDArray[np.int64]:
    """(V,) the default body's vertex at each index of the exported file.

    Each landmark changes places with the vertex that stands where smplx expects the landmark.
    """
    with np.load(DEFAULT_BODY) as file:
        landmarks = file["landmarks"].astype(np.int64)
    # A landmark may have been moved by one before it, so its place is looked up each time.
    order = np.arange(n_vertices)
    for vertex, goal in zip(landmarks, LANDMARKS["smplx" if body_type == "smplx" else "smplh"], strict=True):
        here = int(np.flatnonzero(order == vertex)[0])
        order[[here, goal]] = order[[goal, here]]
    return order


def _to_model(body_type: BodyType, arrays: Mapping[str, Any], with_shapes: bool) -> BodyModel:
    """Arrays by smplx's names to a checked BodyModel.

    Raises ValueError, KeyError or TypeError if one is missing or they do not fit together.
    """
    # Sparse matrices and chumpy arrays become plain ones.
    template = numbers(arrays["v_template"])
    faces = numbers(arrays["f"])
    weights = numbers(arrays["weights"])
    regressor = numbers(arrays["J_regressor"])
    posedirs = numbers(arrays["posedirs"])

    # Everything is measured against the template's vertices and the body type's joints.
    n = len(template)
    joints = n_joints(body_type)
    found = (template.shape, faces.shape[1:], weights.shape, regressor.shape, posedirs.shape)
    expected = ((n, 3), (3,), (n, joints), (joints, n), (n, 3, 9 * (joints - 1)))
    if found != expected:
        raise ValueError(f"expected shapes {expected}, got {found}")
    if faces.size and not (faces.min() >= 0 and faces.max() < n):
        raise ValueError(f"its faces name vertices outside its {n}")
    _check_parents(body_type, numbers(arrays["kintree_table"]))

    hands_mean = None
    if body_type != "smpl":
        left = numbers(arrays["hands_meanl"]).reshape(15, 3)
        right = numbers(arrays["hands_meanr"]).reshape(15, 3)
        hands_mean = np.stack([left, right]).astype(np.float32)
    return BodyModel(
        body_type,
        v_template=template.astype(np.float32),
        faces=faces.astype(np.int32),
        weights=weights.astype(np.float32),
        J_regressor=regressor.astype(np.float32),
        shapedirs=_shapes(body_type, arrays, n) if with_shapes else None,
        posedirs=posedirs.astype(np.float32) if posedirs.any() else None,
        hands_mean=hands_mean,
    )


def _shapes(body_type: BodyType, arrays: Mapping[str, Any], n: int) -> NDArray[np.float32]:
    """(V, 3, N) directions of betas. SMPL-X's files hold those of expressions behind them."""
    shapes = numbers(arrays["shapedirs"])
    if shapes.ndim != 3 or shapes.shape[:2] != (n, 3):
        raise ValueError(f"expected shapedirs of shape {(n, 3, 'N')}, got {shapes.shape}")
    if body_type == "smplx":
        n_shapes = _N_SHAPES_SMPLX if shapes.shape[-1] > _N_SHAPES_SMPLX else _FEWEST_SHAPES
        shapes = shapes[..., :n_shapes]
    return shapes.astype(np.float32)


def _check_parents(body_type: BodyType, kintree_table: NDArray[Any]) -> None:
    """Raises ValueError if the joints of a file form another tree; the root's own parent may be anything."""
    if kintree_table.shape != (2, n_joints(body_type)):
        raise ValueError(
            f"expected a kintree_table of shape {(2, n_joints(body_type))}, got {kintree_table.shape}"
        )
    parents = tuple(kintree_table[0, 1:].tolist())
    if parents != PARENTS[body_type][1:]:
        raise ValueError(f"its joints form another tree: parents {parents}")
