"""FBX files, through Blender as a Python module (the extra `fbx`): a glTF file that is turned into one."""

import importlib
import sys
import tempfile
from pathlib import Path

from data.formats.blender import run_blender
from models.errors import PoseGPTError
from models.files import write_atomically

INSTEAD = "write .glb"
"""What can be done without Blender."""


def write_fbx(path: Path, glb: bytes, fps: float, force: bool = False) -> None:
    """Write what a .glb holds as .fbx: meshes, skeleton, and an animation stack for each animation.

    Args:
        path: the file to write.
        glb: content of the .glb.
        fps: frames per second of its animations, a whole number in FBX.
        force: replace an existing file.

    Raises PoseGPTError if Blender's module is missing or fails, or the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{path.stem}.glb"
        target = Path(folder) / f"{path.stem}.fbx"
        source.write_bytes(glb)
        status = run_blender(__file__, (source, target), "write", path.name, INSTEAD, (str(round(fps)),))
        if status != 0:
            raise PoseGPTError(f"Blender cannot write {path.name}: exit status {status}", INSTEAD)
        write_atomically(path, target.read_bytes(), force)


def _convert(source: str, target: str, fps: str) -> int:
    """What Blender's process does: import glTF, export FBX."""
    bpy = importlib.import_module("bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = int(fps)
    # Without shapes for its bones: Blender would export them as meshes.
    bpy.ops.import_scene.gltf(filepath=source, disable_bone_shape=True)

    # A last key at frame 62.99999 would be cut off.
    for action in bpy.data.actions:
        start, end = action.frame_range
        action.use_frame_range = True
        action.frame_start = round(start)
        action.frame_end = round(end)
    bpy.ops.export_scene.fbx(
        filepath=target,
        object_types={"ARMATURE", "MESH", "EMPTY"},
        add_leaf_bones=False,
        bake_anim=True,
        bake_anim_use_all_actions=True,
        bake_anim_use_nla_strips=False,
        path_mode="COPY",
        embed_textures=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(_convert(*sys.argv[1:]))
