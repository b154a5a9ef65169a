"""Characters in FBX files, such as Mixamo's downloads: Blender (the extra `fbx`) turns them into glTF."""

import importlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from data.formats.blender import run_blender
from data.rigs.gltf_read import GltfFile, read_gltf
from models.errors import PoseGPTError


def read_fbx_as_gltf(path: Path) -> GltfFile:
    """A character with its meshes and textures, as the glTF file that Blender makes of it.

    Raises PoseGPTError if Blender's module is missing, or cannot read the file.
    """
    instead = "export the character as .glb"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem}.glb"
        status = run_blender(__file__, (path, target), "read", path.name, instead)
        if status != 0:
            raise PoseGPTError(f"Blender cannot read {path.name}: exit status {status}", instead)
        return replace(read_gltf(target), path=path)


def _convert(source: str, target: str) -> int:
    """What Blender's process does: import FBX, export glTF without its animations."""
    bpy = importlib.import_module("bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=source)
    bpy.ops.export_scene.gltf(filepath=target, export_format="GLB", export_animations=False)
    return 0


if __name__ == "__main__":
    sys.exit(_convert(*sys.argv[1:]))
