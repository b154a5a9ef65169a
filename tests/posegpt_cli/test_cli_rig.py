"""--rig on the command line: which files come of it, and what is refused."""

from pathlib import Path

import pytest

from data.formats.load import read_motion
from data.formats.smpl_npz import write_smpl_npz
from data.rigs.gltf_read import read_gltf
from data.synthetic import make_motion

CHARACTERS = Path(__file__).parents[1] / "data" / "characters"


@pytest.fixture
def wave(tmp_path):
    write_smpl_npz(tmp_path / "wave.npz", make_motion("wave", 16))
    return tmp_path / "wave.npz"


def test_one_command_puts_a_motion_into_a_characters_file(posegpt, wave, tmp_path):
    out = tmp_path / "out.glb"
    ran = posegpt("export", wave, "--rig", CHARACTERS / "human-male.glb", "--out", out)
    assert ran.code == 0, ran.err
    file = read_gltf(out)
    assert len(file.items("meshes")) == 1
    assert [animation["name"] for animation in file.items("animations")] == ["wave"]


def test_several_motions_are_animations_of_one_file_and_files_of_others(posegpt, wave, tmp_path):
    ran = posegpt(
        "render", wave, wave, "--rig", "mixamo", "--out", tmp_path / "a.glb", "--out", tmp_path / "a.bvh"
    )
    assert ran.code == 0, ran.err
    assert len(read_gltf(tmp_path / "a.glb").items("animations")) == 2
    assert sorted(path.name for path in tmp_path.glob("a_*.bvh")) == ["a_00.bvh", "a_01.bvh"]


def test_sampled_motions_are_animations_of_one_file(posegpt, small_generator, tmp_path):
    ran = posegpt(
        "sample", "--gpt", small_generator, "--action", "walk", "-n", 2, "--len", 16, "--rig", "vrm",
        "--out", tmp_path / "a.glb", "--out", tmp_path / "a.npz", "--no-clean",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert len(read_gltf(tmp_path / "a.glb").items("animations")) == 2
    assert ran.out.split()[-1] == str(tmp_path / "a.glb")
    assert (tmp_path / "a_01.npz").exists()


def test_a_vrm_animation_needs_no_rig(posegpt, wave, tmp_path):
    ran = posegpt("export", wave, "--out", tmp_path / "wave.vrma")
    assert ran.code == 0, ran.err
    assert read_motion(tmp_path / "wave.vrma").n_frames == 16


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rig", "mixam", "--out", "a.glb"], "did you mean 'mixamo'?"),
        (["--rig", "missing.glb", "--out", "a.glb"], "no file missing.glb"),
        (["--rig", "mixamo", "--out", "a.vrm"], "needs a VRM character"),
        (["--out", "a.vrm"], "--rig"),
        (["--out", "a.fbx"], "--rig"),
    ],
)
def test_what_no_rig_can_do_is_refused_before_anything_is_read(posegpt, words, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = posegpt("export", "no-such-motion.npz", *words)
    assert ran.code == 1
    assert said in ran.err


def test_the_shell_completes_names_of_rigs():
    from posegpt_cli.options.completion import complete_rig

    assert complete_rig("u") == ["unreal", "unity"]
