"""From a folder of BVH files to stores."""

import itertools
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.preparing.conversion import convert
from data.preparing.prepare import plan, prepare, random_windows
from data.preparing.report import group_reasons
from data.preparing.settings import PrepareSettings
from data.preparing.work_folder import _context
from data.store import find_store, open_store
from data.synthetic import make_motion
from models.errors import PoseGPTError, SettingsError
from tests.data.recordings import write_bandai


def record(folder: Path, names: list[str], first_seed: int = 0) -> Path:
    """Bandai-like recordings, each of its own motion."""
    for k, name in enumerate(names):
        write_bandai(folder / f"{name}.bvh", make_motion("walk", 20 + k % 3, seed=first_seed + k))
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Ten walks, a bow and a bye in the Bandai set's names, two walks from one recording; some wrecks."""
    folder = tmp_path_factory.mktemp("bandai")
    record(folder / "one", [f"dataset-2_walk_normal_{k:03d}" for k in range(8)])
    record(folder / "two", ["dataset-1_bow_old_001", "dataset-1_bye_happy_001"], first_seed=50)
    long = make_motion("run", 50, seed=99)
    write_bandai(folder / "two" / "dataset-2_walk_old_101.bvh", long.crop(0, 30))
    write_bandai(folder / "dataset-2_walk_old_102.bvh", long.crop(15, 50))
    whole = (folder / "two" / "dataset-2_walk_old_101.bvh").read_text()
    (folder / "cut.bvh").write_text(whole[: len(whole) // 2])
    (folder / "nan.BVH").write_text(whole.replace("-0.242716", "nan", 1))
    (folder / "empty.bvh").write_text("")
    (folder / "notes.txt").write_text("not read")
    return folder


@pytest.fixture(scope="module")
def prepared(recordings, tmp_path_factory):
    seen = []
    out = tmp_path_factory.mktemp("prepared")
    made = prepare(PrepareSettings(bvh=recordings, out=out), lambda *now: seen.append(now))
    return out, made, seen


def test_every_file_is_a_clip_or_has_its_reason(prepared):
    _, made, seen = prepared
    assert sum(split.clips for split in made.splits.values()) == 12
    reasons = dict(made.skipped)
    assert set(reasons) == {"cut.bvh", "nan.BVH", "empty.bvh"}
    assert "truncated" in reasons["cut.bvh"] and "empty" in reasons["empty.bvh"]
    assert [done for done, _, _ in seen] == list(range(1, 16))
    assert {total for _, total, _ in seen} == {15}


def test_the_stores_hold_what_the_report_says(prepared):
    out, made, _ = prepared
    for split, folder in made.folders.items():
        assert folder == out / "smpl" / "mocap" / split == find_store(out, split, "smpl")
        store = open_store(folder)
        store.verify()
        assert (len(store), store.manifest.n_frames) == (made.splits[split].clips, made.splits[split].frames)
        assert store.manifest.split == split and store.manifest.fps == 30.0
        assert store.label_names == tuple(made.labels)
        for k in range(len(store)):
            for name in store.clip_labels(k):
                assert made.labels[name][split].clips > 0
    assert sorted(p.name for p in (out / "smpl" / "mocap").iterdir()) == ["test", "train", "val"]


def test_bandai_labels_cover_babel_categories(prepared):
    _, made, _ = prepared
    assert sum(s.clips for s in made.labels["wave"].values()) == 1  # the bye
    assert sum(s.clips for s in made.labels["forward movement"].values()) == 10
    assert sum(s.frames for s in made.labels["style:happy"].values()) > 0
    # BABEL's by rank, then own names, then styles
    assert tuple(made.labels)[:2] == ("walk", "hand movements") and tuple(made.labels)[-1] == "style:old"


def test_walks_are_in_all_splits_and_rare_labels_in_train(prepared):
    _, made, _ = prepared
    assert all(made.labels["walk"][split].clips > 0 for split in ("train", "val", "test"))
    assert made.labels["bow"]["train"].clips == 1


def test_clips_that_share_frames_share_a_split(prepared):
    out, made, _ = prepared
    assert made.shared == (("dataset-2_walk_old_102", "dataset-2_walk_old_101"),)
    homes = {
        clip["name"]: split for split in made.folders for clip in open_store(find_store(out, split)).clips
    }
    assert homes["dataset-2_walk_old_101"] == homes["dataset-2_walk_old_102"]
    assert len(homes) == 12


def test_a_clip_is_the_retargeted_file(prepared, recordings):
    from data.formats.load import read_motion

    out, _, _ = prepared
    store = open_store(find_store(out, "train"))
    for k in range(2):
        motion, clip = store.motion(k), store.clips[k]
        assert Path(clip["source"]).stem == clip["name"]
        np.testing.assert_array_equal(motion.poses, read_motion(recordings / clip["source"]).poses)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_jobs_make_the_same_stores(prepared, recordings, tmp_path, monkeypatch, method):
    _, made, _ = prepared
    monkeypatch.setattr("data.preparing.work_folder._context", lambda: multiprocessing.get_context(method))
    again = prepare(PrepareSettings(bvh=recordings, out=tmp_path, jobs=2))
    assert again.skipped == made.skipped and again.splits == made.splits
    for split, folder in made.folders.items():
        one, two = open_store(folder).manifest, open_store(again.folders[split]).manifest
        assert one.fingerprint == two.fingerprint


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_a_process_with_threads_is_not_forked(monkeypatch):
    """A thread may hold a lock at that moment, which its copy would hold forever."""
    for threads, method in ((1, "fork"), (2, "spawn")):
        monkeypatch.setattr("threading.active_count", lambda threads=threads: threads)
        assert _context().get_start_method() == method


def test_another_rate_is_resampled_by_time(tmp_path):
    write_bandai(tmp_path / "in" / "a.bvh", make_motion("walk", 31, seed=0), frame_time="0.008333")  # 120 fps
    made = prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out", val_share=0, test_share=0))
    store = open_store(made.folders["train"])
    assert store.lengths.tolist() == [8]  # 30 / 120 s: frames at 0, 1/30 .. 7/30
    whole = open_store(
        prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "whole", fps=120)).folders["train"]
    )
    np.testing.assert_allclose(store.poses[3], whole.poses[12], atol=1e-5)
    np.testing.assert_allclose(store.trans[3], whole.trans[12], atol=1e-5)


def test_labels_from_a_table_and_clips_it_lacks(tmp_path):
    record(tmp_path / "in", ["a", "b", "c"])
    (tmp_path / "labels.csv").write_text("clip,labels\na,walk|happy\nb,walk\n")
    made = prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out", labels=tmp_path / "labels.csv"))
    assert {name: by["train"].clips for name, by in made.labels.items()} == {"walk": 2, "happy": 1}
    assert made.skipped == (("c.bvh", "no label by labels.csv"),)


def test_labels_from_file_names_and_from_folders(tmp_path):
    record(tmp_path / "in", ["jump_up_1", "jump_up_2", "spin_1"])
    by_name = prepare(
        PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "a", label_pattern=r"(?P<action>[a-z_]+)_\d")
    )
    assert set(by_name.labels) == {"jump_up", "spin"}
    (tmp_path / "in" / "spin").mkdir()
    (tmp_path / "in" / "spin_1.bvh").rename(tmp_path / "in" / "spin" / "1.bvh")
    by_folder = prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "b"))
    assert {name: by["train"].clips for name, by in by_folder.labels.items()} == {"spin": 1, "in": 2}


def test_files_of_the_same_name_keep_their_folders(tmp_path):
    record(tmp_path / "in" / "walk", ["1"])
    record(tmp_path / "in" / "run", ["1"], first_seed=1)
    made = prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out"))
    assert sorted(clip["name"] for clip in open_store(made.folders["train"]).clips) == ["run/1", "walk/1"]


def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path, recordings):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    wrong = {
        "no folder": PrepareSettings(bvh=tmp_path / "none", out=out),
        "no .bvh file": PrepareSettings(bvh=tmp_path / "empty", out=out),
        "cannot write": PrepareSettings(bvh=recordings, out=tmp_path / "file" / "x"),
        "given twice": PrepareSettings(bvh=recordings, out=out, labels=Path("l.csv"), label_pattern="x"),
        "no group named action": PrepareSettings(bvh=recordings, out=out, label_pattern="x"),
        "cannot read": PrepareSettings(bvh=recordings, out=out, labels=tmp_path / "none.csv"),
    }
    for message, settings in wrong.items():
        with pytest.raises(PoseGPTError, match=message):
            prepare(settings)
    assert not out.exists()


def test_nothing_usable_is_an_error_with_the_first_reason(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(PoseGPTError, match=r"none of the 1 files .* could be used; 1: it is cut off"):
        prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_existing_data_is_replaced_only_by_force(tmp_path):
    settings = PrepareSettings(bvh=record(tmp_path / "in", ["a"]), out=tmp_path / "out")
    first = prepare(settings)
    again = prepare(settings)
    assert again.is_earlier and (again.splits, again.labels, again.folders) == (
        first.splits, first.labels, first.folders,
    )  # fmt: skip
    record(tmp_path / "in", ["b"])
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(settings)
    made = prepare(settings.model_copy(update={"force": True}))
    assert made.splits["train"].clips == 2
    assert [p.name for p in (tmp_path / "out" / "smpl").iterdir()] == ["mocap"]


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_settings_are_validated(tmp_path, share):
    with pytest.raises(SettingsError, match="val_share"):
        PrepareSettings(bvh=tmp_path, out=tmp_path, val_share=share)


def test_interrupted_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """Ctrl-C in the middle: workers gone, no store; the next run converts only what is left."""
    record(tmp_path / "in", [f"c{k}" for k in range(40)])
    script = tmp_path / "run.py"
    script.write_text(
        "import json, sys; from pathlib import Path; from data.preparing.prepare import prepare\n"
        "from data.preparing.settings import PrepareSettings\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    s = PrepareSettings(bvh=folder / 'in', out=folder / 'out', jobs=2)\n"
        "    prepare(s, lambda d, n, name: print(json.dumps([d, n]), flush=True))\n"
    )
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())[1] == 40
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and b"KeyboardInterrupt" in errors
    deadline = time.monotonic() + 10
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(process.pid)
    [work] = (tmp_path / "out").iterdir()  # nothing but the work folder
    settings = PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out")
    assert work == settings.work_folder
    finished = plan(settings).finished
    assert 0 < finished < 40
    converted = []
    monkeypatch.setattr(
        "data.preparing.work_folder.convert", lambda task: converted.append(task) or convert(task)
    )
    made = prepare(settings)
    assert len(converted) == 40 - finished and sum(split.clips for split in made.splits.values()) == 40
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["smpl"]


def test_a_finished_file_that_lost_bytes_is_converted_again(tmp_path):
    record(tmp_path / "in", ["a", "b"])
    settings = PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out", shard="1/1")
    assert prepare(settings).converted == 2
    [log] = settings.work_folder.iterdir()
    content = bytearray(log.read_bytes())
    content[len(content) // 4] ^= 1
    log.write_bytes(content[:-9])
    merge = settings.model_copy(update={"shard": None, "merge": True})
    with pytest.raises(PoseGPTError, match="2 of 2 files are not converted yet"):
        prepare(merge)
    made = prepare(merge.model_copy(update={"merge": False}))
    assert made.splits["train"].clips == 2 and not made.skipped


def test_a_file_that_changed_is_converted_again(tmp_path):
    record(tmp_path / "in", ["a"])
    settings = PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out", shard="1/1")
    prepare(settings)
    record(tmp_path / "in", ["a"], first_seed=5)
    assert plan(settings).finished == 0


def test_splits_by_actor(tmp_path):
    record(tmp_path / "in", [f"walk_{who}_{k}" for who in "abcdef" for k in range(2)])
    made = prepare(
        PrepareSettings(
            bvh=tmp_path / "in", out=tmp_path / "out", actor_pattern=r"_(?P<actor>[a-f])_", val_share=0.2
        )
    )
    actors = {
        split: {clip["name"][5] for clip in open_store(folder).clips}
        for split, folder in made.folders.items()
    }
    assert [len(actors[split]) for split in ("train", "val", "test")] == [4, 1, 1]
    assert len(set.union(*actors.values())) == 6
    assert [made.splits[s].clips for s in ("train", "val", "test")] == [8, 2, 2]


def test_splits_by_a_list(tmp_path):
    long = make_motion("run", 50, seed=9)
    write_bandai(tmp_path / "in" / "a.bvh", long.crop(0, 30))
    write_bandai(tmp_path / "in" / "b.bvh", long.crop(15, 50))
    record(tmp_path / "in", ["c", "d"])
    (tmp_path / "splits.csv").write_text("clip,split\na,train\nb,test\nc,val\n")
    settings = PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out", split_list=tmp_path / "splits.csv")
    made = prepare(settings)
    names = {s: [clip["name"] for clip in open_store(folder).clips] for s, folder in made.folders.items()}
    assert names == {"train": ["a"], "val": ["c"], "test": ["b"]}
    assert made.skipped == (("d.bvh", "no split by splits.csv"),)
    assert made.torn == (("a", "b"),)
    (tmp_path / "splits.csv").write_text("clip,split\na,dev\n")
    with pytest.raises(PoseGPTError, match=r"puts a\.bvh into 'dev'"):
        prepare(settings)


def test_jumps_of_a_joint_are_mended_or_reported(tmp_path):
    motion = make_motion("walk", 30, seed=3)
    motion.poses[12, 18, 1] -= np.float32(np.deg2rad(100))  # one frame
    write_bandai(tmp_path / "in" / "mended.bvh", motion)
    motion.poses[20:, 18, 1] -= np.float32(np.deg2rad(100))  # for good
    write_bandai(tmp_path / "in" / "jumps.bvh", motion)
    made = prepare(PrepareSettings(bvh=tmp_path / "in", out=tmp_path / "out"))
    assert made.glitches == (("jumps.bvh", 1),)
    store = open_store(made.folders["train"])
    [k] = [k for k, clip in enumerate(store.clips) if clip["name"] == "mended"]
    elbow = store.motion(k).poses[:, 18]
    np.testing.assert_allclose(elbow[12], (elbow[11] + elbow[13]) / 2, atol=1e-3)


def test_a_seed_that_numpy_would_refuse_later_is_refused_at_once(tmp_path):
    with pytest.raises(SettingsError, match="seed"):
        PrepareSettings(bvh=tmp_path, out=tmp_path, seed=-1)


def test_random_windows_are_within_clips(tmp_path):
    made = prepare(PrepareSettings(bvh=record(tmp_path / "in", ["a", "b", "c"]), out=tmp_path / "out"))
    windows = random_windows(list(made.folders.values()), 5, seq_len=8, seed=1)
    assert [w.n_frames for w in windows] == [8, 8, 8] and {w.name for w in windows} == {"a", "b", "c"}


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_was_put_right_while_reading_is_in_the_report(tmp_path):
    """A walk with Y up and its translation in centimetres among AMASS's; an interrupted run says it too."""
    motion = make_motion("walk", 60, seed=3)
    (tmp_path / "in" / "walk").mkdir(parents=True)
    for name in ("a", "b"):
        np.savez(
            tmp_path / "in" / "walk" / f"{name}.npz", poses=motion.poses.reshape(60, 72), fps=30,
            trans=motion.trans * 100,
        )  # fmt: skip
    settings = PrepareSettings(amass=tmp_path / "in", out=tmp_path / "out")
    prepare(settings.model_copy(update={"shard": "1/2"}))
    report = prepare(settings)
    groups = group_reasons(report.notes)
    assert [group.files for group in groups] == [("walk/a.npz", "walk/b.npz")] * 2
    assert {group.reason for group in groups} == {
        "y is up in the file, by how the person stands", "its translation is in centimetres",
    }  # fmt: skip
    store = open_store(report.folders["train"])
    np.testing.assert_allclose(store.motion(0).trans, motion.trans, atol=2e-3)


def test_a_dry_run_says_what_will_be_left_out_by_the_headers(recordings, tmp_path):
    """Only what the values themselves hide is found later."""
    planned = plan(PrepareSettings(bvh=recordings, out=tmp_path / "out"))
    assert set(dict(planned.skipped)) == {"empty.bvh", "nan.BVH"}  # cut.bvh is cut in its values
    (tmp_path / "in" / "walk").mkdir(parents=True)
    foreign = (recordings / "dataset-2_walk_old_102.bvh").read_text()
    numbers = itertools.count()
    foreign = re.sub(r"JOINT \w+", lambda match: f"JOINT part{next(numbers)}", foreign)
    foreign = re.sub(r"OFFSET .*", "OFFSET 0 0 1", foreign)
    (tmp_path / "in" / "walk" / "robot.bvh").write_text(foreign)
    np.savez(tmp_path / "in" / "walk" / "a.npz", markers=np.zeros((3, 3)))
    (tmp_path / "in" / "walk" / "b.npz").write_bytes(b"nothing")
    planned = plan(PrepareSettings(bvh=tmp_path / "in", amass=tmp_path / "in", out=tmp_path / "out"))
    reasons = dict(planned.skipped)
    assert set(reasons) == {"walk/robot.bvh", "walk/a.npz", "walk/b.npz"}
    assert "not known" in reasons["walk/robot.bvh"] or "no skeleton" in reasons["walk/robot.bvh"]
    assert "no 'poses'" in reasons["walk/a.npz"] and "cannot be read" in reasons["walk/b.npz"]
    assert not (tmp_path / "out").exists()
