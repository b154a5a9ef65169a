"""Windows that play faster or slower, and the place of their frames in the clips."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp

from tests.data.test_dataset import store_of, windows_of


def test_places_count_from_the_clips_beginning_and_to_its_end(tmp_path):
    store = store_of(tmp_path / "s", [40, 25, 90])
    windows = windows_of(store, seq_len=16, train_batch_size=32, seed=1)
    plan, batch = windows.plan(3), windows.batch(3)
    assert batch.position is not None and batch.remaining is not None
    np.testing.assert_array_equal(batch.position[:, 0], plan.starts)
    total = np.asarray(store.lengths)[plan.clips]
    np.testing.assert_array_equal((batch.position + batch.remaining)[:, 5], total)
    assert (batch.position[:, 1:8] - batch.position[:, :7] == 1).all()


def test_places_of_a_joined_window_are_those_of_both_clips(tmp_path):
    store = store_of(tmp_path / "s", [60, 70, 90])
    windows = windows_of(store, seq_len=40, train_batch_size=32, seed=1, join_share=1.0)
    plan, batch = windows.plan(0), windows.batch(0)
    assert batch.position is not None and batch.remaining is not None
    assert plan.joined.any()
    for b in np.flatnonzero(plan.joined):
        cut = int(plan.cuts[b])
        assert batch.position[b, 0] == plan.starts[b]
        assert batch.position[b, cut] == plan.next_starts[b]
        total = store.lengths[int(plan.next_clips[b])]
        assert batch.position[b, cut] + batch.remaining[b, cut] == total


def test_a_warped_window_is_what_the_naive_way_gives(tmp_path):
    store = store_of(tmp_path / "s", [40, 25, 90])
    windows = windows_of(store, seq_len=16, train_batch_size=16, seed=1, time_warp=0.4, mirror=False)
    plan, batch = windows.plan(2), windows.batch(2)
    assert batch.remaining is not None
    assert plan.speeds.min() < 0.9 < 1.1 < plan.speeds.max() < np.exp(0.4)
    for b in range(16):
        clip = store.motion(int(plan.clips[b]))
        n_frames = int((clip.n_frames - 1) / plan.speeds[b]) + 1
        length = int(plan.lengths[b])
        assert int(plan.starts[b]) + length <= n_frames
        assert int(batch.remaining[b, 0]) == n_frames - int(plan.starts[b])

        place = (plan.starts[b] + np.arange(length)) * plan.speeds[b]
        for joint in (0, 16):
            slerp = Slerp(np.arange(clip.n_frames), Rotation.from_rotvec(clip.poses[:, joint]))
            expected = slerp(place).as_matrix()
            found = Rotation.from_rotvec(batch.poses[b, :length, joint].numpy()).as_matrix()
            np.testing.assert_allclose(found, expected, atol=1e-5)
        height = np.interp(place, np.arange(clip.n_frames), clip.trans[:, 1])
        np.testing.assert_allclose(batch.trans[b, :length, 1], height, atol=1e-5)


def test_without_warp_windows_are_the_clips_own_frames(tmp_path):
    store = store_of(tmp_path / "s", [40, 25, 90])
    plain = windows_of(store, seq_len=16, train_batch_size=16, seed=1)
    assert (plain.plan(0).speeds == 1).all()
    warped = windows_of(store, seq_len=16, train_batch_size=16, seed=1, time_warp=0.4)
    assert torch.equal(plain.batch(0).labels, warped.batch(0).labels)
