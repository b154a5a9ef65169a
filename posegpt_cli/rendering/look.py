"""What a person's mesh looks like, whatever its pose: triangles, colours, textures. No GL."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.motion import Float32Array

if TYPE_CHECKING:
    from data.rigs.materials import Texture
    from models.body.body import Body

DEFAULT_COLOR = (0.66, 0.69, 0.74)
"""Of a body without colours of its own."""


@dataclass(frozen=True, eq=False)
class LookPart:
    """A run of faces that are painted alike."""

    faces: slice
    texture: "Texture | None" = None
    """Multiplied into the vertices' colours."""
    is_blended: bool = False
    """What is behind shines through."""
    alpha_cutoff: float = 0.0
    """Points less opaque than this are left out."""
    is_double_sided: bool = False


@dataclass(frozen=True, eq=False)
class Look:
    """A mesh's triangles and paint."""

    rest_vertices: Float32Array
    """(V, 3) metres."""
    faces: NDArray[np.integer]
    """(F, 3) counter-clockwise seen from outside."""
    colors: Float32Array
    """(V, 4) sRGB and opacity, 0..1."""
    parts: tuple[LookPart, ...]
    """All faces, in the order in which they are drawn."""
    uvs: Float32Array | None = None
    """(V, 2) texture coordinates; None: no part has a texture."""

    @property
    def n_vertices(self) -> int:
        return len(self.colors)


@lru_cache(maxsize=8)
def body_look(body: "Body") -> Look:
    """A body's own look."""
    import torch

    # Without pose and path the vertices are those at rest, as the mesh itself has them.
    with torch.inference_mode():
        rest = body.vertices(torch.zeros(1, len(body.rest_joints), 3), torch.zeros(1, 3))[0].numpy()
    colors = np.column_stack((body_colors(body), np.ones(body.n_vertices, np.float32)))
    # OpenGL computes a vertex anew for every few hundred triangles that use it: with neighbours one after the
    # other, a quarter less often.
    faces = body.faces[np.argsort(body.faces.min(axis=1), kind="stable")]
    return Look(rest, faces, colors, (LookPart(slice(0, len(faces))),))


def body_colors(body: "Body") -> Float32Array:
    """(V, 3) sRGB colours of a body's vertices, 0..1: its own, or else one for all."""
    if body.vertex_colors is None:
        return np.full((body.n_vertices, 3), DEFAULT_COLOR, np.float32)
    return (body.vertex_colors / 255).astype(np.float32)
