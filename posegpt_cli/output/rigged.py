"""Motions on a rig to files: a character's own file with our animations in it, or its skeleton."""

from collections.abc import Sequence
from pathlib import Path

from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from models.errors import PoseGPTError
from models.files import write_atomically
from models.motion import Motion
from posegpt_cli.rendering.options import RenderOptions


def write_rigged(motions: Sequence[Motion], path: Path, options: RenderOptions) -> None:
    """Write motions on the rig that the options name.

    .glb, .vrm and .fbx hold an animation for each, at the options' frame rate; .bvh and .vrma hold one.

    Raises PoseGPTError if there is no such rig, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in (".bvh", ".vrma"):
        if len(motions) != 1:
            raise PoseGPTError(f"{path} takes one motion, got {len(motions)}", f"write one {suffix} for each")
        _write_one(motions[0], path, options)
        return
    check_rig(path, options.rig)

    from data.rigs.writing.gltf import with_animations

    fit = open_rig(str(options.rig))
    on_rig = [put_on_rig(fit, motion.resample(options.fps)) for motion in motions]
    content = with_animations(on_rig)
    if suffix == ".fbx":
        from data.rigs.writing.fbx import write_fbx

        write_fbx(path, content, options.fps, force=True)
    else:
        write_atomically(path, content, force=True)


def check_rig(path: Path, rig: str | None) -> None:
    """What can be refused before there is a motion.

    Raises PoseGPTError if there is no such rig, or a file needs another one.
    """
    suffix = path.suffix.lower()
    if rig is None:
        if suffix in (".vrm", ".fbx"):
            raise PoseGPTError(f"{path} needs a character", "rig='FILE' or rig='mixamo'", "rig")
        return
    fit = open_rig(rig)
    is_vrm = fit.rig.gltf is not None and {"VRM", "VRMC_vrm"} & fit.rig.gltf.extensions.keys()
    if suffix == ".vrm" and not is_vrm:
        raise PoseGPTError(
            f"{path} needs a VRM character, and {rig} is none", f"write {path.with_suffix('.glb')}"
        )
    if suffix == ".fbx":
        from data.formats.blender import check_blender
        from data.rigs.writing.fbx import INSTEAD

        check_blender("write", path.name, INSTEAD)


def _write_one(motion: Motion, path: Path, options: RenderOptions) -> None:
    if path.suffix.lower() == ".vrma":
        from data.rigs.writing.vrma import vrma_bytes

        write_atomically(path, vrma_bytes(motion.resample(options.fps)), force=True)
        return

    from data.rigs.writing.bvh import write_rig_bvh

    write_rig_bvh(path, put_on_rig(open_rig(str(options.rig)), motion), force=True)
