"""Reading options, the same on every command, and what is said of a file that was put right."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.formats.smpl_npz import read_smpl_npz
from tests.data.acclaim import random_frames, write_amc, write_asf

CASES = Path(__file__).parents[1] / "cases"


def test_what_was_put_right_is_said(posegpt, tmp_path):
    source = CASES / "smpl_names_units" / "zup_metres.bvh"
    ran = posegpt("export", source, "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    said = " ".join(ran.err.split())
    assert "zup_metres.bvh: stands along +Z: read with Z up" in said
    assert "its unit is taken for metres, by the length of the legs" in said
    assert ran.out.strip() == str(tmp_path / "a.npz")


def test_a_file_without_a_rate_gets_one(posegpt, tmp_path):
    broken = tmp_path / "slow.bvh"
    broken.write_text((CASES / "reference" / "walker.bvh").read_text().replace("0.0333333", "1.0"))
    refused = posegpt("export", broken, "--out", tmp_path / "a.npz")
    assert refused.code == 1 and "--fps-in" in refused.err
    ran = posegpt("export", broken, "--fps-in", 24, "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    assert read_smpl_npz(tmp_path / "a.npz").fps == 24


def test_a_draft_is_written_though_the_skeleton_is_not_known(posegpt, tmp_path):
    text = (CASES / "reference" / "walker.bvh").read_text().replace("LeftHand", "Paddle")
    text = text.replace("OFFSET 26.0000 0.0000 0.0000", "OFFSET 5.0 0.0 0.0")
    (tmp_path / "odd.bvh").write_text(text)
    draft = tmp_path / "map.json"
    refused = posegpt("export", tmp_path / "odd.bvh", "--write-skeleton", draft, "--out", tmp_path / "a.npz")
    assert refused.code == 1
    assert "the nearest is Mixamo, but LeftHand is missing" in " ".join(refused.err.split())
    joints = json.loads(draft.read_text())
    assert joints["left_wrist"] == "" and joints["left_elbow"] == "LeftForeArm"
    joints |= {"left_wrist": "Paddle", "pelvis": "Hips"}
    draft.write_text(json.dumps(joints))
    ran = posegpt("export", tmp_path / "odd.bvh", "--skeleton", draft, "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err


def test_amc_is_read_by_export(posegpt, tmp_path):
    write_asf(tmp_path / "01.asf")
    write_amc(tmp_path / "01_01.amc", random_frames(5))
    ran = posegpt("export", tmp_path / "01_01.amc", "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    assert read_smpl_npz(tmp_path / "a.npz").n_frames == 5


def test_prepare_takes_the_rate_that_it_is_given(posegpt, tmp_path):
    folder = tmp_path / "recordings" / "walk"
    folder.mkdir(parents=True)
    text = (CASES / "reference" / "walker.bvh").read_text().replace("0.0333333", "1.0")
    (folder / "a.bvh").write_text(text)
    words = ("prepare", "--bvh", tmp_path / "recordings", "--out", tmp_path / "data", "--val-share", 0)
    refused = posegpt(*words, "--test-share", 0)
    assert refused.code == 1 and "no recording's" in " ".join((refused.out + refused.err).split())
    ran = posegpt(*words, "--test-share", 0, "--fps-in", 30, "--force")
    assert ran.code == 0, ran.err
    lengths = [np.load(path).tolist() for path in (tmp_path / "data").rglob("lengths.npy")]
    assert sorted(lengths) == [[], [], [12]]


@pytest.mark.parametrize("command", ["render", "export", "forecast", "prepare"])
def test_every_command_that_reads_motion_offers_the_options(posegpt, command):
    ran = posegpt(command, "--help")
    for flag in ("--skeleton", "--up", "--scale", "--t-pose-frame", "--fps-in"):
        assert flag in ran.out, flag
