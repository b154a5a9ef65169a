"""Cameras frame people: nobody is cut off, whatever they do and wherever they go."""

import numpy as np
import pytest

from data.synthetic import make_motion
from models.body.body import load_body
from models.body.skeleton import PARENTS, joint_index
from models.motion import Motion
from posegpt_cli.rendering.camera import FOV_Y, Framing, plan_cameras
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import Person, facing_azimuth
from posegpt_cli.rendering.scene import Animation

SIZE = (320, 240)


def arms_up() -> Motion:
    """Arms beside the hips, then straight up."""
    poses = np.zeros((30, 24, 3), np.float32)
    swing = np.linspace(-1.3, 1.4, 30)
    poses[:, joint_index("left_shoulder"), 2] = swing
    poses[:, joint_index("right_shoulder"), 2] = -swing
    return Motion(poses, np.tile(np.float32([0, 1.16, 0]), (30, 1)))


def lying() -> Motion:
    """On the back, arms spread."""
    poses = np.zeros((10, 24, 3), np.float32)
    poses[:, 0, 0] = -np.pi / 2
    return Motion(poses, np.tile(np.float32([0, 0.35, 0]), (10, 1)))


def far_jump() -> Motion:
    """Up by a metre and a half and away by three, within half a second."""
    poses = np.zeros((60, 24, 3), np.float32)
    trans = np.tile(np.float32([0, 1.16, 0]), (60, 1))
    trans[30:45, 1] += 1.5 * np.sin(np.linspace(0, np.pi, 15))
    trans[30:, 2] += np.minimum(np.arange(30) * 0.2, 3)
    return Motion(poses, trans)


MOTIONS = {
    "walk": lambda: make_motion("walk", 60),
    "arms up": arms_up,
    "lying": lying,
    "far jump": far_jump,
    "one frame": lambda: arms_up().crop(29, 30),
}


def test_the_fixed_camera_is_as_near_as_the_path_allows():
    rng = np.random.default_rng(0)
    centers = rng.uniform((-3, 0, -2), (3, 2, 2), (40, 5, 3)).astype(np.float32)
    radii = np.full(5, 0.2)
    framing = Framing("fixed", azimuth=0.7, person_height=1.7, fps=30, aspect=4 / 3)
    path = plan_cameras(centers, radii, framing)
    camera = path.camera(0, (640, 480))
    assert (path.eyes == path.eyes[0]).all()

    # The edges of the spheres touch both sides of the picture's width or height, less the margin.
    local = (centers.reshape(-1, 3) - camera.eye) @ camera.rotation.T
    touches = []
    for axis, tangent in ((0, np.tan(FOV_Y / 2) * 4 / 3), (1, np.tan(FOV_Y / 2))):
        angle = np.arctan(tangent * 0.95)
        for side in (-1, 1):
            room = -local[:, 2] * np.sin(angle) - side * local[:, axis] * np.cos(angle) - 0.2
            assert room.min() > -1e-6
            touches.append(room.min() < 1e-6)
    assert touches[:2] == [True, True] or touches[2:] == [True, True]


@pytest.mark.parametrize("camera", ["follow", "front", "side", "orbit", "fixed"])
@pytest.mark.parametrize("name", MOTIONS)
def test_every_vertex_stays_in_the_picture(name: str, camera: str) -> None:
    animation = Animation([Person(MOTIONS[name](), load_body())], RenderOptions(size=SIZE, camera=camera))
    for frame in range(0, len(animation), 3):
        scene = animation.scene(frame)
        pixels = scene.camera.project(scene.figures[0].vertices)
        assert pixels[:, 2].min() > 0.5
        assert pixels[:, :2].min() >= 2
        assert (pixels[:, :2].max(axis=0) <= np.subtract(SIZE, 2)).all()


@pytest.mark.parametrize("body_type", ["smpl", "smplh", "smplx"])
def test_capsules_between_the_joints_enclose_the_body(body_type: str) -> None:
    """What holds the ends of a capsule in a picture holds the capsule."""
    person = Person(arms_up().to_body_type(body_type), load_body(body_type))
    children = np.array([j for j, parent in enumerate(PARENTS[body_type]) if parent >= 0])
    parents = np.array(PARENTS[body_type])[children]
    for frame in (0, 29):
        joints = person.joints[frame]
        start, bone = joints[parents], joints[children] - joints[parents]
        offset = person.vertices(frame)[:, None] - start
        t = np.clip((offset * bone).sum(-1) / (bone * bone).sum(-1), 0, 1)
        gap = np.linalg.norm(offset - t[..., None] * bone, axis=-1)
        reach = person.reach[parents] * (1 - t) + person.reach[children] * t
        assert (gap < reach).any(axis=1).all()


def test_a_standing_person_takes_seven_tenths_of_the_height() -> None:
    animation = Animation([Person(arms_up().crop(0, 2), load_body())], RenderOptions(size=(400, 400)))
    rows = animation.scene(0).camera.project(animation.scene(0).figures[0].vertices)[:, 1]
    assert 0.66 * 400 < np.ptp(rows) < 0.74 * 400


def test_follow_keeps_a_walker_near_the_middle() -> None:
    animation = Animation([Person(make_motion("walk", 90), load_body())], RenderOptions(size=(400, 400)))
    assert np.linalg.norm(np.ptp(animation.people[0].joints[:, 0], axis=0)) > 1.5
    middles = [animation.scene(k).camera.project(animation.people[0].joints[k, 0])[0] for k in range(90)]
    assert min(middles) > 0.38 * 400
    assert max(middles) < 0.62 * 400
    assert np.abs(np.diff(animation.path.eyes, n=2, axis=0)).max() < 0.01  # metres a frame squared: it glides


def test_the_front_camera_sees_the_face_whichever_way_the_person_turns() -> None:
    for turn in (0.0, 1.0, -2.5):
        motion = arms_up()
        poses = motion.poses.copy()
        poses[:, 0, 1] = turn
        animation = Animation(
            [Person(Motion(poses, motion.trans), load_body())], RenderOptions(camera="front", size=SIZE)
        )
        assert facing_azimuth(animation.people[0].joints) == pytest.approx(turn, abs=0.05)
        to_camera = animation.path.eyes[0] - animation.path.targets[0]
        forward = animation.people[0].head_forward[0]
        assert to_camera @ forward / np.linalg.norm(to_camera) > 0.95


def test_the_side_camera_sees_a_walk_from_left_to_right() -> None:
    animation = Animation(
        [Person(make_motion("walk", 60), load_body())], RenderOptions(camera="side", size=SIZE)
    )
    first = animation.scene(0).camera
    start, end = first.project(animation.people[0].joints[[0, 59], 0])
    assert end[0] > start[0] + 10


def test_people_in_a_row_do_not_touch() -> None:
    body = load_body()
    animation = Animation(
        [Person(make_motion("walk", 40, seed=k), body) for k in range(3)], RenderOptions(layout="row")
    )
    for one, other in ((0, 1), (1, 2), (0, 2)):
        pair = (animation.people[one].joints, animation.people[other].joints)
        for a, b in zip(*pair, strict=True):
            assert np.linalg.norm(a[:, None] - b[None], axis=-1).min() > 0.3


@pytest.mark.parametrize("camera", ["follow", "front", "side", "orbit", "fixed"])
def test_a_trail_is_all_in_view_from_the_side_asked_for(camera: str) -> None:
    animation = Animation(
        [Person(make_motion("walk", 90), load_body())], RenderOptions(size=SIZE, camera=camera)
    )
    trail = animation.trail(4)
    for figure in trail.figures:
        pixels = trail.camera.project(figure.vertices)[:, :2]
        assert pixels.min() >= 2 and (pixels.max(axis=0) <= np.subtract(SIZE, 2)).all()
    if camera in ("front", "side"):
        view = trail.camera.eye - trail.camera.target
        walked = animation.people[0].joints[-1, 0] - animation.people[0].joints[0, 0]
        aligned = abs(view @ walked) / np.linalg.norm(view) / np.linalg.norm(walked)
        assert aligned > 0.9 if camera == "front" else aligned < 0.25
