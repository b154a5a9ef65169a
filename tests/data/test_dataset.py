"""Windows: batches that depend on seed and step alone, evaluation that drops nothing."""

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.dataset import Windows
from data.store import Store, StoreHeader, find_store, open_store
from data.store_writer import StoreWriter
from data.synthetic import make_store
from models.errors import PoseGPTError
from models.motion import Motion
from models.training.config import FrameLabelWindowsConfig, WindowsConfig

LABELS = ("kick left", "kick right", "walk")
HEADER = StoreHeader(split="train", body_type="smpl", fps=30, label_names=LABELS)


def numbered(n_frames: int, clip: int) -> Motion:
    """A clip whose every frame tells which it is: frame t of clip c has pelvis rotation (c, t, 0) / 1000."""
    poses = np.zeros((n_frames, 24, 3), np.float32)
    poses[:, 0, 0] = clip / 1000
    poses[:, 0, 1] = np.arange(n_frames) / 1000
    poses[:, 1, 0] = 0.5  # left hip
    trans = np.stack([np.arange(n_frames) + 5.0, np.full(n_frames, 0.9), 2.0 * np.arange(n_frames)], axis=1)
    return Motion(poses, trans.astype(np.float32), labels=(LABELS[clip % 3],), name=str(clip))


def store_of(path, lengths):
    with StoreWriter(path, HEADER) as writer:
        for clip, n_frames in enumerate(lengths):
            writer.add(numbered(n_frames, clip))
    return open_store(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("data") / "s", [10, 25, 3, 8, 40, 16])


def windows_of(
    store: Store, seq_len: int = 64, min_seq_len: int = 16, train_batch_size: int = 64, **settings
) -> Windows:
    """Windows with settings by name; `per_frame` or a setting of such windows makes labels of every frame."""
    ranks = {name: settings.pop(name) for name in ("rank", "world") if name in settings}
    sizes = {"seq_len": seq_len, "min_seq_len": min_seq_len, "train_batch_size": train_batch_size}
    if settings.keys() & {"per_frame", "join_share", "token_copies"}:
        settings.pop("per_frame", None)
        plain = {"join_share": 0.0, "token_copies": 0}
        return Windows(store, FrameLabelWindowsConfig(**plain | sizes | settings), **ranks)
    return Windows(store, WindowsConfig(**sizes, **settings), **ranks)


def equal(a, b) -> bool:
    return all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("poses", "trans", "length", "labels"))


def test_a_batch_is_what_the_naive_way_gives(store):
    windows = windows_of(store, seq_len=8, min_seq_len=5, train_batch_size=16, seed=1, mirror=False)
    for step in (0, 7):
        plan, batch = windows.plan(step), windows.batch(step)
        assert batch.poses.shape == (16, 8, 24, 3) and batch.poses.dtype == torch.float32
        for b in range(16):
            clip = store.motion(int(plan.clips[b]))
            start, length = int(plan.starts[b]), int(plan.lengths[b])
            assert start >= 0 and start + length <= clip.n_frames
            assert length == min(8, clip.n_frames)
            for t in range(8):
                source = start + min(t, length - 1)
                np.testing.assert_array_equal(batch.poses[b, t], clip.poses[source])
                expected = clip.trans[source] - clip.trans[start] * [1, 0, 1]
                np.testing.assert_allclose(batch.trans[b, t], expected, atol=1e-6)
            assert batch.length[b] == length
            assert batch.labels[b].tolist() == [float(name in clip.labels) for name in LABELS]


def test_short_clips_are_padded_with_their_last_frame(store):
    windows = windows_of(store, seq_len=12, min_seq_len=8, train_batch_size=32, mirror=False)
    batch = windows.batch(0)
    short = batch.length < 12
    assert set(batch.length.tolist()) == {8, 10, 12} and windows.n_short_clips == 1
    assert torch.equal(batch.poses[short, 10:11], batch.poses[short, 11:12])
    assert batch.mask().sum(1).tolist() == batch.length.tolist()


def test_same_seed_and_step_same_batch_whatever_came_before(store):
    one = windows_of(store, 8, 5, 4, seed=3)
    for step in range(30):
        one.batch(step)
    assert equal(one.batch(5), windows_of(store, 8, 5, 4, seed=3).batch(5))
    assert not equal(one.batch(5), one.batch(6))
    assert not equal(one.batch(5), windows_of(store, 8, 5, 4, seed=4).batch(5))


def test_every_frame_is_about_equally_likely(tmp_path):
    store = store_of(tmp_path / "s", [20, 30, 100, 55, 15])
    windows = windows_of(store, seq_len=10, min_seq_len=5, train_batch_size=50, seed=0)
    drawn = Counter()
    steps = 400
    for step in range(steps):
        drawn.update(windows.plan(step).clips.tolist())
    frames = np.array([20, 30, 100, 55, 15])
    share = np.array([drawn[k] for k in range(5)]) / (steps * 50)
    np.testing.assert_allclose(share, frames / frames.sum(), rtol=0.05)
    assert windows.steps_per_epoch == pytest.approx(220 / 10 / 50)


def test_an_epoch_visits_every_clip(store):
    windows = windows_of(store, 8, 3, train_batch_size=4)
    steps = round(4 * windows.steps_per_epoch)  # the order runs over four epochs
    seen = {clip for step in range(steps) for clip in windows.plan(step).clips.tolist()}
    assert seen == set(range(6))


def test_places_are_random_or_the_beginning(store):
    anywhere = windows_of(store, 8, 5, 64, start_share=0.0).plan(0)
    assert len(set(anywhere.starts.tolist())) > 10
    assert not windows_of(store, 8, 5, 64, start_share=1.0).plan(0).starts.any()
    half = np.concatenate([windows_of(store, 4, 4, 64, start_share=0.5).plan(k).starts for k in range(20)])
    assert 0.5 < (half == 0).mean() < 0.65


def test_half_of_the_windows_are_mirrored(store):
    windows = windows_of(store, 8, 5, 200, seed=0, mirror=True)
    plan, batch = windows.plan(0), windows.batch(0)
    plain = windows_of(store, 8, 5, 200, seed=0, mirror=False).batch(0)
    assert 0.4 < plan.mirrored.mean() < 0.6
    mirrored = torch.from_numpy(plan.mirrored)
    assert torch.equal(batch.poses[~mirrored], plain.poses[~mirrored])
    # left hip (joint 1) became the right one (joint 2); x of the translation and y, z of rotations turned
    assert torch.equal(batch.poses[mirrored][:, :, 2], plain.poses[mirrored][:, :, 1])
    assert not batch.poses[mirrored][:, :, 1].any()
    assert torch.equal(batch.poses[mirrored][:, :, 0, 1], -plain.poses[mirrored][:, :, 0, 1])
    assert torch.equal(batch.trans[mirrored][..., 0], -plain.trans[mirrored][..., 0])
    assert torch.equal(batch.trans[mirrored][..., 2], plain.trans[mirrored][..., 2])
    # and kicks changed sides, walks did not
    assert torch.equal(batch.labels[mirrored], plain.labels[mirrored][:, [1, 0, 2]])
    assert torch.equal(batch.own[mirrored], torch.tensor([1, 0, 2])[plain.own[mirrored]])


def test_ranks_split_the_steps(store):
    alone = windows_of(store, 8, 5, 8, seed=2, rotate=True)
    ranks = [alone.of_rank(r, 2) for r in range(2)]
    for step in range(3):
        whole, parts = alone.batch(step), [rank.batch(step) for rank in ranks]
        for name in ("poses", "trans", "length", "labels"):
            interleaved = torch.stack([getattr(part, name) for part in parts], 1).flatten(0, 1)
            torch.testing.assert_close(interleaved, getattr(whole, name))
    assert equal(parts[1], windows_of(store, 8, 5, 8, seed=2, rotate=True, rank=1, world=2).batch(2))
    assert (alone.rank, alone.world) == (0, 1)
    assert [len(b.length) for b in ranks[0].eval_batches()] == [4, 2]


def test_evaluation_sees_every_window_once(store):
    windows = windows_of(store, seq_len=8, min_seq_len=5, train_batch_size=4)
    plan = windows.eval_plan()
    found = sorted(zip(plan.clips.tolist(), plan.starts.tolist(), plan.lengths.tolist(), strict=True))
    # clips of 10, 25, 3, 8, 40, 16 frames: remainders 2, 1, 3 are too short, clip 2 has none at all
    assert found == [
        (0, 0, 8),
        (1, 0, 8), (1, 8, 8), (1, 16, 8),
        (3, 0, 8),
        (4, 0, 8), (4, 8, 8), (4, 16, 8), (4, 24, 8), (4, 32, 8),
        (5, 0, 8), (5, 8, 8),
    ]  # fmt: skip
    kept = windows_of(store, seq_len=16, min_seq_len=8, train_batch_size=4).eval_plan()
    found = sorted(zip(kept.clips.tolist(), kept.starts.tolist(), kept.lengths.tolist(), strict=True))
    assert found == [
        (0, 0, 10),
        (1, 0, 16),
        (1, 16, 9),
        (3, 0, 8),
        (4, 0, 16),
        (4, 16, 16),
        (4, 32, 8),
        (5, 0, 16),
    ]


def test_evaluation_batches_end_with_the_rest_and_repeat(store):
    windows = windows_of(store, seq_len=16, min_seq_len=8, train_batch_size=3, mirror=True, seed=9)
    batches = list(windows.eval_batches())
    assert [len(b.length) for b in batches] == [3, 3, 2]
    assert all(equal(a, b) for a, b in zip(batches, windows.eval_batches(), strict=True))
    for batch in batches:
        assert not batch.trans[:, 0, [0, 2]].any() and (batch.trans[..., 1] == 0.9).all()
        assert (batch.poses[:, 0, 1, 0] == 0.5).all()  # never mirrored
    order = windows.eval_plan().clips.tolist()
    assert order != sorted(order)
    parts = [windows_of(store, 16, 8, 3, rank=r, world=3).eval_plan().clips.tolist() for r in range(3)]
    assert sorted(clip for part in parts for clip in part) == sorted(order)


def test_a_batch_does_not_write_into_the_store(store):
    before = store.poses[:].copy()
    batch = windows_of(store, 8, 5, 8).batch(0)
    batch.poses.zero_()
    batch.trans.zero_()
    np.testing.assert_array_equal(store.poses, before)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_same_batches(store, workers):
    windows = windows_of(store, 8, 5, 4, seed=1)
    before = torch.get_rng_state()
    loaded = list(windows.loader(3, 9, num_workers=workers))
    assert torch.equal(torch.get_rng_state(), before)  # or a run that is resumed draws other dropout
    assert len(loaded) == 6
    for step, batch in zip(range(3, 9), loaded, strict=True):
        assert equal(batch, windows.batch(step))


def test_windows_travel_to_workers_by_path(store):
    windows = windows_of(store, 8, 5, 4, seed=1)
    pickled = pickle.dumps(windows)
    assert len(pickled) < 5000
    assert equal(pickle.loads(pickled).batch(2), windows.batch(2))


def test_no_clip_long_enough_is_an_error(store):
    with pytest.raises(PoseGPTError, match=r"none of the 6 clips .* has 41 frames") as caught:
        windows_of(store, 64, 41)
    assert "min_seq_len=40" in caught.value.hint


def test_a_window_shorter_than_the_shortest_kept_uses_all_clips(store):
    assert windows_of(store, seq_len=2, min_seq_len=16).n_short_clips == 0


def test_speed(tmp_path):
    """A core makes more frames than a small network eats: 100,000 a second (measured 700,000)."""
    import time

    store = open_store(find_store(make_store(tmp_path, n_clips=60), "train"))
    windows = windows_of(store, 64, 16, 64)
    windows.batch(0)
    best = min(_seconds(time.perf_counter, lambda: [windows.batch(k) for k in range(5)]) for _ in range(3))
    assert 5 * 64 * 64 / best > 100_000


def _seconds(clock, work) -> float:
    start = clock()
    work()
    return clock() - start


@pytest.mark.parametrize(("balance", "share"), [(0.0, 1 / 21), (1.0, 1 / 2)])
def test_balance_draws_rare_actions_more_often(tmp_path, balance, share):
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        for clip in range(21):
            label = LABELS[0] if clip == 0 else LABELS[2]
            writer.add(replace(numbered(16, clip), labels=(label,)))
    windows = windows_of(
        open_store(tmp_path / "s"), seq_len=8, train_batch_size=80, balance_actions=balance, mirror=False
    )
    rare = np.concatenate([windows.batch(step).labels[:, 0].numpy() for step in range(20)]).mean()
    assert rare == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(("balance", "share"), [(0.0, 1 / 21), (0.5, 1 / (1 + 20**0.5)), (1.0, 1 / 2)])
def test_balance_draws_small_sets_more_often(tmp_path, balance, share):
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        for clip in range(21):
            folder, label = ("small/deep", LABELS[0]) if clip == 0 else ("large", LABELS[2])
            writer.add(replace(numbered(16, clip), labels=(label,)), source=f"{folder}/{clip}.bvh")
    windows = windows_of(
        open_store(tmp_path / "s"), seq_len=8, train_batch_size=80, balance_sets=balance, mirror=False
    )
    rare = np.concatenate([windows.batch(step).labels[:, 0].numpy() for step in range(20)]).mean()
    assert rare == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("body_type", ["smpl", "smplh", "smplx"])
def test_windows_of_every_body_turn_and_mirror(tmp_path, body_type):
    """Mirrored and turned windows are the plain ones, mirrored and turned one by one."""
    from data.augment import mirror_poses, mirror_trans, rotate_heading
    from data.synthetic import make_motion
    from models.body.skeleton import REST_PELVIS, n_joints

    labels = ("walk", "run")
    header = StoreHeader(split="train", body_type=body_type, fps=30, label_names=labels)
    with StoreWriter(tmp_path / "s", header) as writer:
        for k in range(4):
            writer.add(make_motion(labels[k % 2], 30, seed=k).to_body_type(body_type))
    store = open_store(tmp_path / "s")
    common = {"seq_len": 12, "train_batch_size": 16, "seed": 5}
    both = windows_of(store, **common, mirror=True, rotate=True)
    plain = windows_of(store, **common, mirror=False).batch(2)
    plan, batch = both.plan(2), both.batch(2)
    assert batch.poses.shape == (16, 12, n_joints(body_type), 3) and len(set(plan.turned.tolist())) == 16
    assert 0 < plan.mirrored.sum() < 16
    poses, trans = plain.poses.numpy().copy(), plain.trans.numpy().copy()
    for b in np.flatnonzero(plan.mirrored):
        poses[b], trans[b] = mirror_poses(poses[b], body_type), mirror_trans(trans[b])
    for b in range(16):
        one = slice(b, b + 1)
        poses[one], trans[one] = rotate_heading(
            poses[one], trans[one], plan.turned[one], REST_PELVIS[body_type]
        )
    trans[:, :, ::2] -= trans[:, :1, ::2]
    np.testing.assert_allclose(batch.poses, poses, atol=1e-5)
    np.testing.assert_allclose(batch.trans, trans, atol=1e-5)
    assert (batch.trans[:, 0, ::2] == 0).all() and equal(batch, both.batch(2))


def test_labels_per_frame_of_clips_that_have_one_set(store):
    common = {"seq_len": 8, "train_batch_size": 8, "seed": 1}
    whole, frames = windows_of(store, **common).batch(0), windows_of(store, **common, per_frame=True).batch(0)
    assert frames.labels.shape == (8, 8, 3)
    assert torch.equal(frames.labels, whole.labels[:, None].expand(-1, 8, -1))


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Clips of several actions that go somewhere and face somewhere."""
    return open_store(find_store(make_store(tmp_path_factory.mktemp("moving"), n_clips=30), "train"))


JOINED = {"seq_len": 48, "train_batch_size": 16, "seed": 3, "per_frame": True, "join_share": 1.0}


def test_joined_windows_are_two_clips_set_one_on_the_other(moving):
    """The naive twin: cut both parts out of their clips and append them."""
    from models.sampling.blend import append

    windows = windows_of(moving, **JOINED, mirror=False)
    plan, batch = windows.plan(1), windows.batch(1)
    assert plan.joined.sum() > 10 and len(set(plan.cuts[plan.joined].tolist())) > 5
    for b in np.flatnonzero(plan.joined):
        cut, length, start, after = (
            int(a[b]) for a in (plan.cuts, plan.lengths, plan.starts, plan.next_starts)
        )
        first = moving.motion(int(plan.clips[b])).crop(start, start + cut)
        second = moving.motion(int(plan.next_clips[b])).crop(after, after + length - cut)
        whole = append(first, second)
        assert whole.n_frames == length and min(cut, length - cut) >= 11
        np.testing.assert_allclose(batch.poses[b, :length], whole.poses, atol=1e-4)
        trans = whole.trans - whole.trans[0] * [1, 0, 1]
        np.testing.assert_allclose(batch.trans[b, :length], trans, atol=1e-5)
        assert torch.equal(
            batch.poses[b, length:], batch.poses[b, length - 1 :][:1].expand(48 - length, -1, -1)
        )
        for t, clip in ((0, first), (cut - 1, first), (cut, second), (length - 1, second)):
            names = {moving.label_names[k] for k in batch.labels[b, t].nonzero()[:, 0]}
            assert names == set(clip.labels)


def test_a_window_that_is_not_filled_ends_with_its_last_clip(moving):
    windows = windows_of(moving, **{**JOINED, "seq_len": 200, "min_seq_len": 16})
    for step in range(3):
        plan = windows.plan(step)
        last, start = (
            np.where(plan.joined, plan.next_clips, plan.clips),
            np.where(plan.joined, plan.next_starts - plan.cuts, plan.starts),
        )
        ends = start + plan.lengths == moving.lengths[last]
        assert (ends | (plan.lengths == 200)).all() and (plan.lengths < 200).any() and plan.joined.any()


def test_so_many_windows_are_joined_and_the_rest_is_as_without(moving):
    some = windows_of(moving, **{**JOINED, "train_batch_size": 200, "join_share": 0.4})
    none = windows_of(moving, **{**JOINED, "train_batch_size": 200, "join_share": 0.0})
    assert 0.3 < some.plan(0).joined.mean() < 0.5 and not none.plan(0).joined.any()
    assert not windows_of(moving, **{**JOINED, "seq_len": 21}).plan(0).joined.any()
    assert equal(
        some.batch(4), windows_of(moving, **{**JOINED, "train_batch_size": 200, "join_share": 0.4}).batch(4)
    )
    single = ~some.plan(0).joined
    np.testing.assert_array_equal(some.plan(0).lengths[single], none.plan(0).lengths[single])


def test_batches_come_again_in_another_order(store):
    windows = windows_of(store, 8, 5, 4, seed=1, token_copies=3)
    never = windows_of(store, 8, 5, 4, seed=1, per_frame=True)
    n = windows.n_steps
    assert n == round(3 * windows.steps_per_epoch) and never.n_steps is None and never.batch(0).rows is None
    rows = [windows.batch(step).rows for step in range(3 * n)]
    for again in range(3):
        assert sorted(torch.cat(rows[again * n : (again + 1) * n]).tolist()) == list(range(4 * n))
    for step in (0, n + 1, 3 * n - 1):
        batch = windows.batch(step)
        assert equal(batch, never.batch(int(batch.rows[0]) // 4))
    assert [int(r[0]) for r in rows[:n]] == list(range(0, 4 * n, 4)) != [int(r[0]) for r in rows[n : 2 * n]]
    part = windows.of_rank(1, 2).batch(n + 1)
    assert torch.equal(part.rows, windows.batch(n + 1).rows[1::2])


def test_windows_are_tilted_and_rolled_within_their_limits(moving):
    plain = windows_of(moving, 32, train_batch_size=64, seed=3, mirror=False)
    tilted = windows_of(moving, 32, train_batch_size=64, seed=3, mirror=False, tilt=15, roll=5)
    degrees = np.rad2deg(tilted.plan(2).tilted)
    assert (np.abs(degrees).max(axis=0) <= [15, 5]).all() and (np.abs(degrees).max(axis=0) > [10, 3]).all()
    assert not plain.plan(2).tilted.any()
    one, other = plain.batch(2), tilted.batch(2)
    assert torch.equal(one.poses[:, :, 1:], other.poses[:, :, 1:])
    assert not torch.allclose(one.poses[:, :, 0], other.poses[:, :, 0])
    torch.testing.assert_close(one.trans[:, 0], other.trans[:, 0])


def test_poses_only_and_a_few_clips_only(store):
    batch = windows_of(store, 8, 5, 16, mask_trans=True).batch(0)
    assert not batch.trans.any() and batch.poses.any()
    few = windows_of(store, 8, 5, 64, n_train=2)
    clips = np.concatenate([few.plan(step).clips for step in range(5)])
    assert sorted(set(clips.tolist())) == [0, 1]
    # Validation is not cut short.
    assert set(few.eval_plan().clips.tolist()) == {0, 1, 3, 4, 5}


def test_a_split_without_clips_is_said_so(store, monkeypatch):
    monkeypatch.setattr(store, "lengths", ())
    with pytest.raises(PoseGPTError, match="there is no clip in"):
        windows_of(store, 64, 41)
