"""Files of characters: what was there stays as it is, our animations come to it."""

import base64
import importlib.util
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.rigs.gltf_read import read_gltf
from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.writing.gltf import with_animations
from data.rigs.writing.vrma import vrma_bytes
from data.synthetic import make_motion
from models.errors import PoseGPTError
from tests.data.rigging.checks import difference
from tests.data.rigging.people import read_tree, write_glb

CHARACTERS = Path(__file__).parents[1] / "characters"
GROWING = {"animations", "accessors", "bufferViews", "buffers"}
has_blender = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs bpy")


def binary_of(path: Path) -> bytes:
    content = path.read_bytes()
    (size,) = struct.unpack_from("<I", content, 12)
    return content[28 + size :]


@pytest.fixture
def motions():
    squat = make_motion("squat", 24)
    return [replace(squat, name="squat"), replace(make_motion("wave", 40), name="wave", licence="mine")]


@pytest.mark.parametrize("name", ["human-male", "human-skeleton", "kenney"])
def test_all_that_was_in_the_file_is_there_untouched(name, motions, tmp_path):
    path = CHARACTERS / f"{name}.glb"
    fit = open_rig(path)
    (tmp_path / "new.glb").write_bytes(with_animations([put_on_rig(fit, motion) for motion in motions]))
    before = read_tree(path)
    after = read_tree(tmp_path / "new.glb")
    assert {key: before[key] for key in before.keys() - GROWING} == {
        key: after[key] for key in after.keys() - GROWING
    }
    for key in GROWING - {"buffers"}:
        stored = before.get(key, [])
        assert after[key][: len(stored)] == stored
    stored_bytes = binary_of(path)
    assert binary_of(tmp_path / "new.glb").startswith(stored_bytes)
    new = after["animations"][len(before.get("animations", [])) :]
    assert [animation["name"] for animation in new] == ["squat", "wave"]
    assert new[1]["extras"]["licence"] == "mine"


def test_each_animation_reads_back_by_its_name(motions, tmp_path):
    fit = open_rig("unreal")
    path = tmp_path / "two.glb"
    path.write_bytes(with_animations([put_on_rig(fit, motion) for motion in motions]))
    second = read_motion(path, ReadingSettings(animation="wave"))
    assert second.n_frames == 40
    assert second.licence == "mine"
    assert difference(motions[1], second).limbs < 1
    first = read_motion(path)
    assert first.n_frames == 24
    assert "of 2" in first.notes[0]
    with pytest.raises(PoseGPTError, match="no animation 'dance'"):
        read_motion(path, ReadingSettings(animation="dance"))


def test_names_that_are_taken_get_a_number(motions, tmp_path):
    fit = open_rig("smpl")
    on_rig = put_on_rig(fit, motions[0])
    path = tmp_path / "twice.glb"
    path.write_bytes(with_animations([on_rig, on_rig, on_rig]))
    names = [animation["name"] for animation in read_gltf(path).items("animations")]
    assert names == ["squat", "squat 2", "squat 3"]


def test_what_lies_beside_a_gltf_comes_into_the_glb(motions, tmp_path):
    tree = read_tree(CHARACTERS / "kenney.glb")
    binary = binary_of(CHARACTERS / "kenney.glb")
    (tmp_path / "data.bin").write_bytes(binary)
    (tmp_path / "skin.png").write_bytes(b"\x89PNG not really")
    text = base64.b64encode(b"abcd").decode()
    tree["buffers"] = [
        {"byteLength": len(binary), "uri": "data.bin"},
        {"byteLength": 4, "uri": f"data:application/octet-stream;base64,{text}"},
    ]
    tree["images"] = [{"uri": "skin.png"}]
    tree["bufferViews"].append({"buffer": 1, "byteLength": 4})
    path = tmp_path / "rig.gltf"
    path.write_text(json.dumps(tree))

    target = tmp_path / "out.glb"
    target.write_bytes(with_animations([put_on_rig(open_rig(path), motions[0])]))
    found = read_gltf(target)
    assert len(found.buffers) == 1
    assert found.view(len(tree["bufferViews"]) - 1) == b"abcd"
    assert found.view(found.items("images")[0]["bufferView"]) == b"\x89PNG not really"
    old = read_gltf(path)
    for k in range(len(old.items("accessors"))):
        np.testing.assert_array_equal(found.accessor(k), old.accessor(k))


def test_a_vrm_animation_names_the_bones_of_its_humanoid(motions, tmp_path):
    path = tmp_path / "wave.vrma"
    path.write_bytes(vrma_bytes(motions[1]))
    file = read_gltf(path)
    bones = file.extensions["VRMC_vrm_animation"]["humanoid"]["humanBones"]
    names = {name: file.nodes[bone["node"]].name for name, bone in bones.items()}
    assert all(name == own for name, own in names.items())
    assert {"hips", "leftUpperLeg", "rightThumbMetacarpal", "leftToes"} <= names.keys()
    # Only the hips may be moved.
    moved = {
        channel["target"]["node"]
        for channel in file.items("animations")[0]["channels"]
        if channel["target"]["path"] == "translation"
    }
    assert moved == {bones["hips"]["node"]}
    assert difference(motions[1], read_motion(path)).limbs < 1


def test_animations_of_others_are_retargeted(tmp_path):
    found = read_motion(CHARACTERS / "human-skeleton.glb")
    assert found.n_frames == 6
    assert found.fps == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.pop("animations"), "holds no animation"),
        (lambda tree: tree["animations"][0].update(channels=[]), "no joint of the skeleton moves"),
        (lambda tree: tree["animations"][0]["samplers"][0].update(output=10**6), "not among"),
        (lambda tree: tree["animations"][0]["channels"][0].update(sampler=-1), "not among"),
    ],
)
def test_damaged_animations_are_refused(change, said, motions, tmp_path):
    whole = tmp_path / "whole.glb"
    whole.write_bytes(with_animations([put_on_rig(open_rig("mixamo"), motions[0])]))
    tree = read_tree(whole)
    change(tree)
    path = write_glb(tmp_path / "damaged.glb", tree, binary_of(whole))
    with pytest.raises(PoseGPTError, match=said):
        read_motion(path)


@has_blender
@pytest.mark.slow
def test_fbx_goes_through_blender_and_comes_back(posegpt, tmp_path):
    from data.formats.smpl_npz import write_smpl_npz

    source = tmp_path / "wave.npz"
    write_smpl_npz(source, make_motion("wave", 40))
    ran = posegpt("export", source, "--rig", CHARACTERS / "human-male.glb", "--out", tmp_path / "wave.fbx")
    assert ran.code == 0, ran.err
    found = difference(make_motion("wave", 40), read_motion(tmp_path / "wave.fbx"))
    assert found.limbs < 3

    # As a rig it carries motion too.
    ran = posegpt("export", source, "--rig", tmp_path / "wave.fbx", "--out", tmp_path / "again.glb")
    assert ran.code == 0, ran.err
    assert difference(make_motion("wave", 40), read_motion(tmp_path / "again.glb")).limbs < 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bufferViews", 0, "buffer"), {}),
        (("bufferViews", 0, "byteOffset"), None),
        (("bufferViews", 4, "buffer"), True),
        (("images", 0), -1),
        (("animations", 0, "channels", 0, "target", "node"), []),
        (("nodes", 13, "name"), -1),
    ],
)
def test_damaged_characters_are_refused_or_written(path, value, motions, tmp_path):
    tree = read_tree(CHARACTERS / "kenney.glb")
    tree["animations"] = [{"channels": [{"sampler": 0, "target": {}}], "samplers": [{}]}]
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    damaged = write_glb(tmp_path / "damaged.glb", tree, binary_of(CHARACTERS / "kenney.glb"))
    for work in (
        lambda: with_animations([put_on_rig(open_rig(damaged), motions[0])]),
        lambda: read_motion(damaged),
    ):
        try:
            work()
        except PoseGPTError as error:
            assert error.hint
