"""Reading of glTF files: what is whole is read as it stands, what is damaged is refused in a sentence."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.retargeting.mapping.mapper import map_joints
from data.rigs.gltf_read import read_gltf
from data.rigs.gltf_rig import gltf_rig
from models.errors import PoseGPTError

CHARACTERS = Path(__file__).parents[1] / "characters"
ASSET = {"asset": {"version": "2.0"}}


def write_gltf(path: Path, **tree: Any) -> Path:
    path.write_text(json.dumps(ASSET | tree))
    return path


@pytest.mark.parametrize("name", ["human-male", "human-skeleton", "kenney"])
def test_a_character_has_all_of_a_bodys_joints(name):
    rig = gltf_rig(read_gltf(CHARACTERS / f"{name}.glb"))
    joints = map_joints(rig.rest)
    assert len(joints.turning) == 22
    assert rig.world_positions[:, 1].min() > -0.01


def test_the_tree_stays_as_it_is_stored():
    path = CHARACTERS / "human-male.glb"
    content = path.read_bytes()
    (size,) = struct.unpack_from("<I", content, 12)
    assert read_gltf(path).tree == json.loads(content[20 : 20 + size])


def test_a_bind_pose_counts_more_than_where_the_nodes_stand(tmp_path):
    # Half way up an arm, in the middle of an animation.
    rig = gltf_rig(read_gltf(CHARACTERS / "human-male.glb"))
    content = bytearray((CHARACTERS / "human-male.glb").read_bytes())
    (size,) = struct.unpack_from("<I", content, 12)
    tree = json.loads(content[20 : 20 + size])
    node = tree["nodes"][rig.nodes[rig.names.index("upperarm_l")]]
    node["rotation"] = [0.0, 0.0, 0.7071067811865476, 0.7071067811865476]
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = bytes(content[20 + size :])
    head = struct.pack("<III", 0x46546C67, 2, 20 + len(text) + len(rest))
    posed = tmp_path / "posed.glb"
    posed.write_bytes(head + struct.pack("<II", len(text), 0x4E4F534A) + text + rest)

    assert np.allclose(gltf_rig(read_gltf(posed)).world_positions, rig.world_positions, atol=1e-3)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"nodes": [{"children": [1]}, {"children": [0]}]}, "circle"),
        ({"nodes": [{"children": [0]}]}, "circle"),
        ({"nodes": [{"children": [1, 1]}, {}]}, "two parents"),
        ({"nodes": [{"children": [7]}]}, "not among"),
        ({"nodes": [{"children": "all"}]}, "no list"),
        ({"nodes": [{"rotation": [0, 0, 0, 0]}]}, "without length"),
        ({"nodes": [{"translation": [0, 1e400, 0]}]}, "3 numbers"),
        ({"nodes": [{"translation": [0, 10**400, 0]}]}, "3 numbers"),
        ({"nodes": [{"scale": "big"}]}, "3 numbers"),
        ({"nodes": [{"matrix": [0] * 16}]}, "flattens"),
        ({"nodes": "none"}, "no list"),
        ({"nodes": [{}], "skins": [{"joints": [3]}]}, "not among"),
        ({"nodes": [{}], "skins": [{}]}, "no joints"),
        ({"nodes": [{}], "skins": [{"joints": [0], "inverseBindMatrices": 4}]}, "not among"),
        ({"buffers": [{"byteLength": 4, "uri": "../../etc/passwd"}]}, "not beside it"),
        ({"buffers": [{"byteLength": 4, "uri": "missing.bin"}]}, "cannot read"),
        ({"buffers": [{"byteLength": 4, "uri": "data:application/octet-stream;base64,%%%"}]}, "base64"),
        ({"nodes": [{"mesh": 0}]}, "no skeleton"),
        ({"asset": {"version": "1.0"}}, "expected glTF 2.0"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path, tree, said):
    path = write_gltf(tmp_path / "damaged.gltf", **tree)
    with pytest.raises(PoseGPTError, match=said):
        gltf_rig(read_gltf(path))


def test_files_of_other_kinds_and_cut_files_are_refused(tmp_path):
    whole = (CHARACTERS / "kenney.glb").read_bytes()
    path = tmp_path / "cut.glb"
    for content in (b"", b"glTF", whole[:11], whole[:100], whole[: len(whole) // 2], b"[" * 100_000, b"{}"):
        path.write_bytes(content)
        with pytest.raises(PoseGPTError):
            gltf_rig(read_gltf(path))
