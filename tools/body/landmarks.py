"""The 21 vertices that smplx appends to the joints: nose, eyes, ears, finger tips, toes, heels."""

import numpy as np

from body.makehuman import Array
from body.tpose import JOINTS

NAMES = (
    "nose", "reye", "leye", "rear", "lear",
    "rthumb", "rindex", "rmiddle", "rring", "rpinky", "lthumb", "lindex", "lmiddle", "lring", "lpinky",
    "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip
"""In the order of smplx.vertex_ids."""


def find(vertices: Array, weights: Array, joints: Array) -> np.ndarray:
    """(21,) vertex indices, from the T-pose (V, 3) with the pelvis at the origin."""
    x, y, z = vertices.T
    at = {name: joints[j] for j, name in enumerate(JOINTS)}

    def of(*names: str) -> np.ndarray:
        return weights[:, [JOINTS.index(name) for name in names]].sum(1) > 0.5

    def farthest(where: np.ndarray, along: Array) -> int:
        return int(np.where(where, along, -np.inf).argmax())

    # Each is the extreme point of a body part along some direction.
    head = of("head", "jaw")
    found = {"nose": farthest(head & (np.abs(x) < 0.01), z)}
    for mark, side, mirror in (("l", "left", 1), ("r", "right", -1)):
        out = mirror * x
        foot = of(f"{side}_foot")
        found |= {
            f"{mark}eye": farthest(of(f"{side}_eye"), z),
            f"{mark}ear": farthest(head & (z < at[f"{side}_eye"][2] - 0.05), out),
            f"{mark.upper()}BigToe": farthest(foot & (out < mirror * at[f"{side}_foot"][0]), z),
            f"{mark.upper()}SmallToe": farthest(foot, out + 0.4 * z),
            f"{mark.upper()}Heel": farthest(of(f"{side}_ankle"), -z - 0.3 * (y - y.min())),
            f"{mark}thumb": farthest(of(f"{side}_thumb3"), out + z),
        }
        found |= {
            f"{mark}{f}": farthest(of(f"{side}_{f}3"), out) for f in ("index", "middle", "ring", "pinky")
        }
    return np.array([found[name] for name in NAMES], np.uint16)
