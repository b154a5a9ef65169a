"""The relaxed hand and a basis of hand poses, in SMPL-X's order: index, middle, pinky, ring, thumb."""

import numpy as np

from body.makehuman import Array

CURL = {
    "index": (0.18, 0.35, 0.25),
    "middle": (0.28, 0.40, 0.28),
    "pinky": (0.38, 0.45, 0.30),
    "ring": (0.34, 0.42, 0.30),
}
"""Radians of flexion at the three joints of a hanging hand."""
THUMB = ((0.15, 0.15, -0.1), (0.0, 0.22, 0.0), (0.0, 0.22, 0.0))


def relaxed_hands() -> Array:
    """(2, 15, 3) rotation vectors of a relaxed left and right hand; zero is the flat hand."""
    return np.stack([_relaxed(1.0), _relaxed(-1.0)])


def _relaxed(mirror: float) -> Array:
    fingers = [(0, 0, -mirror * angle) for finger in CURL.values() for angle in finger]
    return np.array(fingers + [(x, mirror * y, mirror * z) for x, y, z in THUMB])


def hand_components() -> Array:
    """(2, 45, 45) orthonormal hand poses: all fingers, then single ones, the thumb, and the rest."""
    return np.stack([_components(1.0), _components(-1.0)])


def _components(mirror: float) -> Array:
    # Four fingers bend together first; what single fingers do beside that comes next.
    fist = np.zeros((15, 3))
    fist[:12, 2] = -mirror
    rows = [fist]
    for finger in range(4):
        row = -fist / 4
        row[3 * finger : 3 * finger + 3, 2] -= mirror
        rows.append(row)
    thumb = np.zeros((15, 3))
    thumb[12:] = (0.5, 0.5 * mirror, 0)
    # Gram-Schmidt: what earlier rows span already falls out, unit vectors fill up to 45.
    basis: list[Array] = []
    for row in [*(r.reshape(45) for r in [*rows, thumb]), *np.eye(45)]:
        rest = row - sum((row @ b) * b for b in basis)
        if np.linalg.norm(rest) > 1e-6:
            basis.append(rest / np.linalg.norm(rest))
    return np.array(basis)
