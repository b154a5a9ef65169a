"""Triangle surfaces whose vertices mix those of a base mesh: cutting along a field, smoothing, splitting into parts."""

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


def whole(faces: IntArray, n_vertices: int) -> Surface:
    """The base mesh itself, all skin."""
    return Surface(sp.eye_array(n_vertices, format="csr"), faces, np.zeros(len(faces), np.int64))


def cut(surface: Surface, field: Array, part: int, within: int = 0) -> Surface:
    """Give `part` the side of `within` where the field is positive, cutting faces along its zero line.

    The field (N,) holds one value a vertex and is taken as linear along edges.
    """
    field = _snap(field, surface.faces[surface.part == within])
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
    return Surface(_with_crossings(surface.mix, field, crossings), np.array(faces), np.array(parts))


def _snap(field: Array, faces: IntArray) -> Array:
    a, b = edges(faces).T
    crossing = field[a] * field[b] < 0
    a, b = a[crossing], b[crossing]
    share = field[a] / (field[a] - field[b])
    snapped = field.copy()
    snapped[a[share < SNAP]] = 0
    snapped[b[share > 1 - SNAP]] = 0
    return snapped


def _clip(face: list[int], field: Array, crossings: dict[tuple[int, int], int], first: int) -> Iterator[int]:
    """Corners of the part of a face where the field is not negative; new vertices are numbered in `crossings`."""
    for a, b in zip(face, face[1:] + face[:1], strict=True):
        if field[a] >= 0:
            yield a
        if field[a] * field[b] < 0:
            yield crossings.setdefault((min(a, b), max(a, b)), first + len(crossings))


def _with_crossings(mix: sp.csr_array, field: Array, crossings: dict[tuple[int, int], int]) -> sp.csr_array:
    if not crossings:
        return mix
    a, b = np.array(list(crossings)).T
    share = field[a] / (field[a] - field[b])
    new = sp.diags_array(1 - share) @ mix[a] + sp.diags_array(share) @ mix[b]
    return sp.vstack([mix, new], format="csr")


def edges(faces: IntArray) -> IntArray:
    """(E, 2) undirected edges, each once."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def averaging(faces: IntArray, n_vertices: int) -> sp.csr_array:
    """(V, V) operator that replaces each vertex by the mean of its neighbours."""
    a, b = edges(faces).T
    adjacency = sp.coo_array((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), shape=(n_vertices, n_vertices)).tocsr()
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

    The rim wears the colour of the higher-numbered part, whose edge it is.
    """
    keys: dict[tuple[int, int, int], int] = {}

    def vertex(source: int, lift: int, paint: int) -> int:
        return keys.setdefault((source, lift, paint), len(keys))

    faces = [tuple(vertex(v, p, p) for v in f) for f, p in zip(surface.faces.tolist(), surface.part.tolist(), strict=True)]
    owner = {}
    for face, part in zip(surface.faces.tolist(), surface.part.tolist(), strict=True):
        for k in range(3):
            owner[face[k], face[(k + 1) % 3]] = part
    for (a, b), upper in owner.items():
        lower = owner.get((b, a), upper)
        if lower < upper:
            a0, b0, a1, b1 = vertex(a, lower, upper), vertex(b, lower, upper), vertex(a, upper, upper), vertex(b, upper, upper)
            faces += [(b1, a1, a0), (b1, a0, b0)]
    source, lift, paint = np.array(list(keys)).T
    return Parts(source, lift, paint, np.array(faces))
