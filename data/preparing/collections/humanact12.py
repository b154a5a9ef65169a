"""HumanAct12 as ACTOR distributes it: one pickle with the SMPL poses of all clips. Imports no torch.

Petrovich et al., Action-Conditioned 3D Human Motion Synthesis with Transformer VAE, ICCV 2021. The pickle is
read without executing anything in it. Poses and joints are in a camera's coordinates; which way is up is
found for each clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.safe_pickle import read_tree
from data.formats.settings import ReadingSettings
from data.formats.smpl_parameters import Convention, SmplParameters
from data.formats.smpl_world import to_motion
from models.body.skeleton import REST_PELVIS, n_joints
from models.errors import PoseGPTError
from models.motion import Motion

ACTIONS = (
    "warm_up",
    "walk",
    "run",
    "jump",
    "drink",
    "lift_dumbbell",
    "sit",
    "eat",
    "turn steering wheel",
    "phone",
    "boxing",
    "throw",
)
"""ACTOR's names of the actions, by their numbers."""
_CONVENTION = Convention("HumanAct12", "-y", fps=20.0)
"""The file says no frame rate; HumanML3D and MDM, which use the set, take 20."""
_N_JOINTS = n_joints("smpl")
_EXPECTED = "give ACTOR's humanact12poses.pkl: a dictionary with lists poses, joints3D and y"


@dataclass(frozen=True, eq=False)
class HumanAct12:
    """What the pickle holds, still in its own world."""

    poses: Sequence[Any]
    """Of each clip (T, 72) rotation vectors."""
    joints: Sequence[Any]
    """Of each clip (T, 24, 3) joint positions in metres."""
    labels: tuple[str, ...]
    """Action of each clip."""


def read_humanact12(path: Path) -> HumanAct12:
    """All clips; the last file is kept, since its clips are asked for one by one.

    Raises PoseGPTError if the file cannot be read, asks for anything but arrays, or is another one.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise PoseGPTError(f"cannot read {path}: {error.strerror or error}", _EXPECTED) from None
    return _read(path, stat.st_size, stat.st_mtime_ns)


def motion_of_clip(path: Path, number: int, settings: ReadingSettings) -> Motion:
    """One clip in our world, at its own frame rate; raises PoseGPTError if it is damaged or up is unclear."""
    found = read_humanact12(path)
    name = clip_name(path, number)
    poses = _numbers(found.poses[number], (_N_JOINTS, 3), name)
    joints = _numbers(found.joints[number], (_N_JOINTS, 3), name)
    if len(poses) != len(joints) or not len(poses):
        raise PoseGPTError(f"{name} has {len(poses)} poses and joints of {len(joints)} frames", _EXPECTED)

    # The root turns about the pelvis, so its translation follows from where the pelvis is.
    trans = joints[:, 0] - np.array(REST_PELVIS["smpl"])
    parameters = SmplParameters(poses, trans, "smpl", _CONVENTION, unit=1.0, labels=(found.labels[number],))
    return to_motion(parameters, name, settings)


def clip_name(path: Path, number: int) -> str:
    """What messages and stores call a clip."""
    return f"{path.stem}-{number:04d}"


@lru_cache(maxsize=1)
def _read(path: Path, n_bytes: int, changed: int) -> HumanAct12:
    # Size and time are part of the key: another file of that name is read anew.
    tree = read_tree(path)
    if not isinstance(tree, Mapping):
        raise PoseGPTError(f"{path.name} holds no dictionary", _EXPECTED)
    # ACTOR's preprocessing writes these three lists, one entry per clip.
    columns = []
    for key in ("poses", "joints3D", "y"):
        if not isinstance(tree.get(key), list | tuple | np.ndarray):
            keys = ", ".join(map(str, list(tree)[:8])) or "nothing"
            raise PoseGPTError(f"{path.name} has no list {key!r} (it has {keys})", _EXPECTED)
        columns.append(list(tree[key]))
    poses, joints, numbers = columns
    if not len(poses) == len(joints) == len(numbers):
        raise PoseGPTError(
            f"{path.name} has {len(poses)} poses, {len(joints)} joints3D and {len(numbers)} actions",
            _EXPECTED,
        )
    labels = []
    for number in numbers:
        labels.append(_action(number, path.name))
    return HumanAct12(poses, joints, tuple(labels))


def _action(number: Any, name: str) -> str:
    # Numbers of Python or of numpy, also as arrays of one.
    whole = np.asarray(number)
    if whole.size != 1 or whole.dtype.kind not in "iu" or not 0 <= int(whole.reshape(())) < len(ACTIONS):
        raise PoseGPTError(
            f"{name} has an action {str(number)[:20]}, expected 0 to {len(ACTIONS) - 1}", _EXPECTED
        )
    return ACTIONS[int(whole.reshape(()))]


def _numbers(value: Any, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    """(T, *shape) finite numbers, also of (T, product of the shape)."""
    array = np.asarray(value)
    is_wide_enough = array.ndim > 1 and array.size == len(array) * shape[0] * shape[1]
    if array.dtype.kind not in "fiu" or not is_wide_enough:
        raise PoseGPTError(f"{name} has an array {array.shape} of {array.dtype}", _EXPECTED)
    numbers = array.reshape(len(array), *shape).astype(float)
    if not np.isfinite(numbers).all():
        raise PoseGPTError(f"{name} holds NaN or infinite values", "use another file")
    return numbers
