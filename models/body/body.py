"""SMPL-family bodies: joints, vertices and faces of a posed person.

The default body is bundled (models/assets, CC0). With `model_dir` the registered user's official SMPL,
SMPL-H or SMPL-X files are used instead, posed by the smplx package, of mean shape or of a recorded person's.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import roma
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from models.body.body_files import read_model
from models.body.body_model import BodyModel
from models.body.default_body import BUNDLED, default_model
from models.body.kinematics import forward_kinematics
from models.body.official_files import body_type_in, official_files
from models.body.skeleton import BODY_TYPES, PARENTS, UNRECORDED_HAND, BodyType, share_betas
from models.errors import PoseGPTError

_logger = logging.getLogger(__name__)


class BodyOwner(Protocol):
    """Whose body it is: what a Motion says of it."""

    @property
    def body_type(self) -> BodyType: ...
    @property
    def gender(self) -> str | None: ...
    @property
    def betas(self) -> tuple[float, ...]: ...


Mesh = Callable[[Tensor], Tensor]
"""Local rotations (B, J, 3, 3) to vertices (B, V, 3) with the rest pelvis where the template has it."""


@dataclass(frozen=True, eq=False)
class Body:
    """A body that can be posed; tensors follow the device of the poses."""

    body_type: BodyType
    faces: NDArray[np.int32]
    """(F, 3) counter-clockwise seen from outside."""
    vertex_colors: NDArray[np.uint8] | None
    """(V, 3) sRGB, or None where the model has no colours."""
    v_template: Tensor
    """(V, 3) rest pose, metres."""
    weights: Tensor
    """(V, J) skinning weights."""
    rest_joints: Tensor
    """(J, 3) joints of the rest pose, metres."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    hands_mean: Tensor | None
    """(2, 15, 3) rotation vectors of the relaxed hands; None for SMPL, which has no fingers."""
    mesh: Mesh
    """Local rotations (B, J, 3, 3) to vertices (B, V, 3), before the translation."""

    @property
    def n_vertices(self) -> int:
        return len(self.v_template)

    def joints(self, poses: Tensor, trans: Tensor) -> Tensor:
        """Joint positions (..., J, 3) in metres, by forward kinematics alone.

        Args:
            poses: (..., J, 3) rotation vectors, joint 0 the root orientation.
            trans: (..., 3) metres.
        """
        self._check(poses, trans)

        # The skin plays no part here, so joints cost a thousandth of a mesh.
        rotmats = roma.rotvec_to_rotmat(poses)
        return forward_kinematics(rotmats, trans, self.rest_joints.to(poses), self.parents)[0]

    def vertices(self, poses: Tensor, trans: Tensor) -> Tensor:
        """Mesh (..., V, 3) in metres; arguments as `joints`. A second at 30 fps takes about 5 MB."""
        self._check(poses, trans)
        # The mesh takes one batch axis; whatever shape the poses have comes back afterwards.
        flat = self.mesh(roma.rotvec_to_rotmat(poses.reshape(-1, *poses.shape[-2:])))
        return flat.reshape(*poses.shape[:-2], *flat.shape[-2:]) + trans[..., None, :]

    def relax_hands(self, poses: Tensor) -> Tensor:
        """The clip's poses (..., J, 3) with relaxed fingers where the recording has none.

        Motion capture without gloves leaves the fingers of SMPL-H and SMPL-X at zero, which is a stiff,
        flat hand. A hand that bends nowhere in `poses` gets `hands_mean`; hands that move stay as they are.
        Meant for drawing: give it a whole clip, so that all its frames agree.
        """
        if self.hands_mean is None:
            return poses

        # The fingers are the last thirty joints of SMPL-H and SMPL-X, left hand first.
        relaxed = poses.clone()
        left_hand = slice(-30, -15)
        right_hand = slice(-15, None)
        for hand, mean in zip((left_hand, right_hand), self.hands_mean.to(poses), strict=True):
            if poses[..., hand, :].norm(dim=-1).max() < UNRECORDED_HAND:
                relaxed[..., hand, :] = mean
        return relaxed

    def _check(self, poses: Tensor, trans: Tensor) -> None:
        n = len(self.parents)
        if poses.shape[-2:] != (n, 3) or trans.shape != (*poses.shape[:-2], 3):
            raise PoseGPTError(
                f"a {self.body_type} body needs poses (..., {n}, 3) and trans (..., 3), "
                f"got {tuple(poses.shape)} and {tuple(trans.shape)}",
                f'convert the motion with motion.to_body_type("{self.body_type}")',
            )


@functools.lru_cache(maxsize=8)
def load_body(
    body_type: BodyType = "smpl",
    model_dir: Path | None = None,
    gender: str | None = None,
    betas: tuple[float, ...] = (),
) -> Body:
    """The default body, or with `model_dir` an official one; loaded once.

    Args:
        body_type: smpl, smplh or smplx.
        model_dir: folder at or below which the official files are, in any layout of their downloads, or a
            path to one file; .npz and .pkl are both read.
        gender: neutral, female or male; None: neutral if it is there, else another. There is no male
            default body.
        betas: shape of the person, in the official body's space; empty: the mean shape.

    Raises PoseGPTError if a file is missing or not such a model.
    """
    if body_type not in BODY_TYPES:
        raise PoseGPTError(f"there is no body type {body_type!r}", f"use one of {', '.join(BODY_TYPES)}")
    if model_dir is None:
        gender = gender or "neutral"
        if gender not in BUNDLED or betas:
            what = "of mean shape" if betas else f"{' or '.join(BUNDLED)}, not {gender}"
            raise PoseGPTError(
                f"the default body is {what}", "give official files with model_dir=DIR", "model_dir"
            )
        return _to_body(default_model(body_type, gender=gender))
    model = _official(body_type, Path(model_dir), gender, bool(betas))
    return _to_body(model.shaped(betas) if betas else model)


def load_body_of(
    person: BodyOwner,
    model_dir: Path | None = None,
    body_type: BodyType | None = None,
    gender: str | None = None,
) -> Body:
    """The body to draw a person on; `motion.to_body_type(body.body_type)` fits it.

    Of official files it has the person's gender and shape if they are there: betas belong to one gender's
    file, so without that one the mean shape of another is taken.

    Args:
        person: a Motion, of which body type, gender and betas count.
        model_dir: as for `load_body`; None is the default body.
        body_type: instead of the person's own, or of the only one that is there.
        gender: instead of the person's own; the default body is neutral if it is not given.

    Raises PoseGPTError if there is no such body.
    """
    if model_dir is None:
        return load_body(body_type or person.body_type, gender=gender)
    body_type = body_type or body_type_in(model_dir, person.body_type)
    genders = {file.gender for file in official_files(model_dir) if file.body_type == body_type}
    wanted = gender or person.gender
    gender = wanted or "neutral"  # estimates from video do not say, and mean the neutral one
    if gender not in genders:
        if wanted:
            _logger.warning(
                "no %s %s model under %s: another is drawn, of mean shape", gender, body_type, model_dir
            )
        return load_body(body_type, model_dir)
    betas = person.betas if share_betas(person.body_type, body_type) else ()
    return load_body(body_type, model_dir, gender, betas)


@functools.lru_cache(maxsize=4)
def _official(body_type: BodyType, place: Path, gender: str | None, with_shapes: bool) -> BodyModel:
    """An official model, read once for all shapes: it may have half a gigabyte of pose blend shapes."""
    return read_model(body_type, place, gender, with_shapes)


def _to_body(model: BodyModel) -> Body:
    return Body(
        body_type=model.body_type,
        faces=model.faces,
        vertex_colors=model.vertex_colors,
        v_template=torch.from_numpy(model.v_template),
        weights=torch.from_numpy(model.weights),
        rest_joints=torch.from_numpy(model.rest_joints),
        parents=PARENTS[model.body_type],
        hands_mean=None if model.hands_mean is None else torch.from_numpy(model.hands_mean),
        mesh=_RigidMesh(model) if model.posedirs is None else _SmplxMesh(model),
    )


class _RigidMesh:
    """Linear blend skinning without pose blend shapes, as one matrix product.

    A vertex is sum_j w_j (R_j x + t_j): linear in the entries of R_j and t_j, with coefficients w_j x and
    w_j that no pose changes. So (3 B, 4 J) transforms times a constant (4 J, V) matrix give all vertices of
    all frames; equal to smplx's lbs and several times faster.
    """

    def __init__(self, model: BodyModel) -> None:
        # What no pose changes is multiplied once: the coefficients of R_j, then that of t_j.
        homogeneous = np.concatenate([model.v_template, np.ones_like(model.v_template[:, :1])], axis=1)
        coefficients = np.einsum("vj,vc->jcv", model.weights, homogeneous)
        self._coefficients = torch.from_numpy(rearrange(coefficients, "j c v -> (j c) v"))
        self._joints = torch.from_numpy(model.rest_joints)
        self._parents = PARENTS[model.body_type]

    def __call__(self, rotmats: Tensor) -> Tensor:
        # Each joint's rigid transform from the rest pose, (B, J, 3, 4): turn about the joint, then move.
        joints = self._joints.to(rotmats)
        no_trans = rotmats.new_zeros(len(rotmats), 3)
        placed, turns = forward_kinematics(rotmats, no_trans, joints, self._parents)
        offsets = placed[..., None] - turns @ joints[..., None]
        transforms = torch.cat([turns, offsets], dim=-1)

        rows = rearrange(transforms, "b j xyz column -> (b xyz) (j column)")
        vertices = rows @ self._coefficients.to(rotmats)
        return rearrange(vertices, "(b xyz) v -> b v xyz", xyz=3).contiguous()


class _SmplxMesh:
    """A model with pose blend shapes, posed by the smplx package."""

    def __init__(self, model: BodyModel) -> None:
        assert model.posedirs is not None
        self._template = torch.from_numpy(model.v_template)
        self._posedirs = torch.from_numpy(rearrange(model.posedirs, "v xyz p -> p (v xyz)"))
        self._regressor = torch.from_numpy(model.J_regressor)
        self._weights = torch.from_numpy(model.weights)
        self._parents = torch.tensor(PARENTS[model.body_type])

    def __call__(self, rotmats: Tensor) -> Tensor:
        from smplx.lbs import lbs

        # Mean shape: betas are zero, and so may be their directions.
        template = self._template.to(rotmats)
        vertices, _ = lbs(
            betas=rotmats.new_zeros(len(rotmats), 1),
            pose=rotmats,
            v_template=template,
            shapedirs=rotmats.new_zeros(len(template), 3, 1),
            posedirs=self._posedirs.to(rotmats),
            J_regressor=self._regressor.to(rotmats),
            parents=self._parents.to(rotmats.device),
            lbs_weights=self._weights.to(rotmats),
            pose2rot=False,
        )
        return vertices
