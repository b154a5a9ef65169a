"""A rig by its name or its file."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from data.formats.bvh_read import read_skeleton
from data.rigs.fit import SMPL_LEG, Fit, fit_rig
from data.rigs.gltf_read import GLTF_SUFFIXES, read_gltf
from data.rigs.gltf_rig import gltf_rig
from data.rigs.reading.bvh_rig import bvh_rig, metres_per_unit
from data.rigs.reading.fbx_rig import read_fbx_as_gltf
from data.rigs.targets import TARGETS, named_rig
from data.rigs.writing.gltf_build import with_gltf
from models.errors import PoseGPTError
from models.files import missing_file

RIG_FILES = (".glb", ".gltf", ".vrm", ".bvh", ".fbx")
"""Extensions of files that may be rigs."""


def open_rig(name: str | Path) -> Fit:
    """The rig that a name or a file stands for, and how it follows SMPL's body.

    Args:
        name: a known rig's name, or a file: .glb, .gltf, .vrm, .bvh or .fbx.

    Raises PoseGPTError if there is no such rig, or it cannot carry a person's motion.
    """
    path = Path(name)
    if not path.is_file():
        if path.suffix.lower() in RIG_FILES:
            raise missing_file(path, "rig")
        return _named(str(name))
    about = path.stat()
    return _open(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=len(TARGETS))
def _named(name: str) -> Fit:
    return fit_rig(with_gltf(named_rig(name)))


@lru_cache(maxsize=4)
def _open(path: Path, modified: int, size: int) -> Fit:
    """Several outputs of one command share a rig; a file that changes is read again."""
    suffix = path.suffix.lower()
    if suffix in GLTF_SUFFIXES:
        return fit_rig(gltf_rig(read_gltf(path)))
    if suffix == ".fbx":
        return fit_rig(gltf_rig(read_fbx_as_gltf(path)))
    if suffix == ".bvh":
        return _from_bvh(path)
    raise PoseGPTError(f"{path.name} is no rig", f"give one of {', '.join(RIG_FILES)}", "rig")


def _from_bvh(path: Path) -> Fit:
    # Only the beginning of the file is read: its motion does not matter.
    rig = bvh_rig(read_skeleton(path))
    # The files that we write of it are in metres, which BVH does not say.
    leg = SMPL_LEG / fit_rig(rig).size
    return fit_rig(with_gltf(replace(rig, unit=metres_per_unit(leg))))
