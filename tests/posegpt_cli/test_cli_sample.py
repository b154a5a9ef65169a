"""`posegpt sample` and `posegpt render`: what is written, what is refused before any work, what is said."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from data.load import read_motion

QUICK = ("--len", 4, "--device", "cpu", "--renderer", "skeleton", "--size", "64x64")


@pytest.fixture
def sample(posegpt, small_generator):
    def run(*words):
        return posegpt("sample", "--gpt", small_generator, *QUICK, *words)

    return run


@pytest.fixture
def no_torch_work(monkeypatch):
    """Fail as soon as a generator is loaded: what is refused must be refused before."""
    import models.generate

    def load(*args, **kwargs):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(models.generate, "load_generator", load)


def test_several_outputs_of_one_motion(sample, tmp_path):
    outs = [tmp_path / f"walk{suffix}" for suffix in (".mp4", ".gif", ".png", ".npz")]
    ran = sample("--action", "walk", *(word for out in outs for word in ("--out", out)))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(out) for out in outs]
    assert all(out.stat().st_size > 500 for out in outs)
    assert ran.err.splitlines()[-1].startswith("next: posegpt render")


def test_several_motions_are_numbered_and_keep_their_seeds(sample, tmp_path):
    ran = sample("--action", "run", "-n", 3, "--seed", 5, "--out", tmp_path / "run.npz", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert [Path(file).name for file in report["files"]] == ["run_00.npz", "run_01.npz", "run_02.npz"]
    assert sample("--action", "run", "--seed", 6, "--out", tmp_path / "alone.npz").code == 0
    together, alone = read_motion(tmp_path / "run_01.npz"), read_motion(tmp_path / "alone.npz")
    np.testing.assert_allclose(together.poses, alone.poses, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    for name in ("a", "b"):
        assert sample("--action", "walk", "--seed", 3, "--out", tmp_path / f"{name}.npz").code == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_labels_length_and_sampling_reach_the_generator(posegpt, small_generator, tmp_path, monkeypatch):
    import models.generate

    asked = {}
    real = models.generate.sample

    def spy(generator, labels, n_frames, n, seed, how, report):
        asked.update(asdict(how), labels=labels, n_frames=n_frames, n=n, seed=seed)
        return real(generator, labels, 4, n, seed, how, report)

    monkeypatch.setattr(models.generate, "sample", spy)
    ran = posegpt(
        "sample", "--gpt", small_generator, "--action", "Walk", "--action", "wave", "--style", "elderly",
        "--len", "2.5s", "--seed", 9, "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9, "--min-p", 0.01,
        "--guidance", 2, "--greedy", "--out", tmp_path / "a.npz", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert asked == {
        "labels": ["walk", "wave", "style:elderly"], "n_frames": 75, "n": 1, "seed": 9, "temperature": 0.5,
        "top_k": 3, "top_p": 0.9, "min_p": 0.01, "guidance": 2.0, "greedy": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["--action", "wlak"], 1, "wlak", "did you mean 'walk'"),
        (["--action", "walk", "--style", "eldrly"], 1, "eldrly", "elderly"),
        ([], 2, "--action is missing, expected one of: walk, run, wave", "--action 'walk'"),
        (["--action", "walk", "--len", "long"], 2, "--len", "--len 64"),
        (["--action", "walk", "--size", "65x64", "--out", "a.mp4"], 2, "even", "--size 66x64"),
        (["--action", "walk", "--out", "a.avi"], 2, ".avi", ".mp4"),
        (["--action", "walk", "--out", "a.npz", "--out", "a.npz"], 2, "twice", ""),
        (["--action", "walk", "--out", "here.npz"], 1, "exists already", "--force"),
        (["--action", "walk", "--out", "here.npz/a.npz"], 1, "cannot write", "may write"),
        (["--action", "walk", "--out", "/proc/a.npz"], 1, "cannot write", "may write"),
        (["--action", "walk", "--out", "folder.npz"], 2, "is a folder", ""),
        (["--action", "walk", "--gpt", "text.txt"], 1, "text.txt is a file", "posegpt train gpt"),
        (["--action", "walk", "--gpt", "nowhere"], 1, "nowhere does not exist", "posegpt train gpt"),
    ],
)
def test_refused_before_the_work(sample, no_torch_work, tmp_path, monkeypatch, words, code, message, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.npz").write_text("mine")
    (tmp_path / "text.txt").write_text("no checkpoint")
    (tmp_path / "folder.npz").mkdir()
    ran = sample(*words)
    assert ran.code == code, ran.err
    first, second = ran.err.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("hint: ") and hint in second
    assert (tmp_path / "here.npz").read_text() == "mine"


def test_force_replaces(sample, tmp_path):
    out = tmp_path / "a.npz"
    out.write_text("old")
    assert sample("--action", "walk", "--out", out, "--force").code == 0
    assert read_motion(out).n_frames == 4


def test_yes_takes_the_default_action(sample, tmp_path):
    ran = sample("--yes", "--out", tmp_path / "a.npz", "--json")
    assert json.loads(ran.out)["labels"] == ["walk"]


def test_body_models_of_the_environment_are_used(sample, tmp_path, monkeypatch):
    monkeypatch.setenv("POSEGPT_BODY_MODELS", str(tmp_path / "smpl"))
    ran = sample("--action", "walk", "--out", tmp_path / "a.mp4")
    assert ran.code == 1
    assert str(tmp_path / "smpl") in ran.err
    assert not (tmp_path / "a.mp4").exists()


def test_render_converts_what_sample_wrote(sample, posegpt, tmp_path):
    assert sample("--action", "walk", "--out", tmp_path / "a.npz").code == 0
    ran = posegpt(
        "render", tmp_path / "a.npz", "--out", tmp_path / "a.gif", "--renderer", "skeleton", "--size", "64x64"
    )
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(tmp_path / "a.gif")]
    assert (tmp_path / "a.gif").read_bytes()[:3] == b"GIF"


def test_render_reads_bvh(posegpt, bvh_folder, tmp_path):
    source = sorted(bvh_folder.iterdir())[0]
    ran = posegpt("render", source, "--out", tmp_path / "a.npz", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["files"] == [str(tmp_path / "a.npz")]
    np.testing.assert_allclose(
        read_motion(tmp_path / "a.npz").poses[:, :22], read_motion(source).poses[:, :22], atol=1e-4
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.npz", "--out", "a.gif"], 1, "nowhere.npz"),
        (["text.txt", "--out", "a.gif"], 1, "text.txt"),
        (["text.txt"], 2, "--out"),
        (["--out", "a.gif"], 2, "MOTION"),
    ],
)
def test_render_refuses_in_two_lines(posegpt, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("no motion")
    ran = posegpt("render", *words)
    assert ran.code == code
    assert len(ran.err.splitlines()) == 2 and said in ran.err
    assert not (tmp_path / "a.gif").exists()


def test_several_motions_share_a_picture_and_not_a_file_of_numbers(posegpt, bvh_folder, tmp_path):
    sources = sorted(bvh_folder.iterdir())[:2]
    outs = ("--out", tmp_path / "both.png", "--out", tmp_path / "each.npz")
    ran = posegpt("render", *sources, *outs, "--renderer", "skeleton", "--size", "128x64")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.png", "each_00.npz", "each_01.npz"]
    assert read_motion(tmp_path / "each_01.npz").n_frames == read_motion(sources[1]).n_frames
