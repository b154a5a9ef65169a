"""The user's own character in pictures: its mesh and colours, in view, its skeleton where it has no mesh."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data.rigs.load import open_rig
from data.rigs.skinning import PosedNodes
from data.synthetic import make_motion
from models.body.body import load_body
from models.errors import PoseGPTError
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.output.pictures import read_picture
from posegpt_cli.rendering.backends import make_backend
from posegpt_cli.rendering.bones import CAPSULE_FACES, capsule_mesh
from posegpt_cli.rendering.character import RigPerson, character_of, make_character
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.opengl.context import check_gl
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.scene import Animation
from posegpt_cli.rendering.software.skeleton import SkeletonRenderer
from tests.data.rigging.box_man import box_man, png
from tests.data.rigging.test_meshes import VERTICES, primitive, textured

CHARACTERS = Path(__file__).parents[1] / "data" / "characters"
NAMES = ("human-male", "kenney", "human-skeleton")
needs_gl = pytest.mark.skipif(check_gl().platform is None, reason="there is no OpenGL here")
SIZE = (160, 160)


def person(rig: Path | str, n_frames: int = 20) -> RigPerson:
    return make_character(str(rig), make_motion("walk", n_frames), load_body())


def drawn(gltf, tmp_path, frame: int = 0, **more) -> np.ndarray:
    """A picture of a box man who stands, floor and shadow left out."""
    options = RenderOptions(
        rig=str(gltf.save(tmp_path / "man.gltf")), size=SIZE, floor="none", background="white", **more
    )
    composition = Composition([make_motion("walk", 3)], options)
    with make_backend(options, SIZE).renderer as renderer:
        return composition.picture(renderer, frame).astype(int)


@pytest.mark.parametrize("name", NAMES)
def test_spheres_around_the_joints_enclose_the_character(name):
    someone = person(CHARACTERS / f"{name}.glb")
    for frame in (0, 7, 19):
        points = someone.points(frame) if name == "human-skeleton" else someone.vertices(frame)
        points = points[points[:, 1] > 0.01] if name == "human-skeleton" else points  # the root stands still
        away = np.linalg.norm(points[:, None] - someone.joints[frame], axis=-1) - someone.reach
        # A vertex between two joints may lie a little outside of both.
        assert away.min(axis=1).max() < 0.06


@pytest.mark.parametrize("name", ["human-male", "kenney"])
def test_characters_stand_on_the_floor_as_high_as_they_are(name):
    someone = person(CHARACTERS / f"{name}.glb")
    heights = np.array([someone.vertices(frame)[:, 1] for frame in range(20)])
    assert abs(heights.min()) < 0.02
    assert heights.max() == pytest.approx(someone.standing_height, abs=0.15)
    assert np.allclose(np.linalg.norm(someone.normals(5), axis=1), 1, atol=1e-4)


def test_vertices_and_joints_move_together():
    someone = person(CHARACTERS / "human-male.glb")
    mesh = someone.character.mesh.mesh
    fit = someone.character.fit
    # Vertices that follow the left shin alone keep their distance from the knee.
    knee = fit.joints.turning["left_knee"]
    alone = np.flatnonzero(mesh.weights.toarray()[:, mesh.bones.index(fit.rig.nodes[knee])] > 0.999)
    knees = someone.joints[:, fit.place_of[knee]]
    distances = [np.linalg.norm(someone.vertices(k)[alone] - knees[k], axis=1) for k in range(0, 20, 4)]
    assert len(alone) > 50 and np.ptp(distances, axis=0).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_points_are_where_the_nodes_of_the_file_are(name):
    someone = person(CHARACTERS / f"{name}.glb", 6)
    fit = someone.character.fit
    frames = PosedNodes(someone.on_rig, fit.rig.nodes).frames(slice(0, 6))
    assert np.allclose(someone._points[:, : fit.rig.n_joints], frames[..., :3, 3], atol=1e-6)
    assert np.allclose(someone._points[:, list(fit.moving)], someone.joints, atol=1e-5)


def test_a_character_elsewhere_is_the_same_one():
    someone = person(CHARACTERS / "kenney.glb", 4)
    way = np.array([1.0, 0.5, -2.0])
    moved = someone.moved(way)
    for frame in (0, 3):
        assert np.allclose(moved.vertices(frame), someone.vertices(frame) + way, atol=1e-5)
        assert np.allclose(moved.points(frame), someone.points(frame) + way, atol=1e-5)
    assert np.allclose(moved.joints, someone.joints + way, atol=1e-5)
    assert moved.look is someone.look and moved.facing == pytest.approx(someone.facing)


def test_planted_feet_are_marked_where_the_characters_own_are():
    someone = person(CHARACTERS / "kenney.glb", 40)
    ankles = [someone.character.fit.joints.turning[f"{side}_ankle"] for side in ("left", "right")]
    places = [someone.character.fit.place_of[joint] for joint in ankles]
    marks = someone.planted_points
    assert sum(map(len, marks)) > 20
    for frame, points in enumerate(marks):
        for point in points:
            assert np.abs(someone.joints[frame, places] - point)[:, [0, 2]].max(axis=1).min() < 0.3


@needs_gl
def test_materials_have_their_colours(tmp_path):
    plain = drawn(box_man(), tmp_path)
    red, green, blue = np.moveaxis(plain, -1, 0)
    is_red = (red > 100) & (green < 90) & (blue < 90)
    assert is_red.sum() > 800
    gltf = box_man()
    primitive(gltf)["attributes"]["COLOR_0"] = gltf.accessor(np.tile([0.0, 1, 0], (len(VERTICES), 1)))
    gltf.tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0, 0.6, 0, 1]
    red, green, blue = np.moveaxis(drawn(gltf, tmp_path), -1, 0)
    assert ((green > 100) & (red < 90) & (blue < 90)).sum() > 800


@needs_gl
def test_textures_are_seen_and_one_colour_covers_them(tmp_path):
    def blue_man(**more):
        gltf = box_man()
        textured(gltf, {"bufferView": gltf.view(png((20, 40, 220)))})
        gltf.tree["materials"][0].update(more)
        return gltf

    def blue_pixels(picture):
        return (picture[..., 2] - picture[..., :2].max(axis=-1) > 60).sum()

    full = blue_pixels(drawn(blue_man(), tmp_path))
    assert full > 800
    assert blue_pixels(drawn(blue_man(), tmp_path, color="red")) == 0
    # The past is grey, then the character has its own colours.
    assert blue_pixels(drawn(blue_man(), tmp_path, past_frames=2)) == 0
    assert blue_pixels(drawn(blue_man(), tmp_path, frame=2, past_frames=2)) > 800


@needs_gl
def test_a_texture_lies_as_the_file_says(tmp_path):
    """Upper half of the picture green, lower half red: v counts from above."""
    import io

    from PIL import Image

    halves = np.zeros((64, 4, 3), np.uint8)
    halves[:32, :, 1] = 200
    halves[32:, :, 0] = 200
    file = io.BytesIO()
    Image.fromarray(halves).save(file, "PNG")
    for v, channel in ((0.1, 1), (0.9, 0)):
        gltf = box_man()
        textured(gltf, {"bufferView": gltf.view(file.getvalue())})
        uvs = gltf.accessor(np.tile([0.5, v], (len(VERTICES), 1)))
        primitive(gltf)["attributes"]["TEXCOORD_0"] = uvs
        picture = drawn(gltf, tmp_path)
        assert (picture[..., channel] - picture[..., 1 - channel] > 60).sum() > 800


@needs_gl
def test_holes_and_glass(tmp_path):
    def man(alpha, **more):
        gltf = box_man()
        textured(gltf, {"bufferView": gltf.view(png((200, 30, 30, alpha)))})
        gltf.tree["materials"][0].update(more)
        return drawn(gltf, tmp_path)

    empty = (man(100, alphaMode="MASK", alphaCutoff=0.5) == 255).all()
    assert empty  # every point is less opaque than the cutoff
    opaque = man(100)
    assert np.array_equal(man(200, alphaMode="MASK", alphaCutoff=0.5), opaque)
    glass = man(128, alphaMode="BLEND")
    seen = (opaque < 250).any(axis=-1)
    lighter = glass[seen].mean() - opaque[seen].mean()
    assert 20 < lighter < 255 - opaque[seen].mean()


@needs_gl
@pytest.mark.parametrize("name", ["human-male", "kenney"])
def test_nobody_is_cut_off(name, tmp_path):
    options = RenderOptions(
        rig=str(CHARACTERS / f"{name}.glb"), size=SIZE, floor="none", background="white", camera="front"
    )
    composition = Composition([make_motion("run", 30)], options)
    with make_backend(options, SIZE).renderer as renderer:
        for frame in (0, 14, 29):
            picture = composition.picture(renderer, frame)
            ink: np.ndarray = picture.min(axis=-1) < 250
            assert ink.any() and not ink[[0, -1]].any() and not ink[:, [0, -1]].any()
            # It fills the picture: somebody who is small or far away would be framed wrongly.
            assert np.ptp(np.flatnonzero(ink.any(axis=1))) > 0.45 * SIZE[1]


def test_a_row_of_characters_does_not_touch():
    rig = str(CHARACTERS / "kenney.glb")
    options = RenderOptions(layout="row", rig=rig)
    people = make_people([make_motion("walk", 10, seed=k) for k in range(3)], options)
    row = Animation(people, options).people
    azimuth = row[0].facing
    left = np.array([np.cos(azimuth), 0, -np.sin(azimuth)])
    for one, other in itertools.pairwise(row):
        for frame in (0, 9):
            assert (one.vertices(frame) @ left).max() < (other.vertices(frame) @ left).min()


def test_a_rig_without_a_mesh_is_drawn_as_its_skeleton_and_this_is_said(tmp_path):
    rig = str(CHARACTERS / "human-skeleton.glb")
    options = RenderOptions(rig=rig, size=SIZE, sheet_frames=1, floor="none", background="white")
    saved = save_motion(make_motion("walk", 4), tmp_path / "bones.png", options)
    assert saved.renderer == "skeleton" and "has no mesh" in saved.warning
    picture = read_picture(tmp_path / "bones.png").astype(int)
    # Left bones blue, right ones orange, the trunk grey.
    assert (picture[..., 2] - picture[..., 0] > 60).sum() > 100
    assert (picture[..., 0] - picture[..., 2] > 60).sum() > 100


def test_capsules_face_outwards_and_reach_as_far_as_their_bone():
    start, end = np.array([0.2, 1.0, 0.1]), np.array([0.5, 0.6, -0.1])
    vertices, normals = capsule_mesh(start, end, (0.05, 0.02))
    along = (end - start) / np.linalg.norm(end - start)
    assert ((vertices - start) @ along).min() == pytest.approx(-0.05, abs=1e-6)
    assert ((vertices - end) @ along).max() == pytest.approx(0.02, abs=1e-6)
    a, b, c = (vertices[CAPSULE_FACES[:, k]] for k in range(3))
    facing = (np.cross(b - a, c - a) * normals[CAPSULE_FACES].mean(axis=1)).sum(axis=1)
    assert facing.min() > -1e-9 and np.allclose(np.linalg.norm(normals, axis=1), 1)


def test_the_skeleton_of_a_character_can_be_asked_for():
    options = RenderOptions(rig=str(CHARACTERS / "kenney.glb"), renderer="skeleton", size=SIZE)
    someone = person(CHARACTERS / "kenney.glb", 3)
    scene = Animation([someone], options).scene(1)
    with SkeletonRenderer(options) as renderer:
        picture = renderer.draw(scene)
    fit = someone.character.fit
    for name in ("left_knee", "right_elbow"):
        x, y, _ = scene.camera.project(scene.figures[0].joints[fit.place_of[fit.joints.turning[name]]])
        around = picture[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3]
        assert (np.ptp(around.astype(int), axis=-1) > 40).any()


def test_pytorch3d_says_that_it_draws_no_rig():
    options = RenderOptions(rig=str(CHARACTERS / "kenney.glb"), renderer="pytorch3d")
    with pytest.raises(PoseGPTError, match="no rig"):
        make_backend(options, SIZE)


def test_a_mesh_that_is_packed_is_refused_before_anything_is_written(tmp_path):
    gltf = box_man()
    primitive(gltf)["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {}}}
    options = RenderOptions(rig=str(gltf.save(tmp_path / "man.gltf")), size=SIZE)
    with pytest.raises(PoseGPTError, match="Draco"):
        save_motion(make_motion("walk", 3), tmp_path / "man.png", options)
    assert not (tmp_path / "man.png").exists()


@pytest.mark.parametrize("unit, scale", [(100.0, 0.01), (100.0, 1.0)])
def test_whatever_the_units_the_character_is_as_large(tmp_path, unit, scale):
    plain = character_of(open_rig(box_man().save(tmp_path / "plain.gltf")))
    scaled = box_man(unit, {"scale": [scale] * 3}, skin_scale=scale)
    other = character_of(open_rig(scaled.save(tmp_path / "scaled.gltf")))
    assert np.allclose(other.look.rest_vertices, plain.look.rest_vertices, atol=1e-3)
    assert np.allclose(other.reach, plain.reach, atol=1e-3)


@needs_gl
def test_render_draws_the_character_from_the_command_line(posegpt, tmp_path):
    from data.formats.smpl_npz import write_smpl_npz

    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 8))
    out = tmp_path / "walk.png"
    words = ("--rig", CHARACTERS / "kenney.glb", "--size", "96x96", "--sheet-frames", 1, "--out", out)
    ran = posegpt("render", tmp_path / "walk.npz", *words)
    assert ran.code == 0, ran.err
    # The red hair, which our own body does not have.
    picture = read_picture(out).astype(int)
    assert (picture[..., 0] - picture[..., 1:].max(axis=-1) > 80).sum() > 10
