"""Both renderers draw the person where the camera sees it, lit, with a shadow, and moving."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from data.synthetic import make_motion
from models.body.body import load_body
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.opengl.context import check_gl
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import Person
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Animation
from posegpt_cli.rendering.sheet import write_text
from posegpt_cli.rendering.software.skeleton import SkeletonRenderer

SIZE = (200, 160)
needs_gl = pytest.mark.skipif(check_gl().platform is None, reason="there is no OpenGL here")
KINDS = ["skeleton", pytest.param("mesh", marks=needs_gl)]


def make_renderer(kind: str, options: RenderOptions) -> Renderer:
    if kind == "skeleton":
        return SkeletonRenderer(options)
    from posegpt_cli.rendering.opengl.mesh import MeshRenderer

    return MeshRenderer(options)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def renderer(kind: str) -> Iterator[Renderer]:
    made = make_renderer(kind, RenderOptions(size=SIZE))
    yield made
    made.close()


@pytest.fixture(scope="module")
def walk() -> Animation:
    return Animation([Person(make_motion("walk", 45), load_body())], RenderOptions(size=SIZE))


def saturation(picture: np.ndarray) -> np.ndarray:
    """Skin, shirt and bones are coloured; floor, shadow and background are grey."""
    return np.ptp(picture.astype(int), axis=-1)


def test_the_person_is_where_the_camera_projects_it(renderer: Renderer, walk: Animation) -> None:
    scene = walk.scene(10)
    picture = renderer.draw(scene)
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.dtype == np.uint8
    rows, columns = np.nonzero(saturation(picture) > 40)
    pixels = scene.camera.project(scene.figures[0].vertices)
    assert len(rows) > 300
    assert columns.min() >= pixels[:, 0].min() - 3 and columns.max() <= pixels[:, 0].max() + 3
    assert rows.min() >= pixels[:, 1].min() - 3 and rows.max() <= pixels[:, 1].max() + 3
    for joint in (4, 18):  # a knee, an elbow
        x, y, _ = scene.camera.project(scene.figures[0].joints[joint])
        patch = picture[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
        background = renderer_background(picture)
        assert np.abs(patch.astype(int) - background).max() > 60


def renderer_background(picture: np.ndarray) -> np.ndarray:
    return picture[2, 2].astype(int)


def test_the_person_moves(renderer: Renderer, walk: Animation) -> None:
    first, later = (saturation(renderer.draw(walk.scene(k))) > 40 for k in (0, 12))
    assert (first != later).sum() > 100


def test_the_same_shot_is_drawn_the_same_after_others(renderer: Renderer, walk: Animation) -> None:
    before = renderer.draw(walk.scene(5))
    renderer.draw(walk.scene(30))
    assert np.array_equal(before, renderer.draw(walk.scene(5)))


def test_the_floor_is_darker_where_the_sun_does_not_reach(kind: str, walk: Animation) -> None:
    made = make_renderer(kind, RenderOptions(size=SIZE, floor="plain"))
    scene = walk.scene(10)
    picture = made.draw(scene)
    made.close()
    joints = scene.figures[0].joints
    spot = joints[12] - scene.sun * (joints[12, 1] / scene.sun[1])  # of the neck
    away = spot * [-1, 1, -1] + 2 * joints[0] * [1, 0, 1]
    (x, y, _), (other_x, other_y, _) = scene.camera.project(spot), scene.camera.project(away)
    shaded, lit = picture[int(y), int(x)].mean(), picture[int(other_y), int(other_x)].mean()
    assert shaded < 0.92 * lit


def test_a_colour_paints_the_whole_body(kind: str) -> None:
    options = RenderOptions(size=SIZE, color="#20c040")
    animation = Animation([Person(make_motion("walk", 2), load_body())], options)
    made = make_renderer(kind, options)
    picture = made.draw(animation.scene(0)).astype(int)
    made.close()
    coloured = saturation(picture) > 60
    green = picture[..., 1] > np.maximum(picture[..., 0], picture[..., 2]) + 30
    assert coloured.sum() > 200 and green[coloured].mean() > 0.98


def test_past_and_future_differ_in_colour(renderer: Renderer) -> None:
    options = RenderOptions(size=SIZE, past_frames=3)
    animation = Animation([Person(make_motion("walk", 6), load_body())], options)
    past, future = (saturation(renderer.draw(animation.scene(k))) > 60 for k in (2, 3))
    assert past.sum() < 0.2 * future.sum()


def test_trail_shows_several_people_the_last_one_strongest(renderer: Renderer) -> None:
    animation = Animation(
        [Person(make_motion("walk", 90), load_body())], RenderOptions(size=SIZE, color="red")
    )
    trail = animation.trail(4)
    assert [f.frame for f in trail.figures] == [0, 30, 59, 89]
    picture = renderer.draw(trail)
    redness = []
    for figure in trail.figures:
        x, y, _ = trail.camera.project(figure.joints[6])
        patch = picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3).astype(int)
        redness.append((patch[:, 0] - patch[:, 2]).mean())
    assert redness[0] > 10
    assert redness[-1] > redness[0] + 40


def test_the_last_pose_of_a_trail_on_the_spot_covers_the_earlier_ones(renderer: Renderer) -> None:
    """They cut through each other, in patches of their fades."""
    animation = Animation(
        [Person(make_motion("wave", 40), load_body())], RenderOptions(size=SIZE, color="red")
    )
    whole = animation.trail(4)
    assert whole.figures[-1].fade == 0 and len(whole.figures) == 4
    together = renderer.draw(whole).astype(int)
    last = renderer.draw(replace(whole, figures=whole.figures[-1:])).astype(int)
    body = last[..., 0] - last[..., 2] > 90  # lit, and not at the outline
    assert body.sum() > 200
    assert (np.abs(together - last)[body].max(axis=-1) > 24).mean() < 0.2  # outlines of bones


def test_titles_and_labels_stand_in_trails(kind: str) -> None:
    motions = [make_motion("wave", 8), make_motion("walk", 8)]
    bare = RenderOptions(size=(200, 120), trail=2)
    written = bare.replaced(titles=("a", "b"), captions=True)
    made = make_renderer(kind, RenderOptions(size=(100, 120)))
    pictures = [Composition(motions, options).trail(made).astype(int) for options in (bare, written)]
    made.close()
    ink = np.abs(pictures[0] - pictures[1])
    for k in range(2):
        cell = ink[:, 100 * k : 100 * (k + 1)]
        assert cell[:20].max() > 60 and cell[-20:].max() > 60
    assert ink[30:-30].max() == 0


def test_bodies_of_all_types_share_one_picture(kind: str) -> None:
    motions = [make_motion("walk", 3).to_body_type(body) for body in ("smpl", "smplh", "smplx")]
    options = RenderOptions(size=(300, 120), titles=("a", "b", "c"), captions=True)
    composition = Composition(motions, options)
    assert composition.cell_size == (100, 120) and composition.columns == 3
    made = make_renderer(kind, RenderOptions(size=composition.cell_size))
    picture = composition.picture(made, 1)
    made.close()
    assert picture.shape == (120, 300, 3)
    for k in range(3):
        assert (saturation(picture[:, 100 * k : 100 * (k + 1)]) > 40).sum() > 100
        assert picture[:20, 100 * k : 100 * (k + 1)].min() < 120  # the title's ink


def test_row_layout_draws_everybody_on_one_floor(renderer: Renderer) -> None:
    options = RenderOptions(size=SIZE, layout="row")
    composition = Composition([make_motion("walk", 3), make_motion("wave", 5)], options)
    assert len(composition.animations) == 1 and len(composition) == 5
    both = saturation(composition.picture(renderer, 2))
    columns = np.nonzero((both > 40).any(axis=0))[0]
    assert np.diff(columns).max() > 5  # floor between two people

    # Whoever has ended stands there faded, while the other goes on.
    gap = columns[np.diff(columns).argmax()] + 3
    later = saturation(composition.picture(renderer, 4))
    changes = [later[:, part].max() / both[:, part].max() for part in (slice(gap), slice(gap, None))]
    assert min(changes) < 0.6 and max(changes) > 0.9


@pytest.mark.parametrize("floor", ["checker", "grid", "plain", "none"])
def test_floors_fade_into_the_background(kind: str, floor: str, walk: Animation) -> None:
    made = make_renderer(kind, RenderOptions(size=SIZE, floor=floor, background="#e8e0d0"))
    picture = made.draw(walk.scene(0)).astype(int)
    made.close()
    assert np.abs(picture[0] - [0xE8, 0xE0, 0xD0]).max() <= 3
    steps = np.abs(np.diff(picture[:, 5], axis=0))
    assert steps[: SIZE[1] // 2].max() <= 4  # no horizon line
    if floor in ("checker", "grid"):
        assert np.ptp(picture[-20:, :, 1]) > 6
    if floor == "none":
        assert np.ptp(picture[:, 3], axis=0).max() < 20


@pytest.mark.parametrize("background", ["black", "white", "#1040c0"])
def test_floor_and_shadow_are_seen_before_any_background(kind: str, background: str, walk: Animation) -> None:
    """A floor that only darkens the background was invisible on black."""
    made = make_renderer(kind, RenderOptions(size=SIZE, background=background))
    scene = walk.scene(10)
    picture = made.draw(scene).astype(int).max(axis=-1)
    made.close()
    joints = scene.figures[0].joints
    spot = joints[12] - scene.sun * (joints[12, 1] / scene.sun[1])  # of the neck
    x, y = (int(part) for part in scene.camera.project(spot)[:2])
    floor = picture[-40:, : SIZE[0] // 4]
    assert np.ptp(floor) >= 9  # tiles
    assert picture[y - 2 : y + 3, x - 2 : x + 3].mean() < 0.9 * picture[y].max()


@pytest.mark.parametrize("frame", [0, 40])
def test_tiles_of_the_floor_lie_where_the_camera_projects_them(
    kind: str, frame: int, walk: Animation
) -> None:
    """Half a metre a side, light and dark in turn, wherever the camera has moved to."""
    options = RenderOptions(size=(400, 320))
    scene = replace(walk.scene(frame), camera=walk.path.camera(frame, options.size))
    made = make_renderer(kind, options)
    picture = made.draw(scene).astype(int).mean(axis=-1)
    made.close()
    nearest = np.rint(scene.camera.target / 0.5).astype(int)
    light: dict[int, list[float]] = {0: [], 1: []}
    for east, north in np.argwhere(np.ones((5, 5))) - 2:
        tile = nearest[[0, 2]] + (east, north)
        column, row, _ = scene.camera.project(np.array([0.5 * tile[0], 0.0, 0.5 * tile[1]]))
        if 0 <= column < 400 and 0 <= row < 320:
            light[tile.sum() % 2].append(picture[int(row), int(column)])
    assert min(len(values) for values in light.values()) >= 6
    assert abs(np.median(light[0]) - np.median(light[1])) > 8


def test_text_is_light_on_dark_pictures_and_dark_on_light_ones() -> None:
    for color, is_light in (
        ((0, 255, 0), False),
        ((255, 255, 0), False),
        ((200, 0, 0), True),
        ((0, 0, 255), True),
    ):
        written = write_text(np.full((60, 200, 3), color, np.uint8), "walk").astype(int)
        changed = (written != color).any(axis=-1)
        brighter = written[changed].sum() > changed.sum() * sum(color)
        assert changed.any() and brighter == is_light, color


@needs_gl
def test_multisampling_smooths_the_outline_only(walk: Animation) -> None:
    from posegpt_cli.rendering.opengl.mesh import MeshRenderer

    pictures = []
    for multisampling in (False, True):
        with MeshRenderer(RenderOptions(size=SIZE, multisampling=multisampling)) as made:
            pictures.append(made.draw(walk.scene(10)).astype(int))
    difference = np.abs(pictures[0] - pictures[1]).max(axis=-1)
    assert 50 < (difference > 20).sum() < 3000
    assert difference[:20].max() == 0


def test_normals_of_a_sphere_point_outwards() -> None:
    from posegpt_cli.rendering.shading import Normals

    phi, theta = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(0.2, 2.9, 14))
    points = np.stack((np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)), -1)
    index = np.arange(14 * 24).reshape(14, 24)
    a, b, c, d = index[:-1], np.roll(index, -1, 1)[:-1], index[1:], np.roll(index, -1, 1)[1:]
    faces = np.concatenate((np.stack((a, b, c), -1).reshape(-1, 3), np.stack((b, d, c), -1).reshape(-1, 3)))
    normals = Normals(faces.astype(np.int32), 14 * 24)(points.reshape(-1, 3).astype(np.float32))
    inner = slice(24, -24)
    assert ((normals * points.reshape(-1, 3)).sum(axis=1)[inner] > 0.98).all()


def test_wrong_options_say_what_is_expected() -> None:
    for wrong, message in (
        ({"size": (0, 720)}, "0x720"),
        ({"size": (9000, 720)}, "9000x720"),
        ({"camera": "drone"}, "drone"),
        ({"floor": "lava"}, "lava"),
        ({"background": "nocolour"}, "nocolour"),
        ({"fps": 0}, "got 0"),
        ({"multisampling": 3}, "got 3"),
    ):
        with pytest.raises(PoseGPTError, match=message) as caught:
            RenderOptions(**wrong)
        assert caught.value.hint


def test_long_motions_need_bounded_memory() -> None:
    motion = make_motion("walk", 30)
    long = Motion(np.tile(motion.poses, (40, 1, 1)), np.tile(motion.trans, (40, 1)))
    person = Person(long, load_body())
    for frame in (0, 600, 1199):
        person.vertices(frame)
        assert person._chunk.nbytes < 10_000_000


def test_contacts_are_marked_where_feet_stand_on_the_floor(kind: str) -> None:
    motion = make_motion("wave", 8)
    options = RenderOptions(size=SIZE, contacts=True)
    composition = Composition([motion], options)
    made = make_renderer(kind, RenderOptions(size=composition.cell_size))
    marked = composition.picture(made, 4).astype(int)
    bare = Composition([motion], RenderOptions(size=SIZE)).picture(made, 4).astype(int)
    made.close()
    changed = np.argwhere(np.abs(marked - bare).max(axis=-1) > 20)
    person = composition.animations[0].people[0]
    camera = composition.animations[0].scene(4).camera
    expected = camera.project(person.planted_points[4] * (1.0, 0.0, 1.0))[:, [1, 0]]
    assert len(expected) == 4 and len(changed) > 20
    gaps = np.linalg.norm(changed[:, None] - expected, axis=-1).min(axis=1)
    assert gaps.max() < 0.05 * camera.focal / 2  # discs of 4.5 cm, more than two metres away


@needs_gl
def test_pictures_drawn_ahead_are_those_of_one_by_one() -> None:
    from posegpt_cli.rendering.opengl.mesh import MeshRenderer

    options = RenderOptions(size=SIZE)
    animation = Animation([Person(make_motion("walk", 8), load_body())], options)
    with MeshRenderer(options) as renderer:
        expected = [renderer.draw(animation.scene(k)) for k in range(4)]
        # Two streams in turn, as of two motions side by side, one of which is left in between.
        streams = [renderer.draw_all(map(animation.scene, frames)) for frames in (range(4), range(3, -1, -1))]
        for k in range(3):
            np.testing.assert_array_equal(next(streams[0]), expected[k])
            np.testing.assert_array_equal(next(streams[1]), expected[3 - k])
        del streams[1]
        np.testing.assert_array_equal(next(streams[0]), expected[3])
        assert next(streams[0], None) is None
