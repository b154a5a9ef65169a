"""`posegpt sample` and `posegpt render`: what is written, what is refused before any work, what is said."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.formats.load import read_motion
from posegpt_cli.options.timeline import parse_timeline

SCRIPT = Path(sys.executable).with_name("posegpt")
QUICK = ("--len", 4, "--device", "cpu", "--renderer", "skeleton", "--size", "64x64")


@pytest.fixture
def sample(posegpt, small_generator):
    def run(*words):
        return posegpt("sample", "--gpt", small_generator, *QUICK, *words)

    return run


@pytest.fixture
def no_torch_work(monkeypatch):
    """Fail as soon as a generator is loaded: what is refused must be refused before."""
    import models.sampling.generate

    def load(*args, **kwargs):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(models.sampling.generate, "load_generator", load)


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


def test_many_motions_are_written_batch_by_batch(sample, tmp_path, monkeypatch):
    import models.sampling.generate
    import posegpt_cli.commands.sample as command

    held = []
    write = command.save_all
    monkeypatch.setattr(
        command, "save_all", lambda jobs, options: held.append(len(jobs)) or write(jobs, options)
    )
    words = ("--action", "run", "-n", 5, "--json")
    whole = sample(*words, "--out", tmp_path / "whole" / "run.npz")
    monkeypatch.setattr(models.sampling.generate, "MAX_BATCH", 2)
    parts = sample(*words, "--out", tmp_path / "parts" / "run.npz", "--out", tmp_path / "parts" / "run.bvh")
    assert whole.code == parts.code == 0, parts.err
    assert held == [5, 4, 4, 2]
    for k, file in enumerate(json.loads(whole.out)["files"]):
        part = read_motion(tmp_path / "parts" / Path(file).name)
        np.testing.assert_allclose(read_motion(file).poses, part.poses, atol=1e-5, err_msg=str(k))
    assert len(list((tmp_path / "parts").iterdir())) == len(json.loads(parts.out)["files"]) == 10


@pytest.mark.parametrize(("name", "is_warned"), [("run.gif", True), ("run.npz", False)])
def test_many_videos_are_warned_of_before_the_work(sample, tmp_path, monkeypatch, name, is_warned):
    monkeypatch.setattr("posegpt_cli.commands.sample.MANY", 2)
    for n, expected in ((2, is_warned), (1, False)):
        ran = sample("--action", "run", "-n", n, "--len", 2, "--out", tmp_path / str(n) / name)
        assert ran.code == 0
        assert ("run.npz is quick" in ran.err) == expected


def test_what_follows_many_motions_names_a_few(sample, tmp_path):
    ran = sample("--action", "run", "-n", 9, "--out", tmp_path / "run.npz")
    assert len(ran.out.splitlines()) == 9
    assert ran.err.splitlines()[-1].count(".npz") == 6


def test_what_follows_is_as_long(sample, tmp_path):
    """It was said to be the same with another seed, and had 64 frames."""
    ran = sample("--action", "walk", "--out", tmp_path / "a.gif")
    assert "sample --action walk --len 4 --gpt" in ran.err.splitlines()[-1]


def test_the_same_seed_gives_the_same_bytes(sample, tmp_path):
    for name in ("a", "b"):
        assert sample("--action", "walk", "--seed", 3, "--out", tmp_path / f"{name}.npz").code == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_labels_length_and_sampling_reach_the_generator(posegpt, small_generator, tmp_path, monkeypatch):
    import models.sampling.generate

    asked = {}
    real = models.sampling.generate.sample

    def spy(generator, labels, n_frames, settings, on_progress):
        asked.update(settings.model_dump(), labels=labels, n_frames=n_frames)
        return real(generator, labels, 4, settings, on_progress)

    monkeypatch.setattr(models.sampling.generate, "sample", spy)
    ran = posegpt(
        "sample", "--gpt", small_generator, "--action", "Walk", "--action", "wave", "--style", "elderly",
        "--len", "2.5s", "--seed", 9, "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9, "--min-p", 0.01,
        "--guidance", 2, "--out", tmp_path / "a.npz", "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert asked == {
        "labels": ("walk", "wave", "style:elderly"), "n_frames": 75, "n": 1, "seed": 9, "temperature": 0.5,
        "top_k": 3, "top_p": 0.9, "min_p": 0.01, "guidance": 2.0, "greedy": False,
    }  # fmt: skip
    words = ("--gpt", small_generator, "--action", "walk", "--greedy", "--device", "cpu")
    assert posegpt("sample", *words, "--guidance", 1, "--out", tmp_path / "b.npz").code == 0
    assert asked["greedy"] is True and asked["guidance"] == 1


@pytest.mark.parametrize("flag", ["--temperature", "--top-k", "--top-p", "--min-p"])
def test_what_the_likeliest_code_does_not_hang_on_is_refused(sample, no_torch_work, tmp_path, flag):
    ran = sample(
        "--action", "walk", "--greedy", flag, "0.5" if flag != "--top-k" else 3, "--out", tmp_path / "a.npz"
    )
    assert ran.code == 2 and f"--greedy does not go with {flag}" in ran.err


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


LABELS = ("walk", "stand up", "exercise/training", "style:happy")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("walk 2s", [(("walk",), 60)]),
        ("Walk 60, stand-up 1.5s", [(("walk",), 60), (("stand up",), 45)]),
        ("stand up + walk/happy 9 ,exercise/training 1", [
            (("stand up", "walk", "style:happy"), 9), (("exercise/training",), 1),
        ]),
        ("exercise/training/happy 1s", [(("exercise/training", "style:happy"), 30)]),
    ],
)  # fmt: skip
def test_timelines_are_read(text, parts):
    assert [(part.labels, part.n_frames) for part in parse_timeline(text, LABELS, 30)] == parts


def test_a_timeline_is_one_motion_with_all_its_labels(sample_long, tmp_path):
    out = tmp_path / "t.npz"
    ran = sample_long("--timeline", "walk 0.5s, wave+run/happy 4", "--out", out, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["labels"] == ["walk", "wave", "run", "style:happy"] and report["frames"] >= 19
    motion = read_motion(out)
    assert motion.n_frames >= 19 and motion.labels == ("walk", "wave", "run", "style:happy")


def test_what_follows_a_film_can_be_typed(sample_long, posegpt, tmp_path):
    ran = sample_long("--timeline", "walk 2, wave 2", "--out", tmp_path / "t.gif")
    assert ran.code == 0, ran.err
    words = shlex.split(ran.err.splitlines()[-1].removeprefix("next: posegpt "))
    again = posegpt(*words, "--device", "cpu")
    assert again.code == 0, again.err
    assert again.out.splitlines() == [str(tmp_path / "t_seed1.gif")]


@pytest.fixture
def sample_long(posegpt, small_generator):
    """`sample` without a length of its own."""

    def run(*words):
        return posegpt("sample", "--gpt", small_generator, *QUICK[2:], *words)

    return run


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["--timeline", "walk"], 2, "got 'walk'", "walk 2s"),
        (["--timeline", "walk fast"], 2, "frames or seconds after 'walk', got 'fast'", "walk 3.5s"),
        (["--timeline", "walk 2s,"], 2, "got ''", "walk 2s"),
        (["--timeline", ""], 2, "got ''", "walk 2s"),
        (["--timeline", "wlak 2s"], 1, "wlak", "did you mean 'walk'"),
        (["--timeline", "walk/hapy 2s"], 1, "hapy", "happy"),
        (["--timeline", "walk 2s", "--action", "run"], 2, "--timeline does not go with --action", "--action"),
        (["--timeline", "walk 2s", "--len", "9"], 2, "--timeline does not go with --len", "--len"),
        (["--stream", "--action", "walk", "--out", "a.mp4"], 2, "--stream does not go with --out", "--out"),
        (["--stream", "--action", "walk", "-n", "2"], 2, "--stream does not go with -n", "-n"),
        (["--stream", "--timeline", "walk 2s"], 2, "--stream does not go with --timeline", ""),
        (["--action", "walk", "--decoder", "d"], 2, "--decoder goes with --stream alone", "--decoder"),
    ],
)
def test_what_does_not_go_together(sample_long, no_torch_work, words, code, message, hint):
    ran = sample_long(*words)
    assert ran.code == code, ran.err
    first, second = ran.err.splitlines()
    assert message in first and hint in second


def test_what_the_generator_has_not_learned(sample_long, tmp_path):
    endless = sample_long("--action", "walk", "--len", "auto", "--out", tmp_path / "a.npz")
    assert endless.code == 1 and "where motions end" in endless.err and "--len 64" in endless.err
    stream = sample_long("--action", "walk", "--stream")
    assert stream.code == 1 and stream.out == ""
    assert "needs an OnlineVQVAE" in stream.err and "--model OnlineVQVAE" in stream.err
    assert not list(tmp_path.iterdir())


def test_automatic_length_ends_each_motion_by_itself(posegpt, online_generator, tmp_path):
    ran = posegpt(
        "sample", "--gpt", online_generator, *QUICK[2:], "--action", "walk", "--len", "auto", "-n", 3,
        "--out", tmp_path / "a.npz", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    lengths = json.loads(ran.out)["frames"]
    assert len(lengths) == 3 and len(set(lengths)) > 1


def test_streamed_frames_are_the_sampled_ones(posegpt, online_generator, tmp_path):
    words = (
        "sample",
        "--gpt",
        online_generator,
        "--action",
        "walk",
        "--seed",
        2,
        "--len",
        9,
        "--device",
        "cpu",
        "--no-clean",  # a stream is steadied, too
    )
    ran = posegpt(*words, "--stream")
    assert ran.code == 0, ran.err
    frames = [json.loads(line) for line in ran.out.splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(9))
    assert frames[3]["time"] == pytest.approx(0.1)
    assert posegpt(*words, "--out", tmp_path / "a.npz").code == 0
    motion = read_motion(tmp_path / "a.npz").to_body_type("smpl")
    np.testing.assert_allclose([frame["trans"] for frame in frames], motion.trans, atol=1e-3)
    # Hands are left out: SMPL's are not among SMPL-H's joints in the file.
    np.testing.assert_allclose([frame["poses"][:22] for frame in frames], motion.poses[:, :22], atol=1e-3)


def test_a_stream_ends_quietly_when_its_reader_leaves(online_generator):
    ran = subprocess.run(
        f"set -o pipefail; {shlex.quote(str(SCRIPT))} sample --action walk --stream --device cpu "
        f"--gpt {shlex.quote(str(online_generator))} | head -n 3",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line)["frame"] for line in ran.stdout.splitlines()] == [0, 1, 2]
    assert ran.stderr.splitlines() == ["walk: 30 frames per second, smpl"]


@pytest.fixture(scope="module")
def online_generator(tmp_path_factory):
    """Checkpoint folder of a generator that can stream, and says where motions end."""
    import torch

    from models.checkpoint import CheckpointInfo, save_checkpoint
    from models.networks.config import GPTConfig, VQVAEConfig
    from models.networks.gpt import GPT
    from models.networks.vqvae import make_vqvae

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("online")
    vqvae = VQVAEConfig(
        model="OnlineVQVAE", n_codebook=2, n_e=32, e_dim=16, hid_dim=16, n_layers=1, heads=2, n_convs=1
    )
    gpt = GPTConfig(codes_per_book=16, n_labels=1, gpt_nlayer=1, gpt_nhead=2, gpt_nembd=16, gen_eos=True)
    for stage, config, network in (("vqvae", vqvae, make_vqvae(vqvae)), ("gpt", gpt, GPT(gpt))):
        info = CheckpointInfo(
            stage=stage, network=config.model_dump(), body_type="smpl", fps=30.0, labels=("walk",),
            data_fingerprint="test",
        )  # fmt: skip
        tokenizer = root / "vqvae" if stage == "gpt" else None
        save_checkpoint(root / stage, info, network.state_dict(), tokenizer)
    return root / "gpt"


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


@pytest.mark.slow
def test_a_sample_is_drawn_without_what_takes_seconds_to_import(tmp_path):
    """roma, and initial values on the device `meta`, bring torch._dynamo; pyrender brings trimesh."""
    words = ["sample", "--action", "walk", "--len", "4", "--size", "64x64", "--out", str(tmp_path / "a.mp4")]
    heavy = "{'torch._dynamo', 'sympy', 'trimesh', 'networkx', 'matplotlib', 'tensorboard'}"
    code = f"import sys; from posegpt_cli.app import main; main({words}); print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "set()", ran.stdout


def test_what_is_generated_is_cleaned_and_files_only_if_asked(sample, posegpt, tmp_path):
    words = ("--action", "walk", "--len", 20, "--seed", 3)
    assert sample(*words, "--out", tmp_path / "clean.npz").code == 0
    assert sample(*words, "--no-clean", "--out", tmp_path / "raw.npz").code == 0
    clean, raw = (read_motion(tmp_path / name) for name in ("clean.npz", "raw.npz"))
    assert np.abs(clean.poses - raw.poses).max() > 1e-3
    again = {}
    for command in ("render", "export"):
        for flag in ("--clean", None):
            out = tmp_path / f"{command}{flag}.npz"
            ran = posegpt(command, tmp_path / "raw.npz", *([flag] if flag else []), "--out", out)
            assert ran.code == 0, ran.err
            again[command, flag] = read_motion(out).poses
    for command in ("render", "export"):
        np.testing.assert_allclose(again[command, None], raw.poses, atol=1e-5)
        np.testing.assert_allclose(again[command, "--clean"], clean.poses, atol=1e-4)


def test_a_loop_is_one_cycle_and_files_that_others_play_close_it(sample, tmp_path, monkeypatch):
    import models.cleaning.loop as loops

    monkeypatch.setattr(loops, "_ALIKE", 9.0)
    monkeypatch.setattr(loops, "_ALIKE_SHARE", 9.0)
    words = ("--action", "walk", "--len", 40, "--loop", "--in-place", "--json")
    ran = sample(*words, "--out", tmp_path / "a.gif", "--out", tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    n_frames = json.loads(ran.out)["frames"]
    motion = read_motion(tmp_path / "a.npz")
    assert 15 <= n_frames < 40 and motion.n_frames == n_frames + 1
    np.testing.assert_allclose(motion.poses[0], motion.poses[-1], atol=1e-5)
    np.testing.assert_allclose(motion.trans[0], motion.trans[-1], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--in-place"], "--in-place goes with --loop alone"),
        (["--loop", "--timeline", "walk 2s"], "--loop does not go with --timeline"),
        (["--loop", "--stream"], "--loop does not go with --stream"),
    ],
)
def test_what_loops_do_not_go_with(posegpt, small_generator, words, message):
    action = [] if "--timeline" in words else ["--action", "walk"]
    ran = posegpt("sample", "--gpt", small_generator, *action, *words)
    assert ran.code == 2 and message in ran.err


def test_a_loop_of_what_does_not_repeat_is_refused(sample, tmp_path):
    ran = sample("--action", "walk", "--len", 8, "--loop", "--out", tmp_path / "a.gif")
    assert ran.code == 1 and "walk does not repeat" in ran.err and "longer clips" in ran.err
    assert not list(tmp_path.iterdir())
