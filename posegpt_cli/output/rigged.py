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
    """Write motions on the rig that the options name; scenes at the options' frame rate.

    Raises PoseGPTError if there is no such rig, or the file cannot be written.
    """
    assert options.rig is not None
    fit = open_rig(options.rig)
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        from data.rigs.writing.bvh import write_rig_bvh

        if len(motions) != 1:
            raise PoseGPTError(f"{path} takes one motion, got {len(motions)}", f"write one {suffix} for each")
        write_rig_bvh(path, put_on_rig(fit, motions[0]), force=True)
        return

    from data.rigs.writing.gltf import with_animations

    on_rig = [put_on_rig(fit, motion.resample(options.fps)) for motion in motions]
    write_atomically(path, with_animations(on_rig), force=True)
