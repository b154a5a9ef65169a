"""PoseGPT's own options: each is parsed in both spellings, reaches the config, changes what is trained."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import find_checkpoint, read_info
from models.training.config import ClassifierRun, GPTRun, VQVAERun
from models.training.presets import PRESETS
from posegpt_cli.commands import train as command
from posegpt_cli.options.from_config import Choices
from tests.posegpt_cli.small_runs import SMALL_CLASSIFIER, SMALL_GPT, SMALL_VQVAE

OPTIONS: dict[str, dict[str, tuple[Any, str]]] = {
    "vqvae": {
        "--n-codebook": (4, "network.n_codebook"),
        "--n-e": (32, "network.n_e"),
        "--e-dim": (16, "network.e_dim"),
        "--loss": ("l1", "losses.loss"),
        "--model": ("OnlineVQVAE", "network.model"),
        "--dropout": (0.5, "network.dropout"),
        "--freq-vert": (4, "losses.freq_vert"),
        "--tprop-vert": (0.5, "losses.tprop_vert"),
        "--prop-vert": (0.5, "losses.prop_vert"),
        "--l2-verts": (1, "losses.l2_verts"),
        "--vertex-share": (0.5, "losses.vertex_share"),
        "--alpha-vert": (50.0, "losses.alpha_vert"),
        "--alpha-body": (1.5, "losses.alpha_body"),
        "--alpha-root": (1.5, "losses.alpha_root"),
        "--alpha-trans": (1.5, "losses.alpha_trans"),
        "--alpha-codebook": (1.0, "losses.alpha_codebook"),
        "--ab1": (0.5, "ab1"),
        "--hid-dim": (16, "network.hid_dim"),
        "--n-layers": (2, "network.n_layers"),
        "--heads": (1, "network.heads"),
        "--learning-rate": (1e-2, "learning_rate"),
        "--train-batch-size": (3, "train_batch_size"),
        "--prefetch-factor": (3, "prefetch_factor"),
        "--num-workers": (1, "num_workers"),
        "--debug": (1, "debug"),
        "--dummy-data": (1, "dummy_data"),
    },
    "gpt": {
        "--vq-model": ("CausalVQVAE", "vq_model"),
        "--vq-ckpt": ("somewhere", "vqvae"),
        "--gpt-blocksize": (32, "network.gpt_blocksize"),
        "--gpt-nlayer": (2, "network.gpt_nlayer"),
        "--gpt-nhead": (1, "network.gpt_nhead"),
        "--gpt-nembd": (32, "network.gpt_nembd"),
        "--gpt-embd-pdrop": (0.5, "network.gpt_embd_pdrop"),
        "--gpt-resid-pdrop": (0.5, "network.gpt_resid_pdrop"),
        "--gpt-attn-pdrop": (0.5, "network.gpt_attn_pdrop"),
        "--seq-len": (24, "seq_len"),
        "--class-conditional": (0, "network.class_conditional"),
        "--seqlen-conditional": (1, "network.seqlen_conditional"),
        "--gen-eos": (1, "network.gen_eos"),
        "--end-at-cut": (1, "end_at_cut"),
        "--embed-every-step": (0, "network.embed_every_step"),
        "--concat-emb": (0, "network.concat_emb"),
        "--eval-fid": (1, "eval_fid"),
        "--eval-classif": (1, "eval_classif"),
    },
    "classifier": {
        "--classif-method": ("TR", "network.classif_method"),
        "--use-bm": (1, "network.use_bm"),
        "--learning-rate": (1e-2, "learning_rate"),
        "--iter": (3, "iter"),
    },
}
"""The options that PoseGPT has, with a value that is not the small runs' own, and the field they set."""
for _options in OPTIONS.values():
    _options |= {"--name": ("other", "name"), "--n-visu-to-save": (1, "n_visu_to_save")}

CASES = [(stage, flag) for stage, options in OPTIONS.items() for flag in options]
RUNS = {"vqvae": VQVAERun, "gpt": GPTRun, "classifier": ClassifierRun}
SMALL = {"vqvae": SMALL_VQVAE, "gpt": SMALL_GPT, "classifier": SMALL_CLASSIFIER}

NEEDED = {
    # The preset conditions on the place in the clip instead of the duration.
    "--gpt-blocksize": ("--seqlen-conditional", 1),
    **dict.fromkeys(
        ("--freq-vert", "--tprop-vert", "--prop-vert", "--l2-verts", "--vertex-share"), ("--alpha-vert", 10)
    ),
    "--end-at-cut": ("--gen-eos", 1),
}
"""What must be on for an option to matter."""
SEEN_ELSEWHERE = {
    "--name", "--n-visu-to-save", "--num-workers", "--prefetch-factor", "--debug", "--dummy-data",
    "--vq-ckpt", "--vq-model", "--eval-fid", "--eval-classif", "--classif-method",
}  # fmt: skip
"""Options whose effect is not on the weights; they have tests of their own, or every run here has them."""


@pytest.mark.parametrize(("stage", "flag"), CASES)
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_each_is_parsed_and_sets_its_field(posegpt, monkeypatch, stage, flag, spelling):
    seen: list[Choices] = []
    monkeypatch.setattr(command, "_train", lambda stage, choices, wishes: seen.append(choices))
    value, path = OPTIONS[stage][flag]
    typed = "--" + flag.removeprefix("--").replace("-", spelling)
    ran = posegpt("train", stage, typed, value)
    assert ran.code == 0, ran.err
    run: Any = seen[0].resolve()
    for name in path.split("."):
        run = getattr(run, name)
    assert run == (Path(value) if flag == "--vq-ckpt" else value)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What a small run of a stage with further options leaves: weights and losses; each is run once."""
    from posegpt_cli.app import main

    out = tmp_path_factory.mktemp("outcomes")
    known: dict[tuple[object, ...], tuple[str, str]] = {}

    def run(stage: str, *words: object) -> tuple[str, str]:
        key = (stage, *words)
        if key not in known:
            name = f"run{len(known)}"
            if stage == "gpt":
                run("vqvae")
                words = (*words, "--vqvae", out / "vqvae" / "run0")
            line = (*SMALL[stage], *words, "--out", out, "--name", name)
            assert main([str(word) for word in line]) == 0
            folder = out / stage / name
            figures = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
            weights = read_info(folder / "checkpoints" / "last").weights_sha256
            known[key] = weights, json.dumps([figures[k] for k in ("step", "terms", "metrics")])
        return known[key]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "flag"), [case for case in CASES if case[1] not in SEEN_ELSEWHERE])
def test_each_changes_what_is_trained(outcome, stage, flag):
    needed = NEEDED.get(flag, ())
    assert outcome(stage, "--seed", 0) == outcome(stage)  # what differs below is not chance
    assert outcome(stage, *needed, flag, OPTIONS[stage][flag][0]) != outcome(stage, *needed)


def test_workers_and_what_they_prepare_ahead_reach_the_loader(posegpt, monkeypatch, tmp_path):
    from data.dataset import Windows

    asked: list[tuple[int, ...]] = []

    def loader(self, first, stop, num_workers=0, prefetch_factor=2):
        asked.append((num_workers, prefetch_factor))
        return (self.batch(step) for step in range(first, stop))

    monkeypatch.setattr(Windows, "loader", loader)
    words = ("--num-workers", 2, "--prefetch-factor", 3, "--out", tmp_path)
    assert posegpt(*SMALL_CLASSIFIER, *words).code == 0
    assert asked == [(2, 3)]


def test_the_tokenizer_must_be_of_the_kind_that_is_named(posegpt, runs, tmp_path):
    words = (*SMALL_GPT, "--vq_ckpt", runs / "vqvae" / "default", "--out", tmp_path)
    refused = posegpt(*words, "--vq_model", "OnlineVQVAE")
    assert refused.code == 1
    assert "is a CausalVQVAE, expected a OnlineVQVAE" in refused.err
    assert posegpt(*words, "--vq_model", "CausalVQVAE", "--force").code == 0
    taken = read_info(find_checkpoint(tmp_path / "gpt" / "default", "vqvae"))
    assert taken.weights_sha256 == read_info(runs / "vqvae/default/checkpoints/best").weights_sha256


def test_generated_motion_is_judged_at_validations(posegpt, runs, tmp_path):
    words = ("--out", tmp_path)
    assert posegpt(*SMALL_CLASSIFIER, *words).code == 0
    judged = ("--vqvae", runs / "vqvae" / "default", "--classifier", tmp_path / "classifier" / "default")
    ran = posegpt(*SMALL_GPT, *words, *judged, "--eval-fid", 1, "--eval-classif", 1)
    assert ran.code == 0, ran.err
    lines = (tmp_path / "gpt" / "default" / "metrics.jsonl").read_text().splitlines()
    figures = [json.loads(line)["metrics"] for line in lines]
    assert len(figures) == 2
    assert all(f["fid"] > 0 and 0 <= f["generated_accuracy"] <= 1 for f in figures)


def test_a_classifier_that_cannot_judge_is_refused_before_training(posegpt, runs, tmp_path, small_generator):
    words = (*SMALL_GPT, "--vqvae", runs / "vqvae" / "default", "--out", tmp_path)
    ran = posegpt(*words, "--eval-classif", "--classifier", small_generator)
    assert ran.code == 1 and "expected a classifier" in ran.err
    assert not (tmp_path / "gpt" / "default" / "checkpoints").exists()


def test_debug_cuts_a_run_short(posegpt, tmp_path):
    ran = posegpt(
        "train", "classifier", "--dummy_data", 1, "--debug", 1, "--out", tmp_path, "--dry-run", "--json"
    )
    assert json.loads(ran.out)["steps"] == 10


def test_every_preset_is_named_in_the_help(posegpt):
    out = " ".join(posegpt("train", "vqvae", "--help").out.split())
    assert all(f"{name} for" in out for name in PRESETS["vqvae"])
