"""`posegpt train`: from the command line to a run folder, resumed, replaced and refused."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from data.store import find_store
from data.synthetic import make_store
from models.checkpoint import find_checkpoint, read_info
from models.training.config import ClassifierRun
from models.training.presets import PRESETS
from posegpt_cli.commands.train import _next_words
from posegpt_cli.options.config_file import merge
from posegpt_cli.options.from_config import Choices
from tests.posegpt_cli.small_runs import SMALL_CLASSIFIER, SMALL_GPT, SMALL_VQVAE


def test_a_run_leaves_its_config_its_figures_and_its_checkpoints(runs):
    folder = runs / "vqvae" / "default"
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["network"]["n_e"] == 16 and stored["dummy_data"] is True
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 4
    assert read_info(find_checkpoint(folder, "vqvae")).labels[:2] == ("walk", "run")


def test_the_generator_follows_and_names_the_next_command(posegpt, runs):
    ran = posegpt(*SMALL_GPT, "--vqvae", runs / "vqvae" / "default", "--out", runs, "--name", "g", "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["folder"] == str(runs / "gpt" / "g") and result["step"] == 4
    assert "nll" in result["metrics"]
    assert ran.err.splitlines()[-1].startswith(
        f"next: posegpt sample --gpt {runs / 'gpt' / 'g'} --action walk"
    )
    assert posegpt("actions", "--gpt", runs / "gpt" / "g").out.split()[0] == "walk"


@pytest.mark.parametrize("joints", [False, True])
def test_the_classifier_trains_and_names_a_command_that_runs(posegpt, tmp_path, joints):
    words = (*SMALL_CLASSIFIER, "--out", tmp_path, "--use-bm", int(joints))
    ran = posegpt(*words, "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["folder"] == str(tmp_path / "classifier" / "default") and result["step"] == 4
    assert {"bce", "accuracy", "map"} <= set(result["metrics"])
    network = read_info(find_checkpoint(tmp_path / "classifier" / "default", "classifier")).network
    assert network["use_bm"] is joints and network["n_labels"] > 2
    following = shlex.split(ran.err.splitlines()[-1].removeprefix("next: posegpt "))
    assert posegpt(*following, "--out", tmp_path, "--dry-run").code == 0


def test_a_classifier_judges_the_generator_that_is_there(tmp_path):
    run = ClassifierRun(data=Path("my data"), out=tmp_path)
    choices = SimpleNamespace(preset=PRESETS["classifier"]["base"])
    assert _next_words("classifier", run, choices, ("walk",))[:2] == ["train", "vqvae"]
    (tmp_path / "gpt" / "mine" / "checkpoints").mkdir(parents=True)
    words = _next_words("classifier", run, choices, ("walk",))
    judged = [
        "--gpt",
        str(tmp_path / "gpt" / "mine"),
        "--classifier",
        str(tmp_path / "classifier" / "default"),
    ]
    assert words == ["eval", "actions", "--data", "my data", *judged, "--out", "actions.html"]


def test_a_fine_tuned_network_is_that_of_its_checkpoint(posegpt, tmp_path):
    """The bundled judge is a CNN on joints, which no preset is: its settings had to be typed one by one."""
    bundled = tmp_path / "bundled"
    shutil.copytree(find_checkpoint(None, "classifier"), bundled)
    words = ("train", "classifier", "--dummy-data", "--preset", "tiny", "--out", tmp_path, "--init", bundled)
    brief = ("--train-batch-size", 2, "--eval-batches", 1, "--json")
    ran = posegpt(*words, *brief, "--iter", 2)
    assert ran.code == 0, ran.err
    assert read_info(find_checkpoint(tmp_path / "classifier" / "default", "classifier")).network["use_bm"]
    refused = posegpt(*words, "--name", "other", "--hid-dim", 64, "--dry-run")
    assert refused.code == 1 and "--hid-dim" in refused.err

    # What has begun goes on without it.
    shutil.rmtree(bundled)
    resumed = posegpt(*words, *brief, "--iter", 3, "--resume")
    assert resumed.code == 0, resumed.err


def test_data_that_is_not_read_is_told(posegpt, tmp_path):
    """PoseGPT's --dummy_data may follow any command; --data was passed over in silence, and named as next."""
    words = ("--out", tmp_path, "--data", tmp_path / "data")
    ran = posegpt(*SMALL_CLASSIFIER, *words)
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"warning: --dummy-data takes the place of --data {tmp_path / 'data'}\n")
    assert "train vqvae --dummy-data" in ran.err.splitlines()[-1]


@pytest.mark.parametrize(("precision", "warnings"), [("bf16-mixed", 1), ("auto", 0)])
def test_bf16_that_is_only_imitated_is_told(posegpt, tmp_path, monkeypatch, precision, warnings):
    monkeypatch.setattr("models.training.stages.stage.has_fast_bf16", lambda device_type: False)
    ran = posegpt(*SMALL_CLASSIFIER, "--out", tmp_path, "--precision", precision)
    assert ran.code == 0, ran.err
    assert ran.err.count("imitates bf16") == warnings


def test_clips_that_are_too_short_are_counted(posegpt, tmp_path):
    """They were left out in silence. Procedural clips have 60 to 120 frames."""
    words = ("train", "vqvae", "--dummy-data", "--out", tmp_path, "--dry-run", "--seq-len", 128)
    assert "shorter" not in posegpt(*words, "--min-seq-len", 60).err
    said = posegpt(*words, "--min-seq-len", 100).err
    found = re.search(r"(\d+) of (\d+) clips are shorter than --min-seq-len 100, and left out", said)
    assert found and 0 < int(found[1]) < int(found[2])


def test_the_classifiers_own_options_reach_its_run(posegpt, tmp_path):
    words = ("train", "classifier", "--dummy-data", "--out", tmp_path, "--dry-run", "--json")
    ran = posegpt(
        *words, "--preset", "paper", "--classif-method", "TR", "--use-bm", "--learning-rate", 0.01, "--iter",
        7, "--hid-dim", 16, "--heads", 2,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    settings = json.loads(ran.out)["settings"]
    assert [settings[key] for key in ("learning_rate", "iter", "mirror")] == [0.01, 7, True]
    assert settings["network"]["use_bm"] is True and settings["network"]["hid_dim"] == 16
    refused = posegpt(*words, "--classif-method", "GRU")
    assert refused.code == 2 and "posegpt train classifier --help" in refused.err


def test_presets_of_the_classifier_are_valid():
    for name, values in PRESETS["classifier"].items():
        run = Choices(ClassifierRun, values, None, {}).resolve()
        assert run == ClassifierRun.model_validate(merge(ClassifierRun().model_dump(), values)), name


def test_an_existing_run_is_resumed_or_replaced_but_not_overwritten(posegpt, runs):
    words = (*SMALL_VQVAE, "--out", runs, "--name", "again")
    assert posegpt(*words).code == 0
    refused = posegpt(*words)
    assert refused.code == 1
    assert "exists already" in refused.err and "--resume" in refused.err
    # the stored config takes the preset's place: the small network need not be given again
    resumed = posegpt("train", "vqvae", "--out", runs, "--name", "again", "--resume", "--iter", 6)
    assert resumed.code == 0, resumed.err
    assert "step 6 of 6" in resumed.err
    changed = posegpt("train", "vqvae", "--out", runs, "--name", "again", "--resume", "--hid-dim", 16)
    assert changed.code == 2 and "cannot be changed" in changed.err
    assert posegpt(*words, "--force").code == 0


def test_force_removes_runs_only(posegpt, tmp_path):
    precious = tmp_path / "vqvae" / "default" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    ran = posegpt(*SMALL_VQVAE, "--out", tmp_path, "--force")
    assert ran.code == 1 and "is not a run" in ran.err
    assert precious.read_text() == "years of work"


def test_force_keeps_a_run_that_the_next_one_cannot_replace(posegpt, runs):
    """A misspelt --vqvae cost the run of that name; --init from the run itself, its own weights."""
    words = (*SMALL_GPT, "--out", runs, "--name", "kept", "--vqvae", runs / "vqvae" / "default")
    assert posegpt(*words).code == 0
    weights = runs / "gpt" / "kept" / "checkpoints" / "best" / "model.safetensors"
    before = weights.read_bytes()
    for wrong, said in (
        (("--classifier", "nowhere", "--eval-fid"), "nowhere does not exist"),
        (("--vqvae", runs / "vqvae" / "defualt"), "defualt does not exist"),
        (("--init", runs / "gpt" / "kept"), "which would be removed"),
        (("--resume",), "--resume does not go with --force"),
    ):
        ran = posegpt(*words, "--force", *wrong)
        assert ran.code in (1, 2) and said in ran.err
        assert weights.read_bytes() == before


@pytest.mark.parametrize(
    "wrong", [("--vqvae", "nowhere"), ("--init", "nowhere"), ("--classifier", "nowhere", "--eval-fid")]
)
def test_what_cannot_be_trained_leaves_no_folder(posegpt, tmp_path, wrong):
    """The command put right was refused then, because the run existed."""
    assert posegpt(*SMALL_GPT, "--out", tmp_path, *wrong).code == 1
    assert not list(tmp_path.iterdir())


def test_nothing_to_resume(posegpt, tmp_path):
    ran = posegpt(*SMALL_VQVAE, "--out", tmp_path, "--resume")
    assert ran.code == 1
    assert "no run to resume" in ran.err


def test_dry_run_tells_settings_and_size(posegpt, tmp_path):
    ran = posegpt(
        "train", "vqvae", "--dummy-data", "1", "--debug", "1", "--out", tmp_path, "--dry-run", "--json"
    )
    plan = json.loads(ran.out)
    assert plan["folder"] == str(tmp_path / "vqvae" / "default")
    assert plan["steps"] == 10 and plan["parameters"] > 1_000_000
    assert plan["settings"]["network"]["n_e"] == 2048  # the preset base
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("train", "vqvae"), 2, "--data is missing"),
        (("train", "vqvae", "--data", "nowhere"), 1, "nowhere"),
        (("train", "gpt", "--dummy-data", "--vqvae", "nowhere"), 1, "nowhere"),
        (("train", "gpt", "--dummy-data", "--classifier", "x"), 2, "--classifier judges at validations"),
        (("train", "vqvae", "--dummy-data", "--config", "nowhere.yaml"), 2, "nowhere.yaml"),
    ],
)
def test_what_is_missing_is_said_in_two_lines(posegpt, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    ran = posegpt(*words)
    assert ran.code == code
    assert len(ran.err.splitlines()) == 2 and said in ran.err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_an_interrupted_run_is_saved_and_says_how_to_go_on(tmp_path, sent, code):
    words = [str(word) for word in (*SMALL_VQVAE, "--out", tmp_path, "--iter", 100000, "--eval-every", 5)]
    process = subprocess.Popen(
        [sys.executable, "-m", "posegpt_cli", *words], stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "vqvae" / "default" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "saved in" in err and err.splitlines()[-1].endswith("--resume")
    assert (tmp_path / "vqvae" / "default" / "checkpoints" / "last" / "config.json").is_file()


def test_damaged_validation_clips_are_not_replaced_by_training_clips(posegpt, tmp_path):
    """It went on with a warning, and every figure was of training clips."""
    data = make_store(tmp_path / "data", 12)
    words = [word for word in SMALL_VQVAE if word != "--dummy-data"]
    val = find_store(data, "val")
    (val / "poses.npy").write_bytes(b"damaged")
    ran = posegpt(*words, "--data", data, "--out", tmp_path / "runs")
    assert ran.code == 1 and str(val) in ran.err and not (tmp_path / "runs").exists()
    shutil.rmtree(val)
    ran = posegpt(*words, "--data", data, "--out", tmp_path / "runs")
    assert ran.code == 0 and "validating on training clips" in ran.err
