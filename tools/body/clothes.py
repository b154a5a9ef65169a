"""T-shirt, shorts, hair, eyebrows and lips: parts cut out of the skin, lifted and painted."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from body.makehuman import Array
from body.surface import IntArray, Surface, averaging, cut, normals, separate
from body.tpose import JOINTS

SKIN, SHORTS, SHIRT, HAIR, BROWS, LIPS, EYES, IRIS = range(8)
COLORS = (
    (0.80, 0.62, 0.52),
    (0.17, 0.20, 0.28),
    (0.30, 0.47, 0.62),
    (0.16, 0.12, 0.10),
    (0.36, 0.26, 0.21),
    (0.74, 0.51, 0.45),
    (0.88, 0.87, 0.85),
    (0.24, 0.16, 0.11),
)
"""sRGB in [0, 1] of each part."""


@dataclass(frozen=True)
class Style:
    """What sets one body's look apart from another's."""

    shirt: tuple[float, float, float] = COLORS[SHIRT]
    """sRGB in [0, 1]."""
    hair: tuple[float, float, float] = COLORS[HAIR]
    hair_inside: float = 0.009
    """How far the hair stands off the head, m."""
    is_hair_long: bool = False
    """Down to the nape."""


Field = Callable[[Array], Array]
"""Positions (N, 3) to signed distances (N,), positive inside."""


@dataclass(frozen=True)
class Fabric:
    """How a part stands off the skin."""

    hem: float
    """Distance from the skin at the edge, m."""
    inside: float
    """Distance from the skin well inside, m."""
    rounds: int
    """Rounds of smoothing of the body underneath."""


FABRICS = {
    SHORTS: Fabric(hem=0.012, inside=0.010, rounds=90),
    SHIRT: Fabric(hem=0.015, inside=0.013, rounds=90),
    HAIR: Fabric(hem=0.003, inside=0.009, rounds=6),
    BROWS: Fabric(hem=0.001, inside=0.001, rounds=0),
}


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


def dress(vertices: Array, faces: IntArray, eye_faces: IntArray, joints: Array, style: Style) -> Dressed:
    """Cut clothes and hair out of the T-pose mesh (V, 3), in metres with the pelvis at the origin."""
    paint = np.repeat([SKIN, EYES], [len(faces), len(eye_faces)])
    surface = Surface(sp.eye_array(len(vertices), format="csr"), np.concatenate([faces, eye_faces]), paint)
    at = {name: joints[j] for j, name in enumerate(JOINTS)}
    shapes = {
        SHIRT: [_shirt(at)],
        SHORTS: [_shorts(at)],
        HAIR: [_hair(at, style.is_hair_long)],
        BROWS: _brows(at),
        LIPS: [_lips(at)],
        IRIS: [_iris(at)],
    }
    for part, fields in shapes.items():
        surface = _carve(surface, vertices, fields, part, EYES if part == IRIS else SKIN)
    # Cloth stands off the skin: each part has its own displacement, zero for paint such as lips.
    lifts = np.zeros((len(COLORS), *vertices.shape))
    fabrics = FABRICS | {HAIR: replace(FABRICS[HAIR], inside=style.hair_inside)}
    for part, fabric in fabrics.items():
        flat = _chest(at)(vertices) if part == SHIRT else np.zeros(len(vertices))
        lifts[part] = _lift(vertices, faces, shapes[part][0](vertices), flat, fabric)
    # Where two parts meet, each gets its own vertices, and a rim closes the step between them.
    parts = separate(surface)
    mix = surface.mix[parts.source]
    lift = sum((parts.lift == p)[:, None] * (mix @ lifts[p]) for p in range(len(COLORS)))
    colors = np.array(COLORS)
    colors[SHIRT] = style.shirt
    colors[HAIR] = style.hair
    return Dressed(mix, lift, colors[parts.paint], parts.faces)


def _carve(surface: Surface, vertices: Array, fields: list[Field], part: int, within: int) -> Surface:
    """Give `part` what lies inside all fields; the first is the most local, so that few faces are cut."""
    surface = cut(surface, fields[0](surface.mix @ vertices), part, within)
    for field in fields[1:]:
        surface = cut(surface, -field(surface.mix @ vertices), within, part)
    return surface


TAUBIN = (0.6, -0.62)
"""Steps that smooth and give the volume back (Taubin 1995)."""


def _lift(vertices: Array, faces: IntArray, field: Array, flat: Array, fabric: Fabric) -> Array:
    """(V, 3) displacement that smooths the skin inside a part and lifts it off the body.

    Where `flat` (V,) in [0, 1] is positive, cloth spans what it covers instead of following it.
    """
    # Smoothing sets in two centimetres outside the hem, so that the cloth does not end in a fold.
    share = _smoothstep((field + 0.02) / 0.05)[:, None]
    mean = averaging(faces, len(vertices))
    spanned = vertices
    for _ in range(FLATTEN_ROUNDS if flat.any() else 0):
        spanned = spanned + flat[:, None] * (mean @ spanned - spanned)
    # Taubin's two alternating steps: plain averaging would shrink the body.
    smooth = spanned
    for k in range(2 * fabric.rounds):
        smooth = smooth + (TAUBIN[k % 2] * share) * (mean @ smooth - smooth)
    # Normals are smoothed too, or the cloth would show every muscle again.
    outward = normals(smooth, faces)
    for _ in range(10):
        outward = mean @ outward
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    # along the normal only, or hems would wander
    height = np.einsum("vi,vi->v", smooth - spanned, outward)[:, None]
    return spanned - vertices + outward * (height + fabric.hem + (fabric.inside - fabric.hem) * share)


FLATTEN_ROUNDS = 400


def _smoothstep(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _shirt(at: dict[str, Array]) -> Field:
    def field(points: Array) -> Array:
        x, y, z = points.T
        hem = y - (at["pelvis"][1] - 0.05)
        sleeve = _along(at["left_shoulder"], at["left_elbow"], 0.55)[0] - np.abs(x)
        collar = np.linalg.norm(points - (at["neck"] + [0, 0.045, 0.022]), axis=1) - 0.118
        below_chin = at["neck"][1] + 0.06 - y - np.maximum(z - at["neck"][2] - 0.05, 0)
        return np.minimum.reduce([hem, sleeve, collar, below_chin])

    return field


def _shorts(at: dict[str, Array]) -> Field:
    def field(points: Array) -> Array:
        y = points[:, 1]
        waist = at["pelvis"][1] - 0.045 - y  # just above the hem of the shirt, where the shorts end under it
        return np.minimum(y - _along(at["left_hip"], at["left_knee"], 0.55)[1], waist)

    return field


def _hair(at: dict[str, Array], is_long: bool) -> Field:
    def field(points: Array) -> Array:
        x, y, z = points.T
        eye = at["left_eye"]
        # From the forehead down to the back: long hair goes on to the nape.
        slope, reach = (1.3, 0.155) if is_long else (1.15, 0.12)
        hairline = y - (eye[1] + 0.062) + slope * np.clip(eye[2] - 0.045 - z, 0, reach)
        not_ear = np.maximum(0.073 - np.abs(x), y - (eye[1] + 0.02))
        return np.minimum(hairline, not_ear)

    return field


def _brows(at: dict[str, Array]) -> list[Field]:
    """A lens between two arcs above each eye."""
    eye = at["left_eye"]

    def offset(points: Array) -> tuple[Array, Array]:
        """Height above the middle line of the brow, and its half-width there."""
        # A parabola across the brow's length, from -1 at the nose to 1 at the temple.
        along = (np.abs(points[:, 0]) - eye[0] - 0.001) / 0.021
        # The end at the nose is a little higher than the one at the temple: the other way round frowns.
        middle = eye[1] + 0.0198 - 0.0010 * along - 0.0032 * along**2
        return points[:, 1] - middle, 0.0022 * (1 - along**2) + 0.0003 * (1 - along)

    def near(points: Array) -> Array:
        across = points * [0, 1, 1] + np.abs(points) * [1, 0, 0]
        return 0.026 - np.linalg.norm(across - np.add(eye, [0.001, 0.019, 0.012]), axis=1)

    return [near, lambda p: offset(p)[1] - offset(p)[0], lambda p: offset(p)[1] + offset(p)[0]]


def _lips(at: dict[str, Array]) -> Field:
    def field(points: Array) -> Array:
        x, y, z = points.T
        eye = at["left_eye"]
        ellipse = 1 - (x / 0.024) ** 2 - ((y - (eye[1] - 0.0695)) / 0.0108) ** 2
        return np.minimum(0.01 * ellipse, z - eye[2] + 0.01)

    return field


def _iris(at: dict[str, Array]) -> Field:
    def field(points: Array) -> Array:
        across = points * [0, 1, 1] + np.abs(points) * [1, 0, 0]
        return 0.0067 - np.linalg.norm(across - (at["left_eye"] + [0, -0.0005, 0.0125]), axis=1)

    return field


def _chest(at: dict[str, Array]) -> Field:
    def field(points: Array) -> Array:
        """1 at the breast, 0 from 9 cm on."""
        across = points * [0, 1, 1] + np.abs(points) * [1, 0, 0]
        breast = at["spine3"] + [0.074, -0.014, 0.135]
        return _smoothstep(1.5 - np.linalg.norm(across - breast, axis=1) / 0.06)

    return field


def _along(a: Array, b: Array, share: float) -> Array:
    return a + share * (b - a)
