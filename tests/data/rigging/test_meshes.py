"""Meshes of characters: read in every way that glTF stores them, and skinned as the plain loop does it."""

import numpy as np
import pytest

from data.rigs.gltf_read import read_gltf
from data.rigs.load import open_rig
from data.rigs.meshes import CharacterMesh, read_mesh
from data.rigs.primitives import smooth_normals
from data.rigs.skinning import NodeTree, SkinnedMesh
from models.errors import PoseGPTError
from tests.data.rigging.box_man import Gltf, box_man, boxes, png

VERTICES, FACES, OWNERS = boxes()


def read(gltf: Gltf, tmp_path) -> CharacterMesh:
    mesh = read_mesh(read_gltf(gltf.save(tmp_path / "man.gltf")))
    assert mesh is not None
    return mesh


def posed(gltf: Gltf, tmp_path) -> np.ndarray:
    """(V, 3) where its vertices are as the file stands."""
    file = read_gltf(gltf.save(tmp_path / "man.gltf"))
    mesh = read_mesh(file)
    return SkinnedMesh(mesh).pose(NodeTree(file, mesh.bones).frames(1, {}, {}))[0][0]


def primitive(gltf: Gltf) -> dict:
    return gltf.tree["meshes"][0]["primitives"][0]


def textured(gltf: Gltf, image: dict, **more) -> None:
    gltf.add("images", image)
    gltf.add("textures", {"source": 0, **more})
    surface = {"baseColorFactor": [1, 1, 1, 1], "baseColorTexture": {"index": 0}}
    gltf.tree["materials"][0]["pbrMetallicRoughness"] = surface
    uvs = np.tile([0.25, 0.5], (len(VERTICES), 1))
    primitive(gltf)["attributes"]["TEXCOORD_0"] = gltf.accessor(uvs)


def test_vertices_faces_and_joints_are_those_of_the_file(tmp_path):
    mesh = read(box_man(), tmp_path)
    assert np.allclose(mesh.vertices, VERTICES) and np.array_equal(mesh.faces, FACES)
    assert np.array_equal(mesh.weights.argmax(axis=1).ravel(), [OWNERS])
    assert mesh.parts[0].material.color == (0.6, 0.02, 0.02, 1.0) and len(mesh.parts) == 1


def test_skinning_is_what_the_plain_loop_gives(tmp_path):
    rng = np.random.default_rng(0)
    gltf = box_man()
    # Two sets of four joints for each vertex.
    attributes = primitive(gltf)["attributes"]
    for k in range(2):
        weights = rng.uniform(0, 1, (len(VERTICES), 4))
        attributes[f"JOINTS_{k}"] = gltf.accessor(rng.integers(0, 21, (len(VERTICES), 4)), "u2")
        attributes[f"WEIGHTS_{k}"] = gltf.accessor(weights)
    file = read_gltf(gltf.save(tmp_path / "man.gltf"))
    mesh = read_mesh(file)
    n_frames = 5
    quats = rng.normal(size=(21, n_frames, 4))
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    path = rng.normal(size=(n_frames, 3))
    bones = NodeTree(file, mesh.bones).frames(n_frames, {k + 1: q for k, q in enumerate(quats)}, {1: path})
    vertices, normals = SkinnedMesh(mesh).pose(bones)

    joints = np.concatenate([file.accessor(attributes[f"JOINTS_{k}"]) for k in range(2)], 1).astype(int)
    weights = np.concatenate([file.accessor(attributes[f"WEIGHTS_{k}"]) for k in range(2)], 1)
    for frame in range(n_frames):
        for v in range(0, len(VERTICES), 7):
            blended = np.zeros((4, 4))
            for joint, weight in zip(joints[v], weights[v], strict=True):
                blended += weight / weights[v].sum() * bones[frame, joint] @ mesh.inverse_binds[joint]
            assert np.allclose(vertices[frame, v], (blended @ [*mesh.vertices[v], 1])[:3], atol=1e-5)
            turned = blended[:3, :3] @ mesh.normals[v]
            assert np.allclose(normals[frame, v], turned / np.linalg.norm(turned), atol=1e-4)


def test_frames_of_nodes_are_what_the_plain_chain_gives(tmp_path):
    from scipy.spatial.transform import Rotation

    gltf = box_man(armature={"translation": [1, 2, 3], "rotation": [0, 0.6, 0, 0.8], "scale": [2, 2, 2]})
    file = read_gltf(gltf.save(tmp_path / "man.gltf"))
    turn = Rotation.random(3, random_state=0).as_quat()
    frames = NodeTree(file, (4,)).frames(3, {2: turn}, {})
    for frame in range(3):
        world = np.eye(4)
        for node in (0, 1, 2, 3, 4):
            local = np.eye(4)
            rotation = turn[frame] if node == 2 else file.nodes[node].rotation
            local[:3, :3] = Rotation.from_quat(rotation).as_matrix() * file.nodes[node].scale
            local[:3, 3] = file.nodes[node].translation
            world = world @ local
        assert np.allclose(frames[frame, 0], world)


@pytest.mark.parametrize("unit, scale", [(1.0, 1.0), (100.0, 1.0), (100.0, 0.01), (0.01, 100.0)])
def test_units_and_scaled_armatures(tmp_path, unit, scale):
    gltf = box_man(unit, {"scale": [scale] * 3}, skin_scale=scale)
    assert np.allclose(posed(gltf, tmp_path), VERTICES * unit * scale, atol=1e-4 * unit * scale)


def test_indices_of_every_kind(tmp_path):
    expected = np.sort(FACES, axis=1)
    for dtype in ("u1", "u2", "u4"):
        gltf = box_man()
        primitive(gltf)["indices"] = gltf.accessor(FACES.ravel(), dtype)
        assert np.array_equal(np.sort(read(gltf, tmp_path).faces, axis=1), expected)
    gltf = box_man()
    del primitive(gltf)["indices"]
    assert len(read(gltf, tmp_path).faces) == len(VERTICES) // 3


def test_strips_and_fans_are_triangles(tmp_path):
    gltf = box_man()
    primitive(gltf).update(mode=5, indices=gltf.accessor(np.arange(5), "u1"))
    assert read(gltf, tmp_path).faces.tolist() == [[0, 1, 2], [3, 2, 1], [2, 3, 4]]
    primitive(gltf).update(mode=6)
    assert read(gltf, tmp_path).faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]
    primitive(gltf).update(mode=1)
    assert read_mesh(read_gltf(gltf.save(tmp_path / "lines.gltf"))) is None
    primitive(gltf).update(mode=4, indices=gltf.accessor([0, 1], "u1"))
    assert read_mesh(read_gltf(gltf.save(tmp_path / "bare.gltf"))) is None


def test_sparse_positions(tmp_path):
    gltf = box_man()
    where = gltf.view(np.array([3, 9], "<u2").tobytes())
    what = gltf.view(np.array([[5, 5, 5], [6, 6, 6]], "<f4").tobytes())
    accessor = gltf.tree["accessors"][primitive(gltf)["attributes"]["POSITION"]]
    accessor["sparse"] = {
        "count": 2, "indices": {"bufferView": where, "componentType": 5123}, "values": {"bufferView": what},
    }  # fmt: skip
    mesh = read(gltf, tmp_path)
    assert mesh.vertices[3].tolist() == [5, 5, 5] and mesh.vertices[9].tolist() == [6, 6, 6]
    assert np.allclose(mesh.vertices[4], VERTICES[4])


def test_weights_as_bytes_and_without_sum(tmp_path):
    gltf = box_man()
    weights = np.tile([100, 50, 0, 0], (len(VERTICES), 1))
    weights[3] = 0
    primitive(gltf)["attributes"]["WEIGHTS_0"] = gltf.accessor(weights, "u1", normalized=True)
    mesh = read(gltf, tmp_path)
    assert np.allclose(np.asarray(mesh.weights.sum(axis=1)), 1)
    assert mesh.weights[OWNERS.tolist().index(5), 5] == pytest.approx(2 / 3)


def test_a_mesh_without_skin_follows_the_joint_it_hangs_on(tmp_path):
    gltf = box_man()
    hat = {
        "attributes": {"POSITION": gltf.accessor(VERTICES[:8])},
        "indices": gltf.accessor(FACES[:12].ravel(), "u1"),
    }
    gltf.add("meshes", {"primitives": [hat]})
    place = gltf.add("nodes", {"mesh": 1, "translation": [0, 0.2, 0], "scale": [-1, 1, 1]})
    gltf.tree["nodes"][5]["children"] = [place]  # the head
    stage = gltf.add("nodes", {"mesh": 1})
    gltf.tree["scenes"][0]["nodes"].append(stage)
    file = read_gltf(gltf.save(tmp_path / "man.gltf"))
    mesh = read_mesh(file)
    # The hat is worn; what stands in the scene by itself is none of the character.
    assert mesh.n_vertices == len(VERTICES) + 8 and mesh.bones[-1] == place
    vertices = SkinnedMesh(mesh).pose(NodeTree(file, mesh.bones).frames(1, {}, {}))[0][0]
    assert np.allclose(vertices[-8:], VERTICES[:8] * (-1, 1, 1) + (0, 1.8, 0), atol=1e-6)
    # Mirrored, its triangles still face outwards.
    outside = smooth_normals(vertices[-8:], mesh.faces[-12:].astype(int) - len(VERTICES))
    assert ((vertices[-8:] - vertices[-8:].mean(axis=0)) * outside).sum(axis=1).min() > 0


def test_several_skins_of_one_character_are_one_mesh(tmp_path):
    gltf = box_man()
    few = [1, 2, 3]
    matrices = np.tile(np.eye(4), (3, 1, 1))
    matrices[:, 3, :3] = 2.0
    gltf.add("skins", {"joints": few, "inverseBindMatrices": gltf.accessor(matrices.reshape(-1, 16))})
    coat = dict(primitive(gltf)["attributes"])
    coat["JOINTS_0"] = gltf.accessor(np.tile([2, 0, 0, 0], (len(VERTICES), 1)), "u1")
    gltf.add("meshes", {"primitives": [{"attributes": coat}]})
    node = gltf.add("nodes", {"mesh": 1, "skin": 1})
    gltf.tree["scenes"][0]["nodes"].append(node)
    mesh = read(gltf, tmp_path)
    assert mesh.n_vertices == 2 * len(VERTICES) and mesh.bones[21:] == (1, 2, 3)
    bone = mesh.weights[-1].indices[0]
    assert mesh.bones[bone] == 3 and np.allclose(mesh.inverse_binds[bone][:3, 3], 2.0)


def test_morph_targets_stand_at_the_files_weights(tmp_path):
    gltf = box_man()
    primitive(gltf)["targets"] = [{"POSITION": gltf.accessor(np.full_like(VERTICES, k))} for k in (1, 10)]
    gltf.tree["meshes"][0]["weights"] = [0.5, 0]
    assert np.allclose(read(gltf, tmp_path).vertices, VERTICES + 0.5)
    gltf.tree["nodes"][22]["weights"] = [0, 0.25]
    assert np.allclose(read(gltf, tmp_path).vertices, VERTICES + 2.5)


def test_textures_inside_beside_and_as_text(tmp_path):
    import base64

    content = png((10, 200, 30))
    (tmp_path / "skins").mkdir()
    (tmp_path / "skins" / "a skin.png").write_bytes(content)
    embedded = box_man()
    textured(embedded, {"bufferView": embedded.view(content), "mimeType": "image/png"})
    text = box_man()
    textured(text, {"uri": "data:image/png;base64," + base64.b64encode(content).decode()})
    beside = box_man()
    textured(beside, {"uri": "skins/a%20skin.png"})
    for gltf in (embedded, text, beside):
        mesh = read(gltf, tmp_path)
        texture = mesh.parts[0].material.texture
        assert texture.picture.shape == (4, 4, 4) and texture.picture[0, 0].tolist() == [10, 200, 30, 255]
        assert np.allclose(mesh.uvs, (0.25, 0.5))


def test_texture_coordinates_are_transformed_and_wrapped(tmp_path):
    gltf = box_man()
    textured(gltf, {"bufferView": gltf.view(png((1, 2, 3)))}, sampler=0)
    gltf.add("samplers", {"wrapS": 33071, "wrapT": 33648})
    reference = gltf.tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    transform = {"offset": [0.5, 0.25], "scale": [2, 4], "rotation": np.pi / 2}
    reference["extensions"] = {"KHR_texture_transform": transform}
    mesh = read(gltf, tmp_path)
    # The extension's own formula: offset + rotation * scale * uv, the rotation from +v to +u.
    assert np.allclose(mesh.uvs, (0.5 + 4 * 0.5, 0.25 - 2 * 0.25), atol=1e-6)
    assert mesh.parts[0].material.texture.wraps == ("clamp", "mirror")


def test_a_large_texture_is_reduced(tmp_path):
    gltf = box_man()
    textured(gltf, {"bufferView": gltf.view(png((1, 2, 3), (4096, 16)))})
    assert read(gltf, tmp_path).parts[0].material.texture.picture.shape == (8, 2048, 4)


def test_what_shines_through_is_drawn_last(tmp_path):
    gltf = box_man()
    gltf.tree["materials"][0]["alphaMode"] = "BLEND"
    gltf.add("materials", {"alphaMode": "MASK", "alphaCutoff": 0.3, "doubleSided": True})
    first = primitive(gltf)
    gltf.tree["meshes"][0]["primitives"] += [{**first, "material": 1}, {"attributes": first["attributes"]}]
    parts = read(gltf, tmp_path).parts
    assert [part.material.alpha for part in parts] == ["opaque", "mask", "blend"]
    assert parts[1].material.alpha_cutoff == 0.3 and parts[1].material.is_double_sided
    stops = [part.faces.stop for part in parts]
    assert [part.faces.start for part in parts] == [0, *stops[:-1]] and stops[-1] == len(
        read(gltf, tmp_path).faces
    )


def packed_by_draco(gltf):
    primitive(gltf)["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {}}}


def packed_by_meshopt(gltf):
    view = gltf.tree["accessors"][primitive(gltf)["attributes"]["POSITION"]]["bufferView"]
    gltf.tree["bufferViews"][view]["extensions"] = {"EXT_meshopt_compression": {}}


def ktx2(gltf):
    textured(gltf, {"bufferView": gltf.view(b"\xabKTX 20\xbb\r\n\x1a\n"), "mimeType": "image/ktx2"})


def basisu(gltf):
    textured(gltf, {"uri": "x.ktx2"}, extensions={"KHR_texture_basisu": {"source": 0}})
    del gltf.tree["textures"][0]["source"]


def no_picture(gltf):
    textured(gltf, {"bufferView": gltf.view(b"GIF89a no picture"), "name": "skin"})


def elsewhere(gltf):
    textured(gltf, {"uri": "../../etc/passwd"})


def missing(gltf):
    textured(gltf, {"uri": "gone.png"})


def face_out_of_range(gltf):
    primitive(gltf)["indices"] = gltf.accessor([0, 1, 5000], "u2")


def joint_out_of_range(gltf):
    joints = gltf.accessor(np.full((len(VERTICES), 4), 21), "u1")
    primitive(gltf)["attributes"]["JOINTS_0"] = joints


def nan_positions(gltf):
    primitive(gltf)["attributes"]["POSITION"] = gltf.accessor(VERTICES * np.nan)


def too_few_colors(gltf):
    primitive(gltf)["attributes"]["COLOR_0"] = gltf.accessor(np.ones((3, 4)))


def no_material(gltf):
    primitive(gltf)["material"] = 7


def odd_factor(gltf):
    gltf.tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = "red"


def few_bind_matrices(gltf):
    gltf.tree["skins"][0]["inverseBindMatrices"] = gltf.accessor(np.eye(4).reshape(1, 16))


def no_primitives(gltf):
    gltf.tree["meshes"][0]["primitives"] = {}


def huge_positions(gltf):
    primitive(gltf)["attributes"]["POSITION"] = gltf.accessor(VERTICES * 1e30)


def attributes_in_a_list(gltf):
    primitive(gltf)["attributes"] = []


def odd_wrap(gltf):
    textured(gltf, {"uri": "gone.png"}, sampler=0)
    gltf.add("samplers", {"wrapS": [1]})


def odd_scene(gltf):
    gltf.tree["scenes"][0]["nodes"] = [500]


@pytest.mark.parametrize(
    "damage, words",
    [
        (packed_by_draco, "packed by Draco"), (packed_by_meshopt, "packed by meshopt"), (ktx2, "KTX2"),
        (basisu, "KTX2"), (no_picture, "'skin'"), (elsewhere, "not beside it"), (missing, "gone.png"),
        (face_out_of_range, "vertex that is not there"), (joint_out_of_range, "joint that its skin"),
        (nan_positions, "positions"), (too_few_colors, "colours"), (no_material, "materials"),
        (odd_factor, "'red'"), (few_bind_matrices, "bind matrices"), (no_primitives, "primitives"),
        (odd_scene, "500"), (huge_positions, "positions"), (attributes_in_a_list, "attributes"),
        (odd_wrap, "gone.png"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(tmp_path, damage, words):
    gltf = box_man()
    damage(gltf)
    with pytest.raises(PoseGPTError, match=words) as failed:
        read(gltf, tmp_path)
    assert failed.value.hint


@pytest.mark.parametrize("damage", [attributes_in_a_list, no_primitives, huge_positions])
def test_a_damaged_mesh_does_not_keep_its_skeleton_from_moving(tmp_path, damage):
    gltf = box_man()
    damage(gltf)
    assert open_rig(gltf.save(tmp_path / "man.gltf")).rig.n_joints == 22
