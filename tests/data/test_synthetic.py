"""Procedural motions: seeded, plausible, and stores of them."""

import numpy as np
import pytest

from data.retargeting.body_motion import JOINT
from data.store import find_store, open_store
from data.synthetic import ACTIONS, make_motion, make_store
from tests.data.retargeting.test_retarget import body_positions


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_motions_are_plausible(action):
    motion = make_motion(action, 60, seed=2)
    assert motion.labels == (action,) and motion.n_frames == 60
    joints = body_positions(motion)
    feet = joints[:, [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("foot", "ankle")], 1]
    assert feet.min() > -0.03, "no foot below the floor"
    assert feet.min(axis=1).max() < 0.08, "a foot on the floor at all times"
    assert joints[:, JOINT["pelvis"], 1].min() > 0.6
    assert np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() * 30 < 9, "nothing jumps"
    assert np.linalg.norm(motion.poses, axis=-1)[:, 1:].max() < np.pi
    assert np.ptp(motion.poses[:, 1:], axis=0).max() > 0.3, "something moves"


def test_walk_and_run_move_forward_the_others_stay():
    for action in ACTIONS:
        way = make_motion(action, 90, seed=1)
        moved = way.trans[-1, [0, 2]] - way.trans[0, [0, 2]]
        heading = way.poses[0, 0, 1]
        forward = moved @ [np.sin(heading), np.cos(heading)]
        assert (forward > 1.0) == (action in ("walk", "run")), action
        assert np.linalg.norm(moved) == pytest.approx(abs(forward), abs=1e-3) or action == "turn"


def test_knees_and_elbows_bend_the_human_way():
    for action in ACTIONS:
        motion = make_motion(action, 60, seed=0)
        for side in ("left", "right"):
            assert motion.poses[:, JOINT[f"{side}_knee"], 0].min() >= 0
        assert motion.poses[:, JOINT["left_elbow"], 1].max() <= 0
        assert motion.poses[:, JOINT["right_elbow"], 1].min() >= 0


def test_seeds():
    one, same, other = (make_motion("walk", 30, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.poses, same.poses)
    assert not np.array_equal(one.poses, other.poses)


@pytest.mark.parametrize("n_clips", [1, 60])
def test_stores_of_all_splits_with_every_action(tmp_path, n_clips):
    root = make_store(tmp_path, n_clips)
    sizes = {}
    for split in ("train", "val", "test"):
        store = open_store(find_store(root, split))
        store.verify()
        sizes[split] = len(store)
        assert store.label_names == tuple(ACTIONS) and store.labels.any(axis=0).all()
        assert store.lengths.min() >= 60
    assert sizes == (
        {"train": 6, "val": 6, "test": 6} if n_clips == 1 else {"train": 48, "val": 6, "test": 6}
    )


def test_stores_are_seeded(tmp_path):
    prints = [
        open_store(find_store(make_store(tmp_path / name, 18, seed), "train")).manifest.fingerprint
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert prints[0] == prints[1] != prints[2]
