"""`posegpt export`: what is written, at which rate and on which body, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.formats.smpl_npz import read_smpl_npz, write_smpl_npz
from data.synthetic import make_motion


@pytest.fixture
def walk(tmp_path):
    """An AMASS file at 60 frames a second."""
    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 31, fps=60))
    return tmp_path / "walk.npz"


def test_every_format_at_once(posegpt, walk, tmp_path):
    outs = [tmp_path / f"out{suffix}" for suffix in (".glb", ".html", ".npz", ".bvh", ".csv", ".json")]
    ran = posegpt("export", walk, *(word for out in outs for word in ("--out", out)))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(out) for out in outs]
    assert (tmp_path / "out.glb").read_bytes()[:4] == b"glTF"
    assert json.loads((tmp_path / "out.json").read_text())["fps"] == 60
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 32
    assert posegpt("export", tmp_path / "out.bvh", "--out", tmp_path / "again.npz").code == 0
    again, first = (read_smpl_npz(tmp_path / name) for name in ("again.npz", "out.npz"))
    assert again.fps == first.fps == 60
    assert np.abs(again.trans - first.trans).max() < 5e-3


def test_rate_and_body_can_be_chosen(posegpt, walk, tmp_path):
    ran = posegpt("export", walk, "--fps", 20, "--body-type", "smplx", "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    written = read_smpl_npz(tmp_path / "a.npz")
    assert (written.fps, written.body_type, written.n_frames) == (20, "smplx", 11)


def test_several_motions_share_a_scene_and_have_a_file_each_otherwise(posegpt, walk, tmp_path):
    ran = posegpt("export", walk, walk, "--out", tmp_path / "a.glb", "--out", tmp_path / "a.csv", "--json")
    assert ran.code == 0, ran.err
    names = [Path(path).name for path in json.loads(ran.out)["files"]]
    assert names == ["a.glb", "a_00.csv", "a_01.csv"]


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        ([], 2, "--out is missing", "--out walk.glb"),
        (["--out", "a.mp4"], 2, "a.mp4 is a picture, expected one of .glb", "posegpt render"),
        (["--out", "a.obj"], 2, "a.obj has no known extension", "--out"),
        (["--out", "a.glb", "--fps", "0"], 2, "got 0", "--fps 30"),
        (["--out", "walk.npz"], 1, "exists already", "--force"),
        (["--out", "missing/../../x/a.glb", "--body-type", "star"], 2, "--body-type", "export --help"),
    ],
)
def test_refused_in_two_lines(posegpt, walk, monkeypatch, words, code, said, hint):
    monkeypatch.chdir(walk.parent)
    ran = posegpt("export", walk, *words)
    message, shown_hint = ran.err.splitlines()
    assert ran.code == code and said in message and hint in shown_hint
    assert [path.name for path in walk.parent.iterdir()] == ["walk.npz"]


def test_nan_in_the_input_is_named(posegpt, walk, tmp_path):
    with np.load(walk) as file:
        arrays = dict(file)
    arrays["trans"][3, 0] = np.nan
    np.savez(tmp_path / "broken.npz", **arrays)
    ran = posegpt("export", tmp_path / "broken.npz", "--out", tmp_path / "a.glb")
    assert ran.code == 1 and "broken.npz holds NaN" in ran.err
    assert not (tmp_path / "a.glb").exists()
