"""`posegpt forecast`: the past comes back as given, futures side by side, what is refused and said."""

import json
import shlex

import numpy as np
import pytest

from data.formats.load import read_motion
from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion

QUICK = ("--device", "cpu", "--renderer", "skeleton", "--size", "64x64")


@pytest.fixture
def forecast(posegpt, small_generator):
    def run(*words):
        return posegpt("forecast", *words, "--gpt", small_generator, *QUICK)

    return run


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """AMASS file with 40 frames of a walk at 30 frames a second."""
    path = tmp_path_factory.mktemp("past") / "past.npz"
    write_smpl_npz(path, make_motion("walk", 40, seed=1))
    return path


def test_the_last_frames_of_the_past_come_first(forecast, past, tmp_path):
    words = (
        "--past-frames",
        16,
        "--action",
        "Run",
        "--len",
        10,
        "-n",
        2,
        "--out",
        tmp_path / "f.npz",
        "--json",
    )
    ran = forecast(past, *words)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert [report[key] for key in ("labels", "past_frames", "frames")] == [["run"], 16, 26]
    assert report["files"] == [str(tmp_path / "f_00.npz"), str(tmp_path / "f_01.npz")]
    futures, given = [read_motion(file) for file in report["files"]], read_motion(past)
    for future in futures:
        np.testing.assert_allclose(future.poses[:16], given.poses[-16:], atol=1e-5)
        np.testing.assert_allclose(future.trans[:16], given.trans[-16:], atol=1e-5)
    assert not np.allclose(futures[0].poses[16:], futures[1].poses[16:], atol=1e-3)


def test_until_says_where_the_future_begins(forecast, past, tmp_path):
    out = tmp_path / "f.npz"
    ran = forecast(past, "--until", "1s", "--past-frames", 4, "--len", "0.2s", "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["labels"] == []
    motion = read_motion(out)
    assert motion.n_frames == 10
    np.testing.assert_allclose(motion.poses[:4], read_motion(past).poses[26:30], atol=1e-5)


def test_frames_are_counted_at_the_generators_rate(forecast, bvh_folder, tmp_path):
    from data.formats.bvh import write_bvh
    from data.retargeting.body_motion import REST_JOINTS

    fast = make_motion("wave", 40, seed=0).resample(120.0)
    rest_joints = np.concatenate([REST_JOINTS, REST_JOINTS[20:22] * 1.1])
    write_bvh(tmp_path / "fast.bvh", fast, rest_joints)
    ran = forecast(tmp_path / "fast.bvh", "--len", 2, "--out", tmp_path / "f.npz", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["past_frames"], report["frames"], report["fps"]) == (40, 42, 30.0)


def test_a_picture_shows_all_futures_the_past_in_its_own_colour(forecast, past, tmp_path, monkeypatch):
    import posegpt_cli.options.targets

    drawn = {}

    def spy(motions, path, options, report):
        drawn[path.name] = (len(motions), options)
        return real(motions, path, options, report)

    real = posegpt_cli.options.targets.save_motion
    monkeypatch.setattr(posegpt_cli.options.targets, "save_motion", spy)
    outs = ("--out", tmp_path / "f.mp4", "--out", tmp_path / "f.npz")
    ran = forecast(past, "--past-frames", 3, "--len", 3, "-n", 2, "--seed", 5, *outs)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(tmp_path / name) for name in ("f.mp4", "f_00.npz", "f_01.npz")]
    n_motions, options = drawn["f.mp4"]
    assert (n_motions, options.past_frames, options.titles) == (2, 3, ("seed 5", "seed 6"))
    assert drawn["f_01.npz"][0] == 1


def test_what_follows_can_be_typed(forecast, posegpt, past, tmp_path):
    words = ("--until", 20, "--past-frames", 4, "--action", "wave", "--style", "happy", "--len", 2)
    ran = forecast(past, *words, "--out", tmp_path / "f.gif")
    assert ran.code == 0, ran.err
    again = shlex.split(ran.err.splitlines()[-1].removeprefix("next: posegpt "))
    assert again[:6] == ["forecast", str(past), "--until", "20", "--past-frames", "4"]
    assert again[6:12] == ["--action", "wave", "--style", "happy", "--len", "2"]
    second = posegpt(*again, "--device", "cpu", "--out", tmp_path / "f.npz")
    assert second.code == 0, second.err
    film, numbers = second.out.splitlines()
    assert film == str(tmp_path / "f_seed1.gif")
    assert read_motion(numbers).labels == ("wave", "style:happy")


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["nowhere.npz"], 1, "nowhere.npz", "path"),
        (["text.txt"], 1, "text.txt", ".bvh"),
        ([], 2, "PAST", "add PAST: Motion file"),
        (
            ["PAST", "--past-frames", "41"],
            1,
            "--past-frames expected at most the 40 frames",
            "--past-frames 40",
        ),
        (["PAST", "--until", "9s"], 1, "--until expected at most the 40 frames", "--until 40"),
        (["PAST", "--until", ""], 2, "--until expected frames or seconds, got ''", "3.5s"),
        (["PAST", "--until", "soon"], 2, "--until expected frames or seconds, got 'soon'", "3.5s"),
        (["PAST", "--action", "jumpp"], 1, "jumpp", "posegpt actions"),
        (["PAST", "--action", "wafe"], 1, "wafe", "did you mean 'wave'"),
        (["PAST", "--len", "0"], 2, "--len", "64"),
        (["PAST", "--temperature", "0"], 2, "--temperature must be above 0, got 0", "--greedy takes"),
    ],
)
def test_refused_in_two_lines(forecast, past, tmp_path, monkeypatch, words, code, message, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("no motion")
    ran = forecast(*(past if word == "PAST" else word for word in words))
    assert ran.code == code, ran.err
    first, second = ran.err.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("hint: ") and hint in second
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
