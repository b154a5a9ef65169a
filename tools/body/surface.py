"""Triangle surfaces over a base mesh: cutting along a field, averaging, splitting into parts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from body.makehuman import Array

IntArray = NDArray[np.int64]

SNAP = 0.15
"""A cut nearer than this share of an edge to a vertex goes through the vertex: no slivers."""


@dataclass(frozen=True)
class Surface:
    """A triangle mesh over a base mesh of V vertices."""

    mix: sp.csr_array
    """(N, V): each vertex as a weighted mean of base vertices."""
    faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    part: IntArray
    """(F,) which part a face belongs to; 0 is skin."""


def triangulate(polygons: list[list[int]]) -> IntArray:
    """(F, 3) triangles of triangles and quads; quads of the base mesh may repeat their last corner."""
    triangles = [t for p in polygons for t in ((p[0], p[1], p[2]), (p[0], p[2], p[-1])) if len(set(t)) == 3]
    return np.array(triangles, np.int64)


def cut(surface: Surface, field: Array, part: int, within: int = 0) -> Surface:
    """Give `part` the side of `within` where the field is positive, cutting faces along its zero line.

    The field (N,) holds one value a vertex and is taken as linear along edges.
    """
    # New vertices on cut edges are shared by the faces on both sides, so that no gap opens.
    mix, field = _snap(surface, field, within)
    crossings: dict[tuple[int, int], int] = {}
    faces: list[tuple[int, ...]] = []
    parts: list[int] = []
    for face, old in zip(surface.faces.tolist(), surface.part.tolist(), strict=True):
        values = field[face]
        if old != within or not (values > 0).any() or not (values < 0).any():
            faces.append(tuple(face))
            parts.append(part if old == within and (values > 0).any() else old)
            continue
        for sign, owner in ((1.0, part), (-1.0, within)):
            polygon = list(_clip(face, sign * field, crossings, len(field)))
            faces += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
            parts += [owner] * (len(polygon) - 2)
    if crossings:
        a, b = np.array(list(crossings)).T
        mix = sp.vstack([mix, _between(mix, a, b, field[a] / (field[a] - field[b]))], format="csr")
    return Surface(mix, np.array(faces), np.array(parts))


def _snap(surface: Surface, field: Array, within: int) -> tuple[sp.csr_array, Array]:
    """Slide vertices that almost lie on the zero line along an edge onto it."""
    # Both directions of every crossed edge: either end may be the near one.
    a, b = edges(surface.faces[surface.part == within]).T
    crossed = field[a] * field[b] < 0
    a, b = np.r_[a[crossed], b[crossed]], np.r_[b[crossed], a[crossed]]
    share = field[a] / (field[a] - field[b])
    order = np.argsort(-share)  # the nearest crossing of a vertex is written last, and stays
    a, b, share = (values[order][share[order] < SNAP] for values in (a, b, share))
    partner, moved = np.arange(len(field)), np.zeros(len(field))
    partner[a], moved[a] = b, share
    still = moved[partner] == 0  # two ends of one edge do not both move
    snapped = np.where((moved > 0) & still, 0.0, field)
    return _between(surface.mix, np.arange(len(field)), partner, moved * still), snapped


def _between(mix: sp.csr_array, a: IntArray, b: IntArray, share: Array) -> sp.csr_array:
    return (sp.diags_array(1 - share) @ mix[a] + sp.diags_array(share) @ mix[b]).tocsr()


def _clip(face: list[int], field: Array, crossings: dict[tuple[int, int], int], first: int) -> Iterator[int]:
    """Corners of a face's part where the field is not negative; `crossings` numbers new vertices."""
    for a, b in zip(face, face[1:] + face[:1], strict=True):
        if field[a] >= 0:
            yield a
        if field[a] * field[b] < 0:
            yield crossings.setdefault((min(a, b), max(a, b)), first + len(crossings))


def edges(faces: IntArray) -> IntArray:
    """(E, 2) undirected edges, each once."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def averaging(faces: IntArray, n_vertices: int) -> sp.csr_array:
    """(V, V) operator that replaces each vertex by the mean of its neighbours."""
    # Rows are divided by the number of neighbours; a vertex without any stays zero.
    a, b = edges(faces).T
    adjacency = sp.coo_array(
        (np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(n_vertices, n_vertices)
    ).tocsr()
    return sp.diags_array(1 / np.maximum(adjacency.sum(1), 1)) @ adjacency


def normals(vertices: Array, faces: IntArray) -> Array:
    """(V, 3) unit normals, weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], np.cross(b - a, c - a))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class Parts:
    """A surface whose parts share no vertex, joined by rims where one lies above another."""

    source: IntArray
    """(M,) vertex of the surface that each vertex copies."""
    lift: IntArray
    """(M,) part whose displacement moves the vertex."""
    paint: IntArray
    """(M,) part whose colour it wears."""
    faces: IntArray
    """(F, 3)"""


def separate(surface: Surface) -> Parts:
    """Give each part its own vertices, and close the step between two parts with a rim.

    The rim wears the colour of the higher-numbered part, whose edge it is. It shares no vertex with it, so
    that normals averaged at vertices leave the edge sharp.
    """
    keys: dict[tuple[int, int, int, bool], int] = {}

    def vertex(source: int, lift: int, paint: int, rim: bool = False) -> int:
        return keys.setdefault((source, lift, paint, rim), len(keys))

    faces = [
        tuple(vertex(v, p, p) for v in f)
        for f, p in zip(surface.faces.tolist(), surface.part.tolist(), strict=True)
    ]
    # A directed edge belongs to one face; its twin to the face on the other side, perhaps of another part.
    owner = {}
    for face, part in zip(surface.faces.tolist(), surface.part.tolist(), strict=True):
        for k in range(3):
            owner[face[k], face[(k + 1) % 3]] = part
    for (a, b), upper in owner.items():
        lower = owner.get((b, a), upper)
        if lower < upper:
            a0, b0, a1, b1 = (vertex(v, lift, upper, rim=True) for lift in (lower, upper) for v in (a, b))
            faces += [(b1, a1, a0), (b1, a0, b0)]
    source, lift, paint, _ = np.array(list(keys)).T
    return Parts(source, lift, paint, np.array(faces))
