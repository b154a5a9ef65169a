"""Joint frames of recordings whose bones lie along an axis at rest: known by measurement. No torch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SPINE = ("spine1", "spine2", "spine3", "neck", "head")
_ARM = ("collar", "shoulder", "elbow", "wrist")
_DIRECTIONS = {
    "L": (1, 0, 0),
    "U": (0, 1, 0),
    "F": (0, 0, 1),
    "R": (-1, 0, 0),
    "D": (0, -1, 0),
    "B": (0, 0, -1),
}


def _axes(letters: str, pitch: float = 0.0) -> FloatArray:
    """A joint frame by where x, y, z point (Left Right Up Down Front Back), tilted down `pitch` degrees."""
    columns = np.array([_DIRECTIONS[letter] for letter in letters], float).T
    cosine = np.cos(np.deg2rad(pitch))
    sine = np.sin(np.deg2rad(pitch))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ columns


def _bandai() -> dict[str, FloatArray]:
    """Every bone lies along its joint's +X, on the right side along -X."""
    frames = {"pelvis": _axes("URF"), **dict.fromkeys(_SPINE, _axes("UFL"))}
    for joint in _ARM:
        frames[f"left_{joint}"] = _axes("LUF")
        frames[f"right_{joint}"] = _axes("LDB")
    for joint in ("hip", "knee"):
        frames[f"left_{joint}"] = _axes("DLF")
        frames[f"right_{joint}"] = _axes("ULB")
    # The pitches of foot and toes were measured on planted feet.
    for joint, pitch in (("ankle", 39.6), ("foot", 23.0)):
        frames[f"left_{joint}"] = _axes("FLU", pitch)
        frames[f"right_{joint}"] = _axes("BLD", pitch)
    return frames


def _lafan1() -> dict[str, FloatArray]:
    """Bones lie along +X on both sides. The axes are those of the T-pose in which its takes begin."""
    frames = dict.fromkeys(("pelvis", *_SPINE), _axes("UFL"))
    for joint in _ARM:
        frames[f"left_{joint}"] = _axes("LBU")
        frames[f"right_{joint}"] = _axes("RBD")
    for side in ("left", "right"):
        frames[f"{side}_hip"] = _axes("DFR")
        frames[f"{side}_knee"] = _axes("DFR")
        frames[f"{side}_ankle"] = _axes("FUR", 25.0)
        frames[f"{side}_foot"] = _axes("FUR", 3.5)
    return frames


KNOWN_FRAMES: Mapping[str, Mapping[str, FloatArray]] = {"Bandai-Namco": _bandai(), "LAFAN1": _lafan1()}
"""Name of a skeleton to SMPL joint to the (3, 3) orientation of the file's joint frame in a T-pose that faces
+Z; columns are where its x, y, z axes point."""
