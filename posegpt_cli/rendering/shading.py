"""What renderers and exporters share: colours, normals, shadow geometry, the floor's recipe. No GL."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from models.motion import Float32Array
from posegpt_cli.rendering.camera import Camera, FloatArray, look_rotation
from posegpt_cli.rendering.options import Color
from posegpt_cli.rendering.scene import Picture

SUN_MAP = 384
"""Pixels along a side of the sun's depth map, which holds the bodies' shadows on themselves."""
SHADOW_MASK = 512
"""Pixels along a side of the picture that holds the shadows on the floor, at most."""
SHADOW_BLUR = (0.008, 0.032, 0.075, 0.024)
"""Metres by which the shadows of low, middle and high blockers and the contact shadow are blurred."""
SHADOW_TINT = (0.46, 0.44, 0.40)
"""Share of the floor's red, green and blue that the sun's shadow takes away."""
CONTACT_DARK = 0.45
"""Share of the floor's light that the contact shadow takes away."""
PROXY_REACH = 0.07
"""Metres around a proxy's vertices within which the body's own vertices lie."""
_MASK_METRES = 0.012
_PROXY_CELL = 0.035
_LIFT = 0.24
"""How far towards white the floor stands out from a black background."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class FloorRecipe:
    """How bright the floor is where, for all renderers; 1 is the floor's own colour."""

    tile: float = 0.5
    """Metres along a side of a tile."""
    checker_bright: float = 0.985
    """Brightness of a light tile."""
    checker_depth: float = 0.027
    """What a plain floor lacks, times the paint's contrast; a dark tile lacks twice as much."""
    grid_bright: float = 0.97
    """Brightness between the lines of a grid."""
    grid_depth: float = 0.13
    """What a line lacks, times the contrast."""
    line_metres: float = 0.005
    """Half the width of a line."""
    line_thin: tuple[float, float] = (0.006, 0.3)
    """Weight of a line thinner than a pixel: metres over the pixel's footprint, and what is added."""
    fall: float = 0.05
    """What backdrop and floor lose from the middle of the picture to its lower edge."""
    fade: tuple[float, float] = (0.35, 1.5)
    """Where the floor begins to fade and has faded, times the camera's distance from its target."""


FLOOR = FloorRecipe()
PATTERNS = {"plain": 0.0, "checker": 1.0, "grid": 2.0}
"""Floors by name, as the shader counts them."""


@dataclass(frozen=True)
class FloorPaint:
    """Colour and contrast of the floor, so that it and the shadow on it are seen before any background."""

    color: Color
    """The background's own, lighter if that is dark: nothing is darker than black."""
    contrast: float
    """Times the pattern of a floor before a white background: dark tiles need more to be seen."""

    @classmethod
    def before(cls, background: Color) -> Self:
        """The floor that fades into this background."""
        # On black nothing could be darker: the floor is lifted towards white, and its pattern is stronger.
        luma = float(np.dot(_LUMA, background))
        lift = _LIFT * (1 - luma) ** 2
        red, green, blue = background
        color = (red + lift * (1 - red), green + lift * (1 - green), blue + lift * (1 - blue))
        return cls(color, 1 + 3 * (1 - luma) ** 2)


def fade_range(camera: Camera) -> tuple[float, float]:
    """Distances from the target (m) at which the floor begins to fade and has faded."""
    distance = float(np.linalg.norm(camera.eye - camera.target))
    start, end = FLOOR.fade
    return start * distance, end * distance


class Normals:
    """Smooth vertex normals of one topology: areas' directions summed over a sparse face-to-vertex matrix."""

    def __init__(self, faces: NDArray[np.integer], n_vertices: int) -> None:
        from scipy.sparse import csr_matrix

        self._faces = np.ascontiguousarray(faces.T)
        columns = np.tile(np.arange(len(faces)), 3)
        ones = np.ones(faces.size, np.float32)
        self._sum = csr_matrix((ones, (self._faces.ravel(), columns)), shape=(n_vertices, len(faces)))

    def __call__(self, vertices: Float32Array) -> Float32Array:
        """(V, 3) positions to (V, 3) unit normals."""
        first, second, third = self._faces
        a = vertices.take(first, axis=0)
        b = vertices.take(second, axis=0)
        c = vertices.take(third, axis=0)

        # The cross product of two edges is as long as twice the triangle's area, so that a vertex's sum
        # weighs large triangles more. Written out: np.cross takes several times as long.
        b -= a
        c -= a
        cross = np.empty_like(a)
        for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
            cross[:, k] = b[:, i] * c[:, j] - b[:, j] * c[:, i]

        normals = self._sum @ cross
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        return normals / np.maximum(length, 1e-12)[:, None]


class Proxy:
    """A coarse twin of a body for its shadows: some of its vertices, and triangles between them.

    Drawing costs mostly by the triangle, and a soft shadow needs few.
    """

    def __init__(self, rest_vertices: Float32Array, faces: NDArray[np.integer]) -> None:
        # Vertices of one cell of a cubic grid become the first of them.
        cells = np.floor(rest_vertices / _PROXY_CELL).astype(np.int64)
        _, first, cell_of = np.unique(cells, axis=0, return_index=True, return_inverse=True)
        coarse = first[cell_of.reshape(-1)[faces]]
        # Triangles within a cell or along two cells have collapsed.
        whole = (coarse != np.roll(coarse, 1, axis=1)).all(axis=1)
        self.faces = np.ascontiguousarray(coarse[whole], np.uint32)
        """(f, 3) corners, numbered as the body's own vertices."""
        self.vertices = np.sort(first)
        """(v,) numbers of the vertices in use; every other one is within `PROXY_REACH` of one at rest."""


def sun_view(points: Float32Array, sun: FloatArray) -> FloatArray:
    """(4, 4) world to the sun's parallel view, just around the points."""
    axes = look_rotation(sun)
    local = points @ axes.T.astype(np.float32)
    low = local.min(axis=0) - 0.05
    high = local.max(axis=0) + 0.05
    half = (high - low) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = axes / half[:, None]
    matrix[:3, 3] = -(low + high) / 2 / half
    matrix[2] *= -1  # nearer to the sun is less deep
    return matrix


@dataclass(frozen=True, eq=False)
class ShadowMask:
    """The floor's shadow picture: which rectangle of the floor it covers."""

    corner: FloatArray
    """(2,) x and z, metres."""
    extent: FloatArray
    """(2,) width and depth, metres."""
    pixels: tuple[int, int]

    @property
    def rect(self) -> FloatArray:
        """(4,) the corner, and pictures a metre."""
        return np.concatenate((self.corner, 1 / self.extent))

    @classmethod
    def around(cls, points: Float32Array, sun: FloatArray) -> Self:
        """The part of the floor that shadow and contact of points (N, 3) fall on, with room for the blur."""
        heights = np.maximum(points[:, 1], 0)[:, None]
        straight = points[:, [0, 2]]
        along = straight - (sun[[0, 2]] / sun[1]).astype(np.float32) * heights
        room = 3 * max(SHADOW_BLUR)
        low = np.minimum(straight.min(axis=0), along.min(axis=0)) - room
        high = np.maximum(straight.max(axis=0), along.max(axis=0)) + room
        # Small scenes get fine pixels; large ones all the pixels that there are.
        metres = max(_MASK_METRES, float((high - low).max()) / SHADOW_MASK)
        pixels = np.minimum(np.ceil((high - low) / metres), SHADOW_MASK).astype(int)
        return cls(low.astype(np.float64), pixels * metres, (int(pixels[0]), int(pixels[1])))

    def blur(self, footprint: Picture) -> Picture:
        """(h, w, 4) blockers to (h, w, 2) shadow and contact: what blocks from higher up blurs more."""
        metres = float(self.extent[0]) / self.pixels[0]
        layers = []
        for channel, width in enumerate(SHADOW_BLUR):
            # A wide blur of a smaller picture looks the same and is faster.
            radius = width / metres
            coarse = max(1, int(radius / 2.5))
            image = Image.fromarray(np.ascontiguousarray(footprint[..., channel]))
            image = image.reduce(coarse).filter(ImageFilter.GaussianBlur(radius / coarse))
            layers.append(image.resize(self.pixels, Image.Resampling.BILINEAR) if coarse > 1 else image)
        low, middle, high, contact = layers
        shadow = ImageChops.screen(ImageChops.screen(low, middle), high)
        return np.stack((np.asarray(shadow), np.asarray(contact)), axis=-1)
