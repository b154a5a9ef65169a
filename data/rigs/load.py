"""A rig by its name or its file."""

from functools import lru_cache
from pathlib import Path

from data.rigs.fit import Fit, fit_rig
from data.rigs.gltf_read import GLTF_SUFFIXES, read_gltf
from data.rigs.gltf_rig import gltf_rig
from data.rigs.rig import Rig
from models.errors import PoseGPTError


def open_rig(name: str | Path) -> Fit:
    """The rig that a name or a file stands for, and how it follows SMPL's body.

    Args:
        name: a file: .glb, .gltf or .vrm.

    Raises PoseGPTError if there is no such rig, or it cannot carry a person's motion.
    """
    path = Path(name)
    if not path.is_file():
        raise PoseGPTError(f"no rig {name}", "give a file: .glb, .gltf or .vrm", "rig")
    about = path.stat()
    return _open(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _open(path: Path, modified: int, size: int) -> Fit:
    """Several outputs of one command share a rig; a file that changes is read again."""
    return fit_rig(_read(path))


def _read(path: Path) -> Rig:
    if path.suffix.lower() in GLTF_SUFFIXES:
        return gltf_rig(read_gltf(path))
    raise PoseGPTError(f"{path.name} is no rig", "give a file: .glb, .gltf or .vrm", "rig")
