"""FBX through Blender's module, if it is installed; a clear sentence if it is not. C3D: how to get on."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.formats.load import read_motion
from models.errors import PoseGPTError

CASES = Path(__file__).parents[2] / "cases"
WRITE = """
import sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
if sys.argv[1]:
    bpy.ops.import_anim.bvh(filepath=sys.argv[1], update_scene_fps=True, update_scene_duration=True)
else:
    bpy.ops.mesh.primitive_cube_add()
bpy.context.scene.frame_set(1)
bpy.ops.export_scene.fbx(filepath=sys.argv[2], bake_anim=True, add_leaf_bones=False)
"""
has_blender = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs bpy")


def write_fbx(source: Path | str, target: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE, str(source), str(target)], check=True, capture_output=True)


@has_blender
def test_a_walk_through_blender_is_the_walk(tmp_path):
    # Without a skin Blender takes the current frame for the rest pose: here a T-pose.
    write_fbx(CASES / "first_frame_tpose" / "a.bvh", tmp_path / "walker.fbx")
    found, expected = read_motion(tmp_path / "walker.fbx"), read_motion(CASES / "reference" / "walker.bvh")
    assert (found.n_frames, found.fps, found.name) == (12, 30.0, "walker")
    np.testing.assert_allclose(found.poses, expected.poses, atol=0.01)


@has_blender
def test_files_that_blender_cannot_use(tmp_path):
    write_fbx("", tmp_path / "cube.fbx")
    with pytest.raises(PoseGPTError, match="no skeleton that moves"):
        read_motion(tmp_path / "cube.fbx")
    (tmp_path / "broken.fbx").write_bytes(b"not an FBX file")
    with pytest.raises(PoseGPTError, match=r"Blender cannot read broken\.fbx"):
        read_motion(tmp_path / "broken.fbx")


def test_without_blender_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "walk.fbx").write_bytes(b"")
    with pytest.raises(PoseGPTError, match=r"walk\.fbx needs Blender as a Python module") as caught:
        read_motion(tmp_path / "walk.fbx")
    assert "posegpt[fbx]" in caught.value.hint


def test_markers_are_no_joints(tmp_path):
    (tmp_path / "walk.c3d").write_bytes(b"\x02P")
    with pytest.raises(PoseGPTError, match="holds markers, not joints") as caught:
        read_motion(tmp_path / "walk.c3d")
    assert ".bvh" in caught.value.hint and ".npz" in caught.value.hint
