"""A rig by its name or its file."""

from functools import lru_cache
from pathlib import Path

from data.formats.bvh_read import read_skeleton
from data.rigs.bvh_rig import bvh_rig
from data.rigs.fit import Fit, fit_rig
from data.rigs.gltf_read import GLTF_SUFFIXES, read_gltf
from data.rigs.gltf_rig import gltf_rig
from data.rigs.rig import Rig
from data.rigs.targets import TARGETS, named_rig
from data.rigs.writing.gltf_build import with_gltf
from models.errors import PoseGPTError

RIG_FILES = (".glb", ".gltf", ".vrm", ".bvh")
"""Extensions of files that may be rigs."""


def open_rig(name: str | Path) -> Fit:
    """The rig that a name or a file stands for, and how it follows SMPL's body.

    Args:
        name: a known rig's name, or a file: .glb, .gltf, .vrm or .bvh.

    Raises PoseGPTError if there is no such rig, or it cannot carry a person's motion.
    """
    path = Path(name)
    if not path.is_file():
        if path.suffix.lower() in RIG_FILES:
            raise PoseGPTError(f"no file {path}", "check the path", "rig")
        return _named(str(name))
    about = path.stat()
    return _open(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=len(TARGETS))
def _named(name: str) -> Fit:
    return fit_rig(with_gltf(named_rig(name)))


@lru_cache(maxsize=4)
def _open(path: Path, modified: int, size: int) -> Fit:
    """Several outputs of one command share a rig; a file that changes is read again."""
    return fit_rig(_read(path))


def _read(path: Path) -> Rig:
    if path.suffix.lower() in GLTF_SUFFIXES:
        return gltf_rig(read_gltf(path))
    if path.suffix.lower() == ".bvh":
        return bvh_rig(read_skeleton(path))
    raise PoseGPTError(f"{path.name} is no rig", f"give one of {', '.join(RIG_FILES)}", "rig")
