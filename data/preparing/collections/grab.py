"""GRAB: whole-body grasps, one .npz per sequence, from its own site or out of AMASS. Imports no torch.

Taheri et al., GRAB: A Dataset of Whole-Body Human Grasping of Objects, ECCV 2020. Its own files hold
pickled dictionaries; they are read without executing anything. A sequence is called object_action_number.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.safe_pickle import read_objects
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import check_smpl_npz, read_smpl_npz
from data.formats.smpl_parameters import KEYS, Convention, read_parameters
from data.formats.smpl_world import to_motion
from models.errors import PoseGPTError
from models.motion import Motion
from models.npz import read_members

_CONVENTION = Convention("GRAB", "+z", is_sure=True, fps=120.0)
_BODY = "body"
"""The array of GRAB's own files that holds the body's parameters."""
_BESIDE = ("framerate", "gender")
_EXPECTED = "give GRAB's folder: s1/airplane_fly_1.npz, ..., or that of AMASS"


def action_of(path: Path) -> str:
    """The action by a sequence's name, `drink` of `s4/mug_drink_1.npz`; empty if the name is another one."""
    words = path.stem.split("_")
    return words[1] if len(words) > 1 and words[1].isalpha() else ""


def read_grab(path: Path, settings: ReadingSettings, to_fps: float | None = None) -> Motion:
    """A sequence in our world.

    Args:
        path: a file of GRAB's own or of AMASS's release.
        settings: what the file does not say of itself.
        to_fps: frame rate of the result (None: the file's own).

    Raises PoseGPTError if the file is damaged, asks for anything but arrays, or holds no body.
    """
    # AMASS's release of GRAB has no body of this kind, but the layout of all its files.
    members = read_members(path, (_BODY, *_BESIDE), _EXPECTED)
    if _BODY not in members:
        return read_smpl_npz(path, settings, to_fps)
    body = read_objects(members[_BODY], path.name)
    parameters = body.get("params") if isinstance(body, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise PoseGPTError(f"{path.name} has no parameters in its body", _EXPECTED)

    # All poses in one array where there is one: the fingers beside it are coefficients.
    arrays: dict[str, NDArray[Any]] = {}
    for key, value in parameters.items():
        if key in KEYS and isinstance(value, np.ndarray):
            arrays[key] = value
    if "fullpose" in arrays:
        arrays = {key: value for key, value in arrays.items() if key in ("fullpose", "transl")}

    # Frame rate and gender stand beside the body, each as an array of one.
    for key in _BESIDE:
        if key in members:
            arrays[key] = np.asarray(read_objects(members[key], path.name))
    found = read_parameters(arrays, path.name, set(arrays))
    return to_motion(replace(found, convention=_CONVENTION), path.name, settings, to_fps)


def check_grab(path: Path) -> None:
    """Raises PoseGPTError if the names of a file's arrays say that it holds no body."""
    if not _has_body(path):
        check_smpl_npz(path)


def _has_body(path: Path) -> bool:
    there: set[str] = set()

    def look(names: set[str]) -> set[str]:
        there.update(names)
        return set()

    read_members(path, look, _EXPECTED)
    return _BODY in there
