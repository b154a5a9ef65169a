"""Splits: deterministic, stratified, and clips that share frames stay together."""

from collections import Counter

import numpy as np
import pytest

from data.preparing.splits import assign_splits, frame_hashes, shared_groups, shuffled, thinned
from data.synthetic import make_motion
from models.motion import Motion


def clips_of(*counts: int) -> tuple[list[str], list[str]]:
    names = [f"{label}{k}" for label, count in zip("abc", counts, strict=False) for k in range(count)]
    return names, [name[0] for name in names]


def test_shares_hold_within_every_label():
    names, labels = clips_of(40, 10, 5)
    splits = assign_splits(names, labels, range(len(names)), 0.1, 0.1, seed=0)
    found = Counter(zip(labels, splits, strict=True))
    assert found == {
        ("a", "train"): 32, ("a", "val"): 4, ("a", "test"): 4,
        ("b", "train"): 8, ("b", "val"): 1, ("b", "test"): 1,
        ("c", "train"): 3, ("c", "val"): 1, ("c", "test"): 1,
    }  # fmt: skip


def test_rare_labels_only_train():
    names, labels = clips_of(4)
    assert set(assign_splits(names, labels, range(4), 0.4, 0.4, seed=0)) == {"train"}


def test_no_share_no_clips():
    names, labels = clips_of(20)
    assert set(assign_splits(names, labels, range(20), 0.0, 0.2, seed=0)) == {"train", "test"}


def test_the_split_depends_on_seed_and_names_only():
    names, labels = clips_of(30, 20)
    split = dict(zip(names, assign_splits(names, labels, range(50), 0.1, 0.1, 7), strict=True))
    back = list(reversed(names))
    again = assign_splits(back, list(reversed(labels)), range(50), 0.1, 0.1, 7)
    assert dict(zip(back, again, strict=True)) == split
    other = assign_splits(names, labels, range(50), 0.1, 0.1, 8)
    assert dict(zip(names, other, strict=True)) != split
    # the very clips, so that no change of the code changes everybody's data unnoticed
    assert sorted(n for n, s in split.items() if s == "test") == ["a21", "a25", "a26", "b10", "b18"]


def test_groups_stay_together():
    names, labels = clips_of(30)
    groups = [k // 3 for k in range(30)]
    for seed in range(5):
        splits = assign_splits(names, labels, groups, 0.2, 0.2, seed)
        assert all(len({splits[k] for k in range(30) if groups[k] == g}) == 1 for g in range(10))
        assert Counter(splits) == {"train": 18, "val": 6, "test": 6}


def test_clips_that_share_frames_are_found():
    long = make_motion("walk", 60, seed=0)
    turned = Motion(long.poses + 0, long.trans)
    turned.poses[:, 0] = [0.0, 1.0, 0.0]  # another heading and place: the same recording still
    clips = [
        long.crop(0, 30),
        make_motion("walk", 30, seed=1),
        turned.crop(22, 60),
        long.crop(53, 60),
        make_motion("bow", 30, seed=2),
    ]
    groups = shared_groups([frame_hashes(clip) for clip in clips])
    # eight frames in common with the first; seven (clip 3 and clip 2 share frames 53..59) are too few
    assert groups == [0, 1, 0, 3, 4]


def test_standing_still_is_no_shared_recording():
    still = Motion(np.zeros((50, 24, 3), np.float32), np.zeros((50, 3), np.float32))
    assert len(frame_hashes(still)) == 1
    assert shared_groups([frame_hashes(still)] * 3) == [0, 1, 2]


def test_groups_chain():
    long = make_motion("run", 90, seed=0)
    pieces = [long.crop(0, 40), long.crop(60, 90), long.crop(30, 70)]
    assert shared_groups([frame_hashes(piece) for piece in pieces]) == [0, 0, 0]


def test_frames_in_many_clips_link_them_all_without_all_pairs():
    piece = make_motion("run", 20, seed=0)
    assert set(shared_groups([frame_hashes(piece)] * 60)) == {0}


def test_no_clips():
    assert shared_groups([]) == []
    assert assign_splits([], [], [], 0.1, 0.1, 0) == []


def test_hashes_feel_a_milliradian_but_not_a_rounding_error():
    motion = make_motion("wave", 10, seed=0)
    hashes = frame_hashes(motion)
    other = Motion(motion.poses + np.float32(2e-3), motion.trans)
    assert not set(frame_hashes(other)) & set(hashes)
    assert len(hashes) == 10


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffling_is_by_name(seed):
    names = [f"n{k}" for k in range(10)]
    order = shuffled(names, seed)
    assert sorted(order) == list(range(10)) and order != list(range(10))
    back = shuffled(names[::-1], seed)
    assert [names[k] for k in order] == [names[::-1][k] for k in back]


def test_thinned_hashes_still_tell_clips_that_share_frames():
    """A quarter of all poses is enough, with a quarter of the frames in common asked for."""
    long = make_motion("run", 200, seed=0)
    clips = [long.crop(0, 120), make_motion("walk", 120, seed=1), long.crop(80, 200)]
    hashes = [frame_hashes(clip) for clip in clips]
    kept, factor = thinned(iter(hashes), most=100)
    assert factor == 4 and sum(map(len, kept)) <= 100
    assert all(set(few) <= set(all_) for few, all_ in zip(kept, hashes, strict=True))
    assert shared_groups(kept, 8 // factor) == [0, 1, 0]
    whole, factor = thinned(iter(hashes), most=1000)
    assert factor == 1 and all(np.array_equal(a, b) for a, b in zip(whole, hashes, strict=True))


def test_thinned_hashes_let_go_of_what_was_read_with_them():
    """They held every clip's poses: prepare took as much memory as its data."""
    read = np.zeros(1000, np.uint64)
    kept, factor = thinned(iter([read[-10:]]))
    assert factor == 1 and len(kept[0]) == 10
    assert not np.shares_memory(kept[0], read)
