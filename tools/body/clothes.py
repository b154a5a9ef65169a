"""T-shirt, shorts, hair, eyebrows and lips: parts cut out of the skin, lifted and painted."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from body.makehuman import Array
from body.surface import IntArray, Surface, averaging, cut, normals, separate, whole
from body.tpose import JOINTS

SKIN, SHORTS, SHIRT, HAIR, BROWS, LIPS, EYES, IRIS = range(8)
COLORS = {
    SKIN: (0.80, 0.62, 0.52),
    SHORTS: (0.17, 0.20, 0.28),
    SHIRT: (0.30, 0.47, 0.62),
    HAIR: (0.16, 0.12, 0.10),
    BROWS: (0.24, 0.17, 0.13),
    LIPS: (0.70, 0.46, 0.41),
    EYES: (0.93, 0.93, 0.92),
    IRIS: (0.20, 0.14, 0.10),
}
"""sRGB in [0, 1]."""


@dataclass(frozen=True)
class Dressed:
    """The dressed mesh as a linear function of the naked one: `mix @ vertices + lift`."""

    mix: sp.csr_array
    """(M, V)"""
    lift: Array
    """(M, 3) metres."""
    colors: Array
    """(M, 3) sRGB in [0, 1]."""
    faces: IntArray
    """(F, 3)"""


def dress(vertices: Array, faces: IntArray, joints: Array, weights: Array) -> Dressed:
    """Cut clothes and hair out of the T-pose mesh (V, 3), in metres with the pelvis at the origin."""
    surface = whole(faces, len(vertices))
    fields = _fields(vertices, joints, weights)
    for part, field in fields.items():
        surface = cut(surface, surface.mix @ field, part)
    lifts = {part: np.zeros_like(vertices) for part in COLORS} | {
        part: _lift(vertices, faces, fields[part], *FABRIC[part]) for part in FABRIC if part in fields
    }
    parts = separate(surface)
    mix = surface.mix[parts.source]
    lift = sum((parts.lift == p)[:, None] * (mix @ lifts[p]) for p in COLORS)
    colors = np.array([COLORS[p] for p in range(len(COLORS))])[parts.paint]
    return Dressed(mix, lift, colors, parts.faces)


FABRIC = {SHORTS: (0.006, 0.006, 40), SHIRT: (0.010, 0.009, 80), HAIR: (0.003, 0.009, 6), BROWS: (0.001, 0.001, 0)}
"""Distance from the skin (m) at the hem and inside, and rounds of smoothing."""


def _lift(vertices: Array, faces: IntArray, field: Array, hem: float, inside: float, rounds: int) -> Array:
    """(V, 3) displacement that smooths the skin inside a part and lifts it off the body."""
    depth = np.clip(field / 0.04, 0, 1)
    share = (depth * depth * (3 - 2 * depth))[:, None]
    mean = averaging(faces, len(vertices))
    smooth = vertices
    for _ in range(rounds):
        smooth = smooth + 0.97 * share * (mean @ smooth - smooth)
    skin_normals = normals(vertices, faces)
    fabric_normals = normals(smooth, faces)
    for _ in range(3):
        fabric_normals = mean @ fabric_normals
    fabric_normals /= np.linalg.norm(fabric_normals, axis=1, keepdims=True)
    moved = smooth + fabric_normals * (hem + (inside - hem) * share) - vertices
    height = np.einsum("vi,vi->v", moved, skin_normals)
    return moved + skin_normals * np.maximum(0.003 - height, 0)[:, None] * (rounds > 0)


def _fields(vertices: Array, joints: Array, weights: Array) -> dict[int, Array]:
    """(V,) fields in metres, positive inside each part, in the order of cutting."""
    x, y, z = vertices.T
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    across = np.abs(x)
    neck, pelvis, head_eye = at["neck"], at["pelvis"], at["left_eye"]
    sleeve = at["left_shoulder"][0] + 0.55 * (at["left_elbow"][0] - at["left_shoulder"][0])
    collar = np.linalg.norm(vertices - (neck + [0, 0.045, 0.022]), axis=1) - 0.118
    below_chin = neck[1] + 0.06 - y - np.maximum(z - neck[2] - 0.05, 0)
    shirt = np.minimum.reduce([y - (pelvis[1] - 0.05), sleeve - across, collar, below_chin])
    leg = at["left_hip"][1] + 0.55 * (at["left_knee"][1] - at["left_hip"][1])
    shorts = np.minimum(y - leg, pelvis[1] + 0.05 - y)
    hair = (y - (head_eye[1] + 0.062)) + 1.15 * np.clip(head_eye[2] - 0.045 - z, 0, 0.12)
    ear = np.maximum(0.073 - across, y - (head_eye[1] + 0.02))
    on_eye = weights[:, [JOINTS.index("left_eye"), JOINTS.index("right_eye")]].sum(1) - 0.5
    iris = 0.0075 - np.hypot(across - head_eye[0], y - head_eye[1])
    return {
        EYES: on_eye,
        SHIRT: shirt,
        SHORTS: shorts,
        HAIR: np.minimum(hair, ear),
    }
