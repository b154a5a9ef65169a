"""Cleaning: planted feet stand still, soles stay on the floor, rest is quiet, fast motion keeps its edges."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data.synthetic import make_motion
from models.body.body import load_body
from models.body.skeleton import BODY_TYPES, BodyType, joint_index
from models.cleaning.clean import StreamCleaner, clean, clean_stream
from models.cleaning.contacts import planted_points
from models.cleaning.settings import STREAM_CLEANING
from models.errors import PoseGPTError
from models.motion import Motion, Part

TOES = [joint_index("left_foot"), joint_index("right_foot")]


def joints_of(motion: Motion) -> Any:
    body = load_body(motion.body_type)
    return body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()


def planted_speed(motion: Motion) -> float:
    """Mean speed (m/s) over the floor of the slower toe joint: the one that carries the body."""
    toes = joints_of(motion)[:, TOES][..., [0, 2]]
    speeds = np.linalg.norm(np.diff(toes, axis=0), axis=-1) * motion.fps
    return float(speeds.min(axis=1).mean())


def deepest(motion: Motion) -> float:
    """Metres by which the lowest vertex of the feet is below the floor."""
    body = load_body(motion.body_type)
    vertices = body.vertices(torch.tensor(motion.poses), torch.tensor(motion.trans))
    feet = [joint_index(name) for name in ("left_ankle", "left_foot", "right_ankle", "right_foot")]
    is_foot = body.weights[:, feet].sum(dim=1) > 0.5
    return float(-vertices[:, is_foot, 1].min())


def standing(n_frames: int = 60, fps: float = 30.0) -> Motion:
    """Somebody who stands still, slightly crouched, feet on the floor."""
    poses = np.zeros((n_frames, 24, 3), np.float32)
    for side in ("left", "right"):
        poses[:, joint_index(f"{side}_hip"), 0] = -0.3
        poses[:, joint_index(f"{side}_knee"), 0] = 0.6
        poses[:, joint_index(f"{side}_ankle"), 0] = -0.3
    motion = Motion(poses, np.zeros((n_frames, 3), np.float32), fps)
    return replace(motion, trans=motion.trans + np.float32([0, deepest(motion), 0]))


def skating(fps: float = 30.0) -> Motion:
    """A walk whose root moves on by 15 cm/s more than its feet, and sinks by 3 cm."""
    walk = make_motion("walk", round(3 * fps), fps=fps)
    trans = walk.trans.copy()
    trans[:, 2] += 0.15 * np.arange(walk.n_frames) / fps
    trans[:, 1] -= 0.03
    return replace(walk, trans=trans)


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0, 120.0])
def test_planted_feet_stand_still_and_soles_stay_on_the_floor(fps: float) -> None:
    motion = skating(fps)
    (cleaned,) = clean([motion])
    assert planted_speed(motion) > 0.1
    assert planted_speed(cleaned) < 0.45 * planted_speed(motion)
    assert deepest(motion) > 0.03 and deepest(cleaned) < 0.01
    assert (cleaned.fps, cleaned.n_frames, cleaned.labels) == (fps, motion.n_frames, motion.labels)


def test_feet_that_a_fade_slides_are_planted() -> None:
    """Around the seam of two parts feet faster than elsewhere count as planted."""
    still = standing()
    slide = np.clip(np.arange(60) - 25, 0, 10)[:, None] * np.float32([0.018, 0, 0])
    sliding = replace(still, trans=still.trans + slide)
    assert planted_speed(sliding) > 0
    joined = replace(sliding, parts=(Part(0.0, ("a",)), Part(24 / 30, ("b",))))
    (as_one,), (as_two,) = clean([sliding]), clean([joined])
    assert foot_way(as_two) < 0.5 * foot_way(as_one)


def foot_way(motion: Motion) -> float:
    """Metres that the left foot travels."""
    foot = joints_of(motion)[:, joint_index("left_foot"), ::2]
    return float(np.linalg.norm(np.diff(foot, axis=0), axis=-1).sum())


def test_who_stands_and_drifts_stands_still() -> None:
    still = standing()
    drift = np.stack([0.04 * np.arange(60) / 30, np.zeros(60), 0.03 * np.arange(60) / 30], axis=1)
    (cleaned,) = clean([replace(still, trans=still.trans + drift.astype(np.float32))])
    assert planted_speed(cleaned) < 0.003
    # The body has stopped with its feet: it does not lean over them.
    pelvis = joints_of(cleaned)[:, 0]
    assert np.linalg.norm(np.diff(pelvis[30:-3], axis=0), axis=1).max() * 30 < 0.01


def test_a_floating_person_is_brought_down() -> None:
    still = standing()
    (cleaned,) = clean([replace(still, trans=still.trans + np.float32([0, 0.03, 0]))])
    assert abs(deepest(cleaned.crop(40, 60))) < 0.004


def test_resting_hands_stop_trembling_and_fast_ones_keep_their_edges() -> None:
    rng = np.random.default_rng(0)
    still = standing(90)
    poses = still.poses.copy()
    elbow = joint_index("left_elbow")
    poses[:, elbow] += rng.normal(size=(90, 3)).astype(np.float32) * 0.02
    (quiet,) = clean([replace(still, poses=poses)])
    before, after = (np.diff(p[:, elbow], n=2, axis=0).std() for p in (poses, quiet.poses))
    assert after < 0.3 * before

    shoulder = joint_index("right_shoulder")
    poses = still.poses.copy()
    poses[:, shoulder, 2] = 1.0 + 0.9 * np.sign(np.sin(np.arange(90) / 2.5))  # jerky and wide
    (fast,) = clean([replace(still, poses=poses)])
    assert np.abs(fast.poses[:, shoulder] - poses[:, shoulder])[5:-5].max() < 0.02


def test_what_moves_is_steadied_on_request_alone() -> None:
    rng = np.random.default_rng(0)
    walk = make_motion("walk", 60)
    shaken = replace(walk, poses=walk.poses + rng.normal(0, 0.02, walk.poses.shape).astype(np.float32))

    def jerk(motion: Motion) -> float:
        return float(np.abs(np.diff(joints_of(motion), n=3, axis=0)).mean())

    (plain,) = clean([shaken])
    (steady,) = clean([shaken], settings=STREAM_CLEANING)
    assert jerk(plain) > 0.9 * jerk(shaken)
    assert jerk(steady) < 0.85 * jerk(plain)


def test_what_is_clean_already_hardly_changes() -> None:
    (cleaned,) = clean([standing()])
    assert np.abs(joints_of(cleaned) - joints_of(standing())).max() < 0.005


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_any_body_keeps_its_fingers_and_face(body_type: BodyType) -> None:
    motion = skating().to_body_type(body_type)
    poses = motion.poses.copy()
    poses[:, 22:] = np.random.default_rng(1).normal(size=poses[:, 22:].shape) * 0.2
    motion = replace(motion, poses=poses)
    (cleaned,) = clean([motion])
    assert np.array_equal(cleaned.poses[:, 22:], motion.poses[:, 22:])
    assert planted_speed(cleaned) < 0.45 * planted_speed(motion)
    assert deepest(cleaned) < 0.01


def test_many_clips_together_are_the_same_as_one_by_one() -> None:
    motions = [
        skating(),
        make_motion("wave", 50),
        make_motion("run", 90),
        make_motion("walk", 50).to_body_type("smplx"),
    ]
    motions.append(replace(motions[2], poses=motions[2].poses[::-1]))
    together = clean(motions)
    for motion, cleaned in zip(motions, together, strict=True):
        (alone,) = clean([motion])
        assert np.allclose(alone.poses, cleaned.poses, atol=1e-6)
        assert np.allclose(alone.trans, cleaned.trans, atol=1e-6)


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_a_stream_is_the_same_as_the_whole_two_frames_late(fps: float) -> None:
    motion = skating(fps)
    (whole,) = clean([motion])
    taken = 0

    def frames() -> Iterator[tuple[Any, Any]]:
        nonlocal taken
        for pose, trans in zip(motion.poses, motion.trans, strict=True):
            taken += 1
            yield pose, trans

    streamed = []
    for frame in clean_stream(frames(), fps, "smpl"):
        streamed.append(frame)
        assert taken <= len(streamed) + round(fps / 15)
    assert len(streamed) == motion.n_frames
    assert np.abs(np.stack([pose for pose, _ in streamed]) - whole.poses).max() < 1e-5
    assert np.abs(np.stack([trans for _, trans in streamed]) - whole.trans).max() < 1e-5


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5])
def test_the_shortest_motions_are_cleaned(n_frames: int) -> None:
    motion = make_motion("walk", n_frames)
    (cleaned,) = clean([motion])
    assert cleaned.n_frames == n_frames and np.isfinite(cleaned.poses).all()
    assert list(clean_stream(iter([]), 30.0, "smpl")) == [] and clean([]) == []


def test_toes_bend_where_they_would_dip_into_the_floor() -> None:
    motion = standing()
    poses = motion.poses.copy()
    ankle, toe = joint_index("left_ankle"), joint_index("left_foot")
    poses[:, ankle, 0] += 0.6  # up on the ball of the left foot
    motion = replace(motion, poses=poses)
    lifted = replace(motion, trans=motion.trans + np.float32([0, deepest(motion) - 0.03, 0]))
    (cleaned,) = clean([lifted])
    assert deepest(lifted) > 0.025
    assert deepest(cleaned.crop(20, 60)) < 0.01
    assert (cleaned.poses[20:, toe, 0] < -0.1).all() and np.abs(cleaned.poses[:, toe, 1:]).max() < 1e-3


def test_planted_hands_stay_where_they_are() -> None:
    """On all fours, hands creeping over the floor."""
    n = 60
    poses = np.zeros((n, 24, 3), np.float32)
    poses[:, 0, 0] = np.pi / 2
    for side, sign in (("left", -1), ("right", 1)):
        poses[:, joint_index(f"{side}_hip"), 0] = -np.pi / 2
        poses[:, joint_index(f"{side}_knee"), 0] = np.pi / 2
        poses[:, joint_index(f"{side}_shoulder")] = [0, sign * 1.3, 0]
        poses[:, joint_index(f"{side}_elbow")] = [0, sign * 0.3, 0]
    motion = Motion(poses, np.zeros((n, 3), np.float32))
    wrists = [joint_index("left_wrist"), joint_index("right_wrist")]
    height = joints_of(motion)[0, wrists, 1].max()
    trans = motion.trans + np.float32([0, 0.03 - height, 0])
    creep = np.zeros((n, 3), np.float32)
    creep[:, 2] = 0.05 * np.arange(n) / 30
    creeping = replace(motion, trans=trans + creep)
    (cleaned,) = clean([creeping])
    speeds = [
        np.linalg.norm(np.diff(joints_of(m)[10:, wrists], axis=0), axis=-1).mean() * 30
        for m in (creeping, cleaned)
    ]
    assert speeds[0] > 0.045 and speeds[1] < 0.2 * speeds[0]


def test_the_past_of_a_forecast_is_kept_and_goes_on_without_a_jump() -> None:
    motion = skating()
    (cleaned,) = clean([motion], kept=40)
    assert np.array_equal(cleaned.poses[:40], motion.poses[:40])
    assert np.array_equal(cleaned.trans[:40], motion.trans[:40])
    assert planted_speed(cleaned.crop(50, 90)) < 0.45 * planted_speed(motion.crop(50, 90))
    ways = [
        np.linalg.norm(np.diff(joints_of(m), n=2, axis=0), axis=-1).max(axis=1) for m in (motion, cleaned)
    ]
    assert ways[1][36:42].max() < 1.5 * ways[0].max() + 0.005
    (untouched,) = clean([motion], kept=90)
    assert np.array_equal(untouched.poses, motion.poses)
    with pytest.raises(PoseGPTError, match="kept=91") as caught:
        clean([motion], kept=91)
    assert caught.value.hint


def test_planted_points_are_under_the_foot_that_stands() -> None:
    points = planted_points(standing())
    assert all(len(frame) == 4 for frame in points)  # both heels and balls
    ankles = joints_of(standing())[0, [joint_index("left_ankle"), joint_index("right_ankle")]]
    distance = np.linalg.norm((points[0][:2] - ankles)[:, [0, 2]], axis=1)
    assert distance.max() < 0.08 and np.abs(points[0][:, 1]).max() < 0.02
    flying = replace(standing(), trans=standing().trans + np.float32([0, 0.5, 0]))
    assert all(len(frame) == 0 for frame in planted_points(flying))


@pytest.mark.parametrize("pieces", [(3, 1, 20), (24,), (1, 1, 22)])
def test_pieces_of_several_clips_are_cleaned_like_the_whole(pieces):
    clips = [make_motion("walk", 24, seed=seed) for seed in range(2)]
    whole = clean(clips)
    poses = np.stack([clip.poses for clip in clips])
    trans = np.stack([clip.trans for clip in clips])
    cleaner = StreamCleaner(30.0, "smpl")
    parts = []
    start = 0
    for n in pieces:
        parts.append(cleaner.add(poses[:, start : start + n], trans[:, start : start + n]))
        start += n
    parts.append(cleaner.finish())
    cleaned_poses = np.concatenate([part[0] for part in parts], axis=1)
    cleaned_trans = np.concatenate([part[1] for part in parts], axis=1)
    for row in range(2):
        np.testing.assert_allclose(cleaned_poses[row], whole[row].poses, atol=1e-5)
        np.testing.assert_allclose(cleaned_trans[row], whole[row].trans, atol=1e-5)
