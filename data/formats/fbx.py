"""FBX files, such as Mixamo's downloads: Blender as a Python module (the extra `fbx`) turns them into BVH.

Blender runs in a process of its own: it prints as it likes, keeps global state, and may crash.
"""

import importlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from data.formats.blender import run_blender
from data.formats.bvh import Bvh
from data.formats.bvh_read import read_bvh
from models.errors import PoseGPTError

_NO_ARMATURE = 3
"""Exit status of a file without a moving skeleton."""


def read_fbx(path: Path | str, fps: float | None = None) -> Bvh:
    """Read the skeleton of an FBX file and its motion; of several, the one with most bones.

    Args:
        path: the file.
        fps: frame rate to take in place of the file's own.

    Raises PoseGPTError if Blender's module is missing, or the file is damaged or holds no moving skeleton.
    """
    path = Path(path)
    instead = "export it as .bvh"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "motion.bvh"
        status = run_blender(__file__, (path, target), "read", path.name, instead)
        if status == _NO_ARMATURE:
            raise PoseGPTError(f"{path.name} holds no skeleton that moves", "use another file")
        if status != 0:
            raise PoseGPTError(f"Blender cannot read {path.name}: exit status {status}", instead)
        return replace(read_bvh(target, fps), name=path.stem)


def _convert(source: str, target: str) -> int:
    """What Blender's process does: import FBX, export BVH."""
    bpy = importlib.import_module("bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=source)
    armatures = []
    for thing in bpy.data.objects:
        if thing.type == "ARMATURE" and thing.animation_data and thing.animation_data.action:
            armatures.append(thing)
    if not armatures:
        return _NO_ARMATURE

    # The exporter takes the active object, over the frames that are asked for.
    armature = max(armatures, key=lambda thing: len(thing.data.bones))
    start, end = armature.animation_data.action.frame_range
    bpy.context.view_layer.objects.active = armature
    bpy.ops.export_anim.bvh(filepath=target, frame_start=round(start), frame_end=round(end))
    return 0


if __name__ == "__main__":
    sys.exit(_convert(*sys.argv[1:]))
