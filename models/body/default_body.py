"""The default body that is bundled (models/assets/body.npz, CC0), as SMPL, SMPL-H or SMPL-X."""

from pathlib import Path

import numpy as np
import roma
import torch

from models.body.body_model import BodyModel, Floats
from models.body.kinematics import forward_kinematics
from models.body.skeleton import (
    BODY_JOINTS,
    HAND_TWIN,
    JOINT_NAMES,
    PARENTS,
    REST_PELVIS,
    BodyType,
    n_joints,
)

_ASSETS = Path(__file__).parents[1] / "assets"
DEFAULT_BODY = _ASSETS / "body.npz"
BUNDLED = {"neutral": DEFAULT_BODY, "female": _ASSETS / "body-female.npz"}
"""Files of the bundled bodies by their proportions."""
WEIGHT_UNIT = 65535
"""The file's skinning weights are integers; this one stands for 1."""


def default_model(body_type: BodyType, with_shapes: bool = False, gender: str = "neutral") -> BodyModel:
    """The default body (tools/build_body.py) as SMPL, SMPL-H or SMPL-X.

    SMPL-H and SMPL-X have flat hands at rest and the relaxed hand as `hands_mean`, as the official files
    do; SMPL has no fingers to bend, so its template holds the relaxed hand. Betas are this body's own, not
    SMPL's.

    Args:
        body_type: smpl, smplh or smplx.
        with_shapes: whether shape directions are read, too.
        gender: a key of `BUNDLED`.
    """
    smplx = _default_smplx(with_shapes, gender)
    if body_type == "smplx":
        return smplx

    # The mesh stays; joints that the smaller body lacks give their skinning weights to those it keeps.
    keep, fold = _reduction(body_type)
    template = smplx.v_template
    shapes = None if smplx.shapedirs is None else smplx.shapedirs[..., :10]
    hands_mean = smplx.hands_mean
    hands_components = smplx.hands_components
    if body_type == "smpl":
        template, shapes = _with_relaxed_hands(smplx, shapes)
        hands_mean = None
        hands_components = None
    shift = np.subtract(REST_PELVIS[body_type], REST_PELVIS["smplx"]).astype(np.float32)
    return BodyModel(
        body_type,
        v_template=template + shift,
        faces=smplx.faces,
        weights=smplx.weights @ fold,
        J_regressor=smplx.J_regressor[keep],
        shapedirs=shapes,
        vertex_colors=smplx.vertex_colors,
        hands_mean=hands_mean,
        hands_components=hands_components,
    )


def _default_smplx(with_shapes: bool, gender: str) -> BodyModel:
    with np.load(BUNDLED[gender]) as file:
        n = len(file["v_template"])
        j = n_joints("smplx")

        # Weights and regressor are stored sparse. Joint 0 pads the unused places of a vertex with weight 0,
        # so values are added, not assigned.
        weights = np.zeros((n, j), np.float32)
        rows = np.arange(n)[:, None]
        np.add.at(weights, (rows, file["weight_joints"]), file["weight_values"] / np.float32(WEIGHT_UNIT))
        regressor = np.zeros((j, n), np.float32)
        regressor[file["regressor_rows"], file["regressor_columns"]] = file["regressor_values"]

        return BodyModel(
            "smplx",
            v_template=file["v_template"],
            faces=file["faces"].astype(np.int32),
            weights=weights,
            J_regressor=regressor,
            shapedirs=file["shapedirs"].astype(np.float32) if with_shapes else None,
            vertex_colors=file["vertex_colors"],
            hands_mean=file["hands_mean"],
            hands_components=file["hands_components"],
        )


def _reduction(body_type: BodyType) -> tuple[list[int], Floats]:
    """How SMPL-X becomes a smaller body.

    Returns the SMPL-X joint that each joint of the smaller body is, and (55, J) the joint to which the
    skinning weights of each SMPL-X joint go.
    """
    # Fingers move with the hand they belong to, the face with the head.
    source = JOINT_NAMES["smplx"]
    target = JOINT_NAMES[body_type]
    keep = [source.index(name if name in source else HAND_TWIN[name]) for name in target]
    fold = np.zeros((len(source), len(target)), np.float32)
    for j, name in enumerate(source):
        if j < len(BODY_JOINTS) or (body_type == "smplh" and name in target):
            goal = name
        elif name in ("jaw", "left_eye", "right_eye"):
            goal = "head"
        else:
            side = name.partition("_")[0]
            goal = f"{side}_hand"
        fold[j, target.index(goal)] = 1
    return keep, fold


def _with_relaxed_hands(model: BodyModel, shapes: Floats | None) -> tuple[Floats, Floats | None]:
    """Template (V, 3) and shape directions (V, 3, N) of the SMPL-X body with `hands_mean` as its pose."""
    # A direction of the bent body is the difference that it makes once bent.
    template = _bend_hands(model, model.v_template)
    if shapes is None:
        return template, None
    bent = np.empty_like(shapes)
    for k in range(shapes.shape[-1]):
        bent[..., k] = _bend_hands(model, model.v_template + shapes[..., k]) - template
    return template, bent


def _bend_hands(model: BodyModel, vertices: Floats) -> Floats:
    """(V, 3) vertices of the SMPL-X body with `hands_mean` as its pose."""
    assert model.hands_mean is not None
    # The 30 finger joints come last.
    pose = np.zeros((n_joints("smplx"), 3), np.float32)
    pose[25:] = model.hands_mean.reshape(30, 3)
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(pose))

    # Linear blend skinning: each vertex follows the turned and moved joints by its weights.
    joints = torch.from_numpy(model.J_regressor @ vertices)
    placed, turns = forward_kinematics(rotmats, torch.zeros(3), joints, PARENTS["smplx"])
    offsets = placed - (turns @ joints[..., None])[..., 0]
    weights = torch.from_numpy(model.weights)
    blended = torch.einsum("vj,jab->vab", weights, turns) @ torch.from_numpy(vertices)[..., None]
    return (blended[..., 0] + weights @ offsets).numpy()
