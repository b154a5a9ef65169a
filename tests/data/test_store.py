"""The store: written whole or not at all, opened only when it is what its manifest says."""

import json
import os
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest

from data.actions import own_label
from data.store import StoreHeader, find_store, open_store, read_manifest
from data.store_writer import StoreWriter
from data.synthetic import make_motion, make_store
from models.errors import PoseGPTError
from models.motion import Motion

LABELS = ("walk", "bow")
ARRAYS = ("poses.npy", "trans.npy", "starts.npy", "lengths.npy", "labels.npy")


def write(path: Path, motions: list[Motion], split: str = "train", **options) -> Path:
    settings = options.pop("settings", {})
    header = StoreHeader(split=split, body_type="smpl", fps=30, label_names=LABELS, settings=settings)
    with StoreWriter(path, header, **options) as writer:
        for k, motion in enumerate(motions):
            writer.add(motion, f"file{k}.bvh")
    return path


@pytest.fixture
def motions() -> list[Motion]:
    return [make_motion("walk", 5, 1), make_motion("bow", 7, 2), make_motion("walk", 3, 3)]


def test_clips_come_back(tmp_path, motions):
    store = open_store(write(tmp_path / "s", motions, settings={"seed": 3}))
    assert len(store) == 3 and store.label_names == LABELS
    assert store.lengths.tolist() == [5, 7, 3] and store.starts.tolist() == [0, 5, 12]
    assert store.labels.tolist() == [[True, False], [False, True], [True, False]]
    assert store.clips[1] == {"name": "bow_002", "source": "file1.bvh", "label": "bow"}
    m = store.manifest
    assert (m.split, m.body_type, m.fps, m.n_clips, m.n_frames) == ("train", "smpl", 30.0, 3, 15)
    assert m.settings == {"seed": 3} and m.format_version == 1
    for k, motion in enumerate(motions):
        back = store.motion(k)
        np.testing.assert_array_equal(back.poses, motion.poses)
        np.testing.assert_array_equal(back.trans, motion.trans)
        assert (back.labels, back.name, back.fps) == (motion.labels, motion.name, 30.0)
    store.verify()


def test_arrays_are_read_only_maps(tmp_path, motions):
    store = open_store(write(tmp_path / "s", motions))
    assert isinstance(store.poses, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.poses[0, 0] = 1


def test_a_pickled_store_is_its_path(tmp_path, motions):
    store = open_store(write(tmp_path / "s", motions))
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).poses, store.poses)


def test_the_fingerprint_is_of_the_content(tmp_path, motions):
    prints = [
        open_store(write(tmp_path / name, chosen, **options)).manifest.fingerprint
        for name, chosen, options in (
            ("a", motions, {}),
            ("b", motions, {"settings": {"where": "else"}}),
            ("c", motions[:2], {}),
            ("d", motions, {"split": "val"}),
        )
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_an_empty_store_opens(tmp_path):
    store = open_store(write(tmp_path / "s", []))
    assert len(store) == 0 and store.poses.shape == (0, 72)
    store.verify()


def test_a_failed_block_leaves_nothing(tmp_path, motions):
    path = tmp_path / "a" / "s"
    writer = StoreWriter(path, StoreHeader(split="train", body_type="smpl", fps=30, label_names=LABELS))
    with pytest.raises(KeyboardInterrupt), writer:
        writer.add(motions[0])
        assert not path.exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_no_store(tmp_path, motions, monkeypatch):
    path = write(tmp_path / "s", motions)
    path.rename(tmp_path / ".s.0123456789ab.partial")
    with pytest.raises(PoseGPTError, match="no prepared data"):
        find_store(tmp_path, "train")
    monkeypatch.setattr("models.leftovers._swept", set())  # as in the next process, which sweeps it away
    write(tmp_path / "s", motions[:1])
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_existing_stores_are_replaced_only_by_force(tmp_path, motions):
    write(tmp_path / "s", motions)
    with pytest.raises(PoseGPTError, match="exists already"):
        write(tmp_path / "s", motions[:1])
    old = open_store(tmp_path / "s")
    write(tmp_path / "s", motions[:1], force=True)
    assert len(open_store(tmp_path / "s")) == 1
    np.testing.assert_array_equal(old.poses[5:12].ravel(), motions[1].poses.ravel())  # its maps stay readable
    with pytest.raises(PoseGPTError, match="changed since it was opened"):
        old.motion(1)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (make_motion("walk", 3, fps=25), "smpl at 25 fps, expected smpl at 30 fps"),
        (make_motion("walk", 3).to_body_type("smplh"), "smplh at 30 fps"),
        (make_motion("squat", 3), r"outside the vocabulary: \['squat'\]"),
    ],
)
def test_clips_that_do_not_fit_are_refused(tmp_path, clip, message):
    with pytest.raises(PoseGPTError, match=message):
        write(tmp_path / "s", [clip])
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", [*ARRAYS, "clips.json"])
def test_a_flipped_byte_is_found_by_verify(tmp_path, motions, name):
    path = write(tmp_path / "s", motions)
    content = bytearray((path / name).read_bytes())
    # Of a number the lowest byte, so that clips still lie within the frames: else the store does not open.
    content[-8 if name in ("starts.npy", "lengths.npy") else -3] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(PoseGPTError, match=f"{name} is damaged|beyond its"):
        open_store(path).verify()


@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_and_missing_arrays_do_not_open(tmp_path, motions, name):
    path = write(tmp_path / "s", motions)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-4])
    with pytest.raises(PoseGPTError, match=rf"{name} has {len(content) - 4} bytes, expected {len(content)}"):
        open_store(path)
    (path / name).unlink()
    with pytest.raises(PoseGPTError, match=f"cannot read .*{name}"):
        open_store(path)


def edit_manifest(path: Path, **changes) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def test_arrays_of_objects_are_refused(tmp_path, motions):
    """An object array is a pickle: loading one could run anybody's code."""

    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").write_text, ("boo",))

    path = write(tmp_path / "s", motions)
    np.save(path / "labels.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    files = json.loads((path / "manifest.json").read_text())["files"]
    files["labels.npy"]["bytes"] = (path / "labels.npy").stat().st_size
    edit_manifest(path, files=files)
    with pytest.raises(PoseGPTError, match=r"labels.npy is no plain array"):
        open_store(path)
    assert not (tmp_path / "sprung").exists()


def test_a_file_named_outside_the_store_is_not_followed(tmp_path, motions):
    path = write(tmp_path / "s", motions)
    files = json.loads((path / "manifest.json").read_text())["files"]
    del files["poses.npy"]
    edit_manifest(path, files=files)
    with pytest.raises(PoseGPTError, match=r"names no poses.npy"):
        open_store(path)


def test_shapes_must_be_the_manifests(tmp_path, motions):
    path = write(tmp_path / "s", motions)
    np.save(path / "trans.npy", np.zeros((15, 3), "<i4"))  # as many bytes as before
    with pytest.raises(PoseGPTError, match=r"holds <i4 \(15, 3\), expected <f4 \(15, 3\)"):
        open_store(path)


def test_counts_must_fit_the_arrays(tmp_path, motions):
    path = write(tmp_path / "s", motions)
    edit_manifest(path, n_frames=14)
    with pytest.raises(PoseGPTError, match=r"poses has shape \(15, 72\), expected \(14, 72\)"):
        open_store(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "store format 99, expected at most 2"),
        ({"format": "zip"}, "no store's manifest"),
        ({"body_type": "cat"}, "no store's manifest"),
        ({"surprise": 1}, "no store's manifest"),
    ],
)
def test_foreign_manifests(tmp_path, motions, changes, message):
    path = write(tmp_path / "s", motions)
    edit_manifest(path, **changes)
    with pytest.raises(PoseGPTError, match=message):
        open_store(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 200_000])
def test_damaged_manifests(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(PoseGPTError):
        read_manifest(tmp_path)
    with pytest.raises(PoseGPTError):
        find_store(tmp_path, "train")


def test_clips_must_tile_the_frames(tmp_path, motions):
    from data.store_writer import _array_info

    path = write(tmp_path / "s", motions)
    np.save(path / "starts.npy", np.array([0, 4, 12]))
    files = json.loads((path / "manifest.json").read_text())["files"]
    files["starts.npy"] = _array_info(path / "starts.npy").model_dump()
    edit_manifest(path, files=files)
    with pytest.raises(PoseGPTError, match="do not tile"):
        open_store(path).verify()


def test_finding(tmp_path, motions):
    root = make_store(tmp_path / "one", n_clips=18)
    assert find_store(root, "val") == root / "smpl" / "synthetic" / "val"
    assert find_store(root / "smpl" / "synthetic" / "val", "val", "smpl").name == "val"
    with pytest.raises(
        PoseGPTError, match=r"no prepared smplx data with split 'val'.* only smpl test, smpl train"
    ):
        find_store(root, "val", "smplx")
    with pytest.raises(PoseGPTError, match="only smpl val"):
        find_store(root / "smpl" / "synthetic" / "val", "train")
    make_store(tmp_path / "two", n_clips=18)
    with pytest.raises(
        PoseGPTError, match=r"2 prepared data sets with split val: one/smpl.*two/smpl"
    ) as caught:
        find_store(tmp_path, "val")
    assert str(tmp_path / "one" / "smpl" / "synthetic" / "val") in caught.value.hint
    with pytest.raises(PoseGPTError, match="no folder") as caught:
        find_store(tmp_path / "three", "val")
    assert "posegpt prepare" in caught.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseGPTError, match="no prepared data") as caught:
        find_store(tmp_path / "empty", "val")
    assert "posegpt prepare" in caught.value.hint


def test_variants_of_babel_are_told_apart_by_the_path_of_one(tmp_path, motions):
    cuts = ("seqLen64_fps30", "seqLen900_fps30")
    for cut in cuts:
        for split in ("train", "val"):
            write(tmp_path / "smpl" / "babel_trimmed" / f"{split}_60" / cut, motions, split)
    with pytest.raises(
        PoseGPTError, match=r"2 prepared smpl data sets .*seqLen64_fps30, .*seqLen900"
    ) as caught:
        find_store(tmp_path, "train", "smpl")
    assert str(tmp_path / "smpl" / "babel_trimmed" / "train_60" / cuts[0]) in caught.value.hint
    for cut in cuts:
        one = tmp_path / "smpl" / "babel_trimmed" / "train_60" / cut
        assert find_store(one, "train") == one
        assert find_store(one, "val", "smpl") == one.parents[1] / "val_60" / cut
    with pytest.raises(PoseGPTError, match="only smpl train"):
        find_store(one, "test")


def test_other_programs_manifests_are_passed_over(tmp_path, motions):
    write(tmp_path / "data" / "s", motions)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "a web app"}')
    assert find_store(tmp_path, "train") == tmp_path / "data" / "s"


def test_a_clips_own_name_comes_first_and_is_kept(tmp_path):
    motions = [
        Motion(np.zeros((4, 24, 3)), np.zeros((4, 3)), labels=labels, name=str(k))
        for k, labels in enumerate([("walk", "bow"), ("bow", "walk"), ("style:old",), ()])
    ]
    path = tmp_path / "named"
    vocabulary = ("bow", "walk", "style:old")
    header = StoreHeader(split="val", body_type="smpl", fps=30, label_names=vocabulary)
    with StoreWriter(path, header) as writer:
        for motion in motions:
            writer.add(motion)
    store = open_store(path)
    assert store.own_labels.tolist() == [1, 0, -1, -1]
    assert [store.motion(k).labels for k in range(4)] == [m.labels for m in motions]
    assert store.own_names == ()  # each is the name of one clip alone


@pytest.mark.parametrize(
    ("labels", "own"),
    [
        (("walk", "forward movement", "style:old"), "walk"),
        (("walk", "turn", "walk-turn-left"), "walk-turn-left"),
        (("exercise/training", "squat"), "squat"),
        (("style:old",), None),
    ],
)
def test_own_name_of_a_clip_of_an_older_store(labels, own):
    assert own_label(labels) == own


def edit(path, name, content):
    """A store one of whose files is another, as its manifest says: only its meaning is wrong."""
    file = path / name
    if isinstance(content, np.ndarray):
        np.save(file, content)
    else:
        file.write_text(json.dumps(content))
    manifest = json.loads((path / "manifest.json").read_text())
    about = manifest["files"][name]
    about["bytes"] = file.stat().st_size
    if isinstance(content, np.ndarray):
        about["dtype"] = content.dtype.str
        about["shape"] = content.shape
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("starts.npy", lambda a: a.astype(float), "expected <i8"),
        ("lengths.npy", lambda a: a + 2**40, "reach beyond"),
        ("lengths.npy", lambda a: a + 2**62, "reach beyond"),
        ("lengths.npy", lambda a: a * 0, "reach beyond"),
        ("starts.npy", lambda a: a - 1, "reach beyond"),
        ("poses.npy", lambda a: a.astype(">f4"), "expected <f4"),
        ("trans.npy", lambda a: a.astype(complex), "expected <f4"),
        ("labels.npy", lambda a: a.astype(int), "expected |b1"),
    ],
)
def test_arrays_of_another_type_or_out_of_range_are_refused(tmp_path, motions, name, change, message):
    """Faults 11: float starts, lengths 2^40, big-endian arrays ended in internal errors."""
    path = write(tmp_path / "s", motions)
    edit(path, name, change(np.load(path / name)))
    with pytest.raises(PoseGPTError, match=re.escape(message)):
        open_store(path)


@pytest.mark.parametrize("clips", [[{}], {}, [1], [{"name": 1, "source": ""}], [{"name": "a"}], None])
def test_clips_without_names_are_refused(tmp_path, motions, clips):
    path = write(tmp_path / "s", motions[:1])
    edit(path, "clips.json", clips)
    with pytest.raises(PoseGPTError, match="clip"):
        _ = open_store(path).clips


def test_devices_in_a_store_are_not_read(tmp_path, motions):
    """Faults 11: clips.json -> /dev/zero was read until the memory was full."""
    path = write(tmp_path / "s", motions)
    for name in ("clips.json", "poses.npy", "manifest.json"):
        (path / name).rename(path / "whole")
        (path / name).symlink_to("/dev/zero")
        with pytest.raises(PoseGPTError, match="no regular file"):
            _ = open_store(path).clips
        with pytest.raises(PoseGPTError):
            open_store(path).verify()
        (path / name).unlink()
        (path / "whole").rename(path / name)


@pytest.mark.parametrize(
    "key, value", [("fps", 0), ("fps", float("inf")), ("n_frames", -1), ("n_clips", 2**70)]
)
def test_numbers_of_a_manifest_out_of_range_are_refused(tmp_path, motions, key, value):
    path = write(tmp_path / "s", motions)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(PoseGPTError, match=key):
        open_store(path)


def test_verify_reads_nothing_that_no_store_has(tmp_path, motions):
    path = write(tmp_path / "s", motions)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["../../secret"] = manifest["files"]["clips.json"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PoseGPTError, match="which no store has"):
        open_store(path).verify()


def test_force_leaves_what_is_not_ours(tmp_path, motions):
    """Faults 2: --force deleted notes inside a store, and a folder that was none."""
    path = write(tmp_path / "s", motions)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(PoseGPTError, match=r"holds notes\.txt"):
        write(tmp_path / "s", motions, force=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(PoseGPTError, match="is not a data set"):
        write(tmp_path / "thesis", motions, force=True)
    assert (path / "notes.txt").read_text() == (tmp_path / "thesis" / "thesis.txt").read_text() == "mine"


def test_a_store_is_old_or_new_while_it_is_replaced(tmp_path, motions):
    """Faults 6: a reader found none between two renamings, or the manifest of one and arrays of the other."""
    path = write(tmp_path / "s", motions)
    child = os.fork()
    if child == 0:
        for k in range(60):
            write(tmp_path / "s", motions[: 1 + k % len(motions)], force=True)
            time.sleep(0.01)
        os._exit(0)
    seen = set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        seen.add(len(open_store(path)))
    assert seen <= set(range(1, len(motions) + 1))


def test_a_store_in_the_place_and_under_the_number_of_another_is_opened_anew(tmp_path, motions, monkeypatch):
    """A file system gives out the number of a deleted folder again, to a store that replaces it."""
    path, other = write(tmp_path / "s", motions), write(tmp_path / "other", motions[:1])

    def read_and_replace(folder):
        manifest = read_manifest(folder)
        if other.exists():
            path.rename(tmp_path / "away")
            for file in other.iterdir():
                file.replace(tmp_path / "away" / file.name)
            other.rmdir()
            (tmp_path / "away").rename(path)
        return manifest

    monkeypatch.setattr("data.store.read_manifest", read_and_replace)
    assert len(open_store(path)) == 1
