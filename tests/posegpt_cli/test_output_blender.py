"""What is written onto characters opens in Blender as it was meant: frames, bones, mesh."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.rigs.load import open_rig
from data.rigs.skinning import PosedNodes, SkinnedMesh, joint_places
from data.rigs.solve import put_on_rig
from data.synthetic import make_motion
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.rendering.character import character_of

CHARACTERS = Path(__file__).parents[1] / "data" / "characters"
FRAMES = (0, 7, 19)
N_FRAMES = 20
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs Blender: pip install bpy"),
]

OPEN = """
import sys
import bpy, numpy as np
path, target, wanted, *frames = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
if path.endswith(".bvh"):
    bpy.ops.import_anim.bvh(filepath=path)
elif path.endswith(".fbx"):
    bpy.ops.import_scene.fbx(filepath=path)
else:
    bpy.ops.import_scene.gltf(filepath=path)
(armature,) = [thing for thing in bpy.data.objects if thing.type == "ARMATURE"]
meshes = [thing for thing in bpy.data.objects if thing.type == "MESH" and thing.modifiers]

# The last action is ours: a character may bring some of its own.
ours = bpy.data.actions[-1]
for action in bpy.data.actions:
    if action.name.endswith(wanted):
        ours = action

for track in armature.animation_data.nla_tracks:
    track.mute = True
armature.animation_data.action = ours
armature.animation_data.action_slot = ours.slots[0]

found = {"actions": np.array([a.name for a in bpy.data.actions])}
found["range"] = np.array([tuple(a.frame_range) for a in bpy.data.actions])
found["names"] = np.array([bone.name for bone in armature.pose.bones])
found["parents"] = np.array([bone.parent.name if bone.parent else "" for bone in armature.pose.bones])
heads, vertices = [], []
for frame in frames:
    scene.frame_set(int(frame) + path.endswith((".bvh", ".fbx")))  # these begin at frame 1
    heads.append([tuple(armature.matrix_world @ bone.head) for bone in armature.pose.bones])
    graph = bpy.context.evaluated_depsgraph_get()
    for thing in meshes:
        posed = thing.evaluated_get(graph).to_mesh()
        vertices.append([tuple(thing.matrix_world @ vertex.co) for vertex in posed.vertices])
found["heads"] = np.array(heads)
if meshes:
    found["vertices"] = np.array(vertices)
    (thing,) = meshes
    found["edges"] = np.array([tuple(edge.vertices) for edge in thing.data.edges])
    found["rest"] = np.array([tuple(thing.matrix_world @ vertex.co) for vertex in thing.data.vertices])
np.savez(target, **found)
"""


def opened(path: Path, action: str = "") -> dict[str, np.ndarray]:
    """What Blender says of a file; points turned back to Y up."""
    target = path.with_suffix(".npz")
    command = [sys.executable, "-c", OPEN, str(path), str(target), action, *map(str, FRAMES)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert target.is_file(), ran.stderr[-2000:]
    with np.load(target) as content:
        found = dict(content)
    for key in ("heads", "vertices", "rest"):
        if key in found:
            x, y, z = np.moveaxis(found[key], -1, 0)
            found[key] = np.stack((x, z, -y), axis=-1)
    return found


def in_the_file(points: np.ndarray, fit) -> np.ndarray:
    """Points of our world in the file's own world and units."""
    raised = points + np.array([0, fit.floor, 0])
    return raised / fit.size @ fit.axes


@pytest.mark.parametrize("suffix", [".glb", ".fbx"])
@pytest.mark.parametrize("name", ["human-male", "kenney", "human-skeleton"])
def test_bones_and_mesh_are_where_ours_are(name, suffix, tmp_path):
    rig = CHARACTERS / f"{name}.glb"
    motion = make_motion("walk", N_FRAMES)
    path = tmp_path / f"walk{suffix}"
    save_motion(motion, path, RenderOptions(rig=str(rig)))
    found = opened(path, motion.name or "motion")

    fit = open_rig(rig)
    on_rig = put_on_rig(fit, motion)
    assert N_FRAMES - 1 in np.ptp(found["range"], axis=1).round(3), (found["actions"], found["range"])
    places = in_the_file(joint_places(on_rig)[list(FRAMES)], fit)
    joints = {name: joint for joint, name in enumerate(fit.rig.names)}
    known = [k for k, bone in enumerate(found["names"]) if str(bone) in joints]
    assert len(known) >= 0.9 * len(found["names"])
    wanted = places[:, [joints[str(found["names"][k])] for k in known]]
    tall = float(np.ptp(fit.rest_positions[:, 1])) / fit.size
    assert np.abs(found["heads"][:, known] - wanted).max() < 1e-3 * tall

    if name == "human-skeleton":
        return
    mesh = character_of(fit).mesh
    assert isinstance(mesh, SkinnedMesh)
    bones = PosedNodes(on_rig, mesh.mesh.bones).frames(slice(0, N_FRAMES))
    vertices = in_the_file(mesh.pose(bones)[0][list(FRAMES)], fit)
    assert np.abs(found["vertices"] - vertices).max() < 2e-3 * tall
    # Not torn: no edge is stretched beyond three times its length.
    first, second = found["edges"].T
    lengths = np.linalg.norm(found["vertices"][:, first] - found["vertices"][:, second], axis=-1)
    at_rest = np.linalg.norm(found["rest"][first] - found["rest"][second], axis=-1)
    counts = at_rest > 2e-3 * tall
    assert (lengths[:, counts] / at_rest[counts]).max() < 3


def test_several_motions_are_several_actions(tmp_path):
    motions = [make_motion("walk", N_FRAMES), make_motion("run", 12)]
    rig = str(CHARACTERS / "kenney.glb")
    save_motion(motions, tmp_path / "two.glb", RenderOptions(rig=rig))
    found = opened(tmp_path / "two.glb")
    lengths = sorted(np.ptp(found["range"], axis=1).round(2).tolist())
    assert lengths == [11, N_FRAMES - 1]


@pytest.mark.parametrize("name", ["mixamo", "unreal", "human-male"])
def test_bvh_bones_are_where_ours_are(name, tmp_path):
    rig = str(CHARACTERS / f"{name}.glb") if name == "human-male" else name
    motion = make_motion("walk", N_FRAMES)
    save_motion(motion, tmp_path / "walk.bvh", RenderOptions(rig=rig))
    found = opened(tmp_path / "walk.bvh")
    fit = open_rig(rig)
    places = joint_places(put_on_rig(fit, motion))[list(FRAMES)]
    joints = {name: joint for joint, name in enumerate(fit.rig.names)}
    # Directions from parent to child, whatever units and axes the file has.
    compared = 0
    bones = [str(bone) for bone in found["names"]]
    for k, parent in enumerate(found["parents"].tolist()):
        if bones[k] not in joints or parent not in joints:
            continue
        theirs = found["heads"][:, k] - found["heads"][:, bones.index(parent)]
        own = (places[:, joints[bones[k]]] - places[:, joints[parent]]) @ fit.axes
        if np.linalg.norm(own, axis=-1).min() < 0.02:
            continue
        cosine = (theirs * own).sum(-1) / np.linalg.norm(theirs, axis=-1) / np.linalg.norm(own, axis=-1)
        assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.5, bones[k]
        compared += 1
    assert compared > 15
