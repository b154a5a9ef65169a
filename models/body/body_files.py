"""Model files of SMPL-family bodies: the default body, the official files, export for smplx.create.

Nothing here runs code from a file: .npz files are read without pickles, .pkl files (the official SMPL is
one, with chumpy objects inside) by an unpickler that knows arrays and refuses the rest.
"""

import functools
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import roma
import scipy.sparse
import torch
from numpy.typing import NDArray

from models.body.kinematics import forward_kinematics
from models.body.skeleton import JOINT_NAMES, PARENTS, REST_PELVIS, BodyType, n_joints
from models.errors import PoseGPTError
from models.npz import read_arrays

DEFAULT_BODY = Path(__file__).parents[1] / "assets" / "body.npz"
WEIGHT_UNIT = 65535
Floats = NDArray[np.float32]

LANDMARKS: dict[BodyType, tuple[int, ...]] = {
    "smplx": (
        9120, 9929, 9448, 616, 6, 8079, 7669, 7794, 7905, 8022, 5361, 4933, 5058, 5169, 5286, 5770, 5780,
        8846, 8463, 8474, 8635,
    ),
    "smplh": (
        332, 6260, 2800, 4071, 583, 6191, 5782, 5905, 6016, 6133, 2746, 2319, 2445, 2556, 2673, 3216, 3226,
        3387, 6617, 6624, 6787,
    ),
}  # fmt: skip
"""Vertices that smplx appends to the joints: nose, eyes, ears, finger tips, toes and heels.

Source: smplx.vertex_ids. The exported body has these landmarks at these indices.
"""


@dataclass(frozen=True, eq=False)
class BodyModel:
    """The arrays of one model file, in smplx's terms; V vertices, J joints."""

    body_type: BodyType
    v_template: Floats
    """(V, 3) rest pose, metres."""
    faces: NDArray[np.int32]
    """(F, 3)"""
    weights: Floats
    """(V, J) skinning weights."""
    J_regressor: Floats
    """(J, V) template to joints."""
    shapedirs: Floats | None = None
    """(V, 3, N) directions of betas, for SMPL-X also expressions; None where nobody asked for them."""
    posedirs: Floats | None = None
    """(V, 3, 9 (J - 1)) pose blend shapes, or None where all are zero."""
    vertex_colors: NDArray[np.uint8] | None = None
    """(V, 3) sRGB."""
    hands_mean: Floats | None = None
    """(2, 15, 3) rotation vectors of the relaxed left and right hand; None for SMPL."""
    hands_components: Floats | None = None
    """(2, 45, 45)"""

    @property
    def rest_joints(self) -> Floats:
        """(J, 3) joints of the rest pose, metres."""
        return (self.J_regressor.astype(np.float64) @ self.v_template).astype(np.float32)


def default_model(body_type: BodyType, with_shapes: bool = False) -> BodyModel:
    """The default body (tools/build_body.py) as SMPL, SMPL-H or SMPL-X.

    SMPL-H and SMPL-X have flat hands at rest and the relaxed hand as `hands_mean`, as the official files
    do; SMPL has no fingers to bend, so its template holds the relaxed hand. Betas are this body's own, not
    SMPL's.
    """
    smplx = _default_smplx(with_shapes)
    if body_type == "smplx":
        return smplx
    keep, fold = _reduction(body_type)
    weights = smplx.weights @ fold
    regressor = smplx.J_regressor[keep]
    shift = np.subtract(REST_PELVIS[body_type], REST_PELVIS["smplx"]).astype(np.float32)
    template, shapes = (
        smplx.v_template,
        smplx.shapedirs if smplx.shapedirs is None else smplx.shapedirs[..., :10],
    )
    if body_type == "smpl":
        bent = _bend_hands(smplx, template)
        if shapes is not None:
            moved = [_bend_hands(smplx, template + shapes[..., k]) - bent for k in range(shapes.shape[-1])]
            shapes = np.stack(moved, axis=-1)
        template = bent
    return BodyModel(
        body_type,
        template + shift,
        smplx.faces,
        weights,
        regressor,
        shapes,
        vertex_colors=smplx.vertex_colors,
        hands_mean=None if body_type == "smpl" else smplx.hands_mean,
        hands_components=None if body_type == "smpl" else smplx.hands_components,
    )


def _default_smplx(with_shapes: bool) -> BodyModel:
    with np.load(DEFAULT_BODY) as file:
        n, j = len(file["v_template"]), n_joints("smplx")
        weights = np.zeros((n, j), np.float32)
        # joint 0 pads the unused places with weight 0, so add instead of assigning
        np.add.at(
            weights,
            (np.arange(n)[:, None], file["weight_joints"]),
            file["weight_values"] / np.float32(WEIGHT_UNIT),
        )
        regressor = np.zeros((j, n), np.float32)
        regressor[file["regressor_rows"], file["regressor_columns"]] = file["regressor_values"]
        return BodyModel(
            "smplx",
            file["v_template"],
            file["faces"].astype(np.int32),
            weights,
            regressor,
            file["shapedirs"].astype(np.float32) if with_shapes else None,
            vertex_colors=file["vertex_colors"],
            hands_mean=file["hands_mean"],
            hands_components=file["hands_components"],
        )


def _reduction(body_type: BodyType) -> tuple[list[int], Floats]:
    """SMPL-X joints that a smaller body keeps, and (55, J) where the weights of all of them go."""
    source, target = JOINT_NAMES["smplx"], JOINT_NAMES[body_type]
    twin = {"left_hand": "left_middle1", "right_hand": "right_middle1"}
    keep = [source.index(twin.get(name, name)) for name in target]
    fold = np.zeros((len(source), len(target)), np.float32)
    for j, name in enumerate(source):
        if j < 22 or (body_type == "smplh" and name in target):
            goal = name
        elif name in ("jaw", "left_eye", "right_eye"):
            goal = "head"
        else:
            goal = f"{name.partition('_')[0]}_hand"
        fold[j, target.index(goal)] = 1
    return keep, fold


def _bend_hands(model: BodyModel, vertices: Floats) -> Floats:
    """(V, 3) vertices of the SMPL-X body with `hands_mean` as its pose."""
    pose = np.zeros((n_joints("smplx"), 3), np.float32)
    assert model.hands_mean is not None
    pose[25:] = model.hands_mean.reshape(30, 3)
    joints = torch.from_numpy(model.J_regressor @ vertices)
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(pose))
    placed, turns = forward_kinematics(rotmats, torch.zeros(3), joints, PARENTS["smplx"])
    offsets = placed - (turns @ joints[..., None])[..., 0]
    weights = torch.from_numpy(model.weights)
    blended = torch.einsum("vj,jab->vab", weights, turns) @ torch.from_numpy(vertices)[..., None]
    return (blended[..., 0] + weights @ offsets).numpy()


def read_model(body_type: BodyType, model_dir: Path, gender: str = "neutral") -> BodyModel:
    """An official model file, at the place where smplx.create looks for it (or AMASS's, for SMPL-H).

    Raises PoseGPTError where the file is missing, is not such a model, or holds anything but arrays.
    """
    path = find_model(body_type, model_dir, gender)
    arrays = (
        _read_pickle(path) if path.suffix == ".pkl" else read_arrays(path, _NEEDED, "download the file again")
    )
    try:
        return _to_model(body_type, arrays)
    except (KeyError, TypeError, ValueError) as problem:
        raise PoseGPTError(
            f"{path} is not a {body_type} model: {problem}", _where(body_type, gender)
        ) from problem


def find_model(body_type: BodyType, model_dir: Path, gender: str = "neutral") -> Path:
    """Path of a model file under `model_dir`. Raises PoseGPTError with the places that were tried."""
    if not model_dir.is_dir():
        raise PoseGPTError(f"there is no folder {model_dir} with body models", _where(body_type, gender))
    for candidate in _candidates(body_type, gender):
        if (model_dir / candidate).is_file():
            return model_dir / candidate
    raise PoseGPTError(f"no {gender} {body_type} model under {model_dir}", _where(body_type, gender))


def _candidates(body_type: BodyType, gender: str) -> tuple[str, ...]:
    name = f"{body_type.upper()}_{gender.upper()}"
    amass = (f"smplh/{gender}/model.npz",) if body_type == "smplh" else ()
    return (f"{body_type}/{name}.npz", f"{body_type}/{name}.pkl", f"{name}.npz", f"{name}.pkl", *amass)


def _where(body_type: BodyType, gender: str) -> str:
    site = {"smpl": "smpl.is.tue.mpg.de", "smplh": "mano.is.tue.mpg.de", "smplx": "smpl-x.is.tue.mpg.de"}[
        body_type
    ]
    places = " or ".join(_candidates(body_type, gender)[:2])
    return (
        f"put the file from https://{site} there as {places}, or leave --body-model out for the default body"
    )


_NEEDED = (
    "v_template", "f", "weights", "J_regressor", "shapedirs", "posedirs", "kintree_table", "hands_meanl",
    "hands_meanr",
)  # fmt: skip
"""Official files also hold pickled dictionaries, which stay unread."""


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except PoseGPTError:
        raise
    except Exception as problem:  # a broken pickle can raise anything
        raise PoseGPTError(f"cannot read {path}: {problem}", "download the file again") from problem
    if not isinstance(content, dict):
        raise PoseGPTError(
            f"{path} holds a {type(content).__name__}, not a body model", "download the file again"
        )
    return {name: value for name, value in content.items() if name in _NEEDED}


def _to_model(body_type: BodyType, arrays: Mapping[str, Any]) -> BodyModel:
    """Arrays by smplx's names to a checked BodyModel."""
    template, faces, weights, regressor = (
        _dense(arrays[k]) for k in ("v_template", "f", "weights", "J_regressor")
    )
    posedirs = _dense(arrays["posedirs"]).astype(np.float32)
    joints, n = n_joints(body_type), len(template)
    found = (template.shape, faces.shape[1:], weights.shape, regressor.shape, posedirs.shape)
    expected = ((n, 3), (3,), (n, joints), (joints, n), (n, 3, 9 * (joints - 1)))
    if found != expected:
        raise ValueError(f"expected shapes {expected}, got {found}")
    parents = tuple(int(p) for p in _dense(arrays["kintree_table"])[0, 1:])
    if parents != PARENTS[body_type][1:]:
        raise ValueError(f"its joints hang together differently: parents {parents}")
    hands = None
    if body_type != "smpl":
        hands = np.stack([_dense(arrays[k]).reshape(15, 3) for k in ("hands_meanl", "hands_meanr")]).astype(
            np.float32
        )
    return BodyModel(
        body_type,
        template.astype(np.float32),
        faces.astype(np.int32),
        weights.astype(np.float32),
        regressor.astype(np.float32),
        posedirs=posedirs if posedirs.any() else None,
        hands_mean=hands,
    )


class _Chumpy:
    """Stands in for chumpy.Ch and chumpy.reordering.Select, whose state is enough to know their value."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def dense(self) -> NDArray[Any]:
        if "idxs" in self.state:  # Select: entries of another array
            chosen = _dense(self.state["a"]).ravel()[_dense(self.state["idxs"])]
            return chosen.reshape(self.state.get("preferred_shape", chosen.shape))
        return _dense(self.state["x"])


class _Compressed:
    """Stands in for scipy's compressed sparse matrices, whose pickles differ from version to version."""

    make: Callable[..., Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def dense(self) -> NDArray[Any]:
        shape = self.state["_shape"] if "_shape" in self.state else self.state["shape"]
        return self.make(
            (self.state["data"], self.state["indices"], self.state["indptr"]), shape=shape
        ).toarray()


class _Columns(_Compressed):
    make = scipy.sparse.csc_array


class _Rows(_Compressed):
    make = scipy.sparse.csr_array


def _dense(value: Any) -> NDArray[Any]:
    return value.dense() if isinstance(value, _Chumpy | _Compressed) else np.asarray(value)


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is used for in pickles: bytes written by Python 3 for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected text encoding {encoding}")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays, sparse matrices and chumpy arrays; refuses every other global."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy" and name in ("Ch", "Select"):
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        known = _allowed_globals().get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise PoseGPTError(
                f"the file asks to load {module}.{name}, which is no part of a body model",
                "do not trust this file; download the model again from its official site",
            )
        return known


_SPARSE = {"csc_matrix": _Columns, "csc_array": _Columns, "csr_matrix": _Rows, "csr_array": _Rows}


@functools.cache
def _allowed_globals() -> dict[tuple[str, str], Any]:
    import copyreg

    # the functions that numpy's own pickles call, whatever module they live in today
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
        ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],
        ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("_codecs", "encode"): _latin1,
    }
    for module in ("copy_reg", "copyreg"):
        allowed[module, "_reconstructor"] = copyreg._reconstructor  # type: ignore[attr-defined]
    for module in ("__builtin__", "builtins"):
        allowed |= {(module, kind.__name__): kind for kind in (object, set)}
    return allowed


def write_model_files(folder: Path) -> dict[BodyType, Path]:
    """Write the default body so that `smplx.create(folder, model_type=..., ext="npz")` reads it.

    smplx 0.1.28 reads SMPL from .pkl only, whatever `ext` says; the .pkl holds plain numpy arrays.
    """
    names: dict[BodyType, str] = {
        "smpl": "SMPL_NEUTRAL.pkl",
        "smplh": "SMPLH_NEUTRAL.npz",
        "smplx": "SMPLX_NEUTRAL.npz",
    }
    written: dict[BodyType, Path] = {}
    for body_type, name in names.items():
        arrays = smplx_arrays(default_model(body_type, with_shapes=True))
        path = folder / body_type / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            if path.suffix == ".pkl":
                pickle.dump(arrays, file, protocol=2)
            else:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub
        part.replace(path)
        written[body_type] = path
    return written


def smplx_arrays(model: BodyModel) -> dict[str, NDArray[Any]]:
    """The arrays that the classes of the smplx package want, by their names, for files and for `data_struct`.

    Vertices are reordered so that smplx's landmarks sit at the indices it expects. Pose blend shapes are
    zero. Facial landmarks (SMPL-X) are not modelled: all 51 lie at the nose.
    """
    order = landmark_order(model.body_type, len(model.v_template))
    place = np.argsort(order)
    joints = n_joints(model.body_type)
    assert model.shapedirs is not None
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
        arrays["lmk_faces_idx"] = np.full(51, np.flatnonzero((arrays["f"] == nose).any(1))[0])
        arrays["lmk_bary_coords"] = np.full((51, 3), 1 / 3, np.float32)
    return arrays


def landmark_order(body_type: BodyType, n_vertices: int) -> NDArray[np.int64]:
    """Vertex that stands at each place, after the landmarks changed places with whatever stood at theirs."""
    with np.load(DEFAULT_BODY) as file:
        landmarks = file["landmarks"].astype(np.int64)
    order = np.arange(n_vertices)
    for vertex, goal in zip(landmarks, LANDMARKS["smplx" if body_type == "smplx" else "smplh"], strict=True):
        here = int(np.flatnonzero(order == vertex)[0])
        order[[here, goal]] = order[[goal, here]]
    return order
