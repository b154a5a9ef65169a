"""The original README's commands, as ours translates them and as they stand there: each runs."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from models.checkpoint import find_checkpoint, read_info
from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.presets import PRESETS
from posegpt_cli.commands import train as command
from posegpt_cli.options.from_config import Choices
from posegpt_cli.training.original_spelling import original_spelling
from tests.posegpt_cli.small_runs import SMALL_GPT

README = Path(__file__).parents[2] / "README.md"
HEADING = "## If you know the original's commands"


def commands() -> list[list[str]]:
    """The words after `posegpt` of each command in the README's block, in order."""
    section = README.read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    [block] = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("posegpt ")]


def test_the_readme_translates_them_all():
    assert [words[:2] for words in commands()] == [
        ["prepare", "--babel"],
        ["train", "classifier"],
        *[["train", "vqvae"]] * 4,
        ["train", "gpt"],
    ]


@pytest.mark.slow
def test_all_run_one_after_the_other(posegpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = []
    for words in commands()[1:]:
        ran = posegpt(*words, "--debug", "1", "--dummy-data", "1")
        assert ran.code == 0, ran.err
        folder = Path(ran.out.strip())
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        assert settings["name"] == words[words.index("--name") + 1]
        models.append(settings["network"].get("model"))
        assert (folder / "curves.png").is_file() and list((folder / "samples").glob("*.mp4"))
    assert models == [None, "CausalVQVAE", "OfflineVQVAE", "CausalVQVAE", "OnlineVQVAE", None]
    generator = read_info(find_checkpoint(Path("runs/gpt/generator"), "gpt"))
    assert generator.network["gpt_blocksize"] == 512 and generator.network["arch"] == "paper"


def test_prepare_takes_the_originals_folders(posegpt, tmp_path):
    [words] = [words for words in commands() if words[0] == "prepare"]
    ran = posegpt(*words[:-1], tmp_path / "out")
    assert ran.code == 1 and "babel" in ran.err  # the options are known; the folder is not there


TOKENIZER = (
    "--n_codebook 2 --n_e 512 --e_dim 256 --loss l2 --model CausalVQVAE --dropout 0 --freq_vert 2 "
    "--learning_rate 5e-5 --alpha_vert 100. --ab1 0.95 --tprop_vert 0.1 --prefetch_factor 4  "
    "--alpha_codebook 1. --hid_dim 384 --alpha_codebook 0.25 --train_batch_size 64"
)
GENERATOR = (
    "--name generator --n_codebook 2 --n_e 512 --e_dim 256  --vq_model CausalVQVAE --hid_dim 384 "
    "--dropout 0  --vq_ckpt ./logs/auto_encoder_debug/checkpoints/best_val.pt --model poseGPT "
    "--n_visu_to_save 2 --class_conditional 1 --gpt_blocksize 512 --gpt_nlayer 8 --gpt_nhead 4 "
    "--gpt_embd_pdrop 0.2 --gpt_resid_pdrop 0.2 --gpt_attn_pdrop 0.2 --seq_len 64 --gen_eos 0 --eval_fid 0 "
    "--eos_force 1 --seqlen_conditional 1 --embed_every_step 1 --concat_emb 1"
)
PASTED = (
    ("classifier", "--name classifier_ -iter 1000 --classif_method TR -lr 4e-5 --use_bm 0"),
    ("vqvae", f"--name auto_encoder_debug {TOKENIZER} --debug 1 --dummy_data 1"),
    # Offline, causal and online are one and the same command there.
    *[("vqvae", f"--name auto_encoder {TOKENIZER}")] * 3,
    ("gpt", GENERATOR),
    ("gpt", f"{GENERATOR} --dummy_data 1 --debug 1"),
)
"""What follows the name of the program in each of the original README's commands, and our stage. (The eighth
is a Python call that prepares BABEL; README gives `posegpt prepare` for it.)"""


@pytest.mark.parametrize(("stage", "words"), PASTED)
def test_a_pasted_command_is_the_originals_training(posegpt, monkeypatch, stage, words):
    seen: list[Choices] = []
    monkeypatch.setattr(command, "_train", lambda stage, choices, mode: seen.append(choices))
    ran = posegpt("train", stage, *shlex.split(words))
    assert ran.code == 0, ran.err
    assert "--preset paper" in ran.err
    run = seen[0].resolve()
    kinds: dict[str, type[RunConfig]]
    kinds = {"classifier": ClassifierRun, "vqvae": VQVAERun, "gpt": GPTRun}
    own = kinds[stage].model_validate(PRESETS[stage]["paper"])
    given = {"name": run.name, "debug": run.debug, "dummy_data": run.dummy_data}
    if stage == "gpt":
        shape = {"vq_n_codebook": 2, "vq_n_e": 512, "vq_e_dim": 256, "vq_hid_dim": 384, "vq_dropout": 0.0}
        assert run.expected.model_dump() == shape
        assert run.vqvae == Path("runs/vqvae/auto_encoder_debug")
        given |= {"expected": run.expected, "vqvae": run.vqvae, "vq_model": "CausalVQVAE"}
    # Nothing but what the command names is other than in the preset, which holds what it leaves to defaults.
    assert run == own.replaced(**given)


@pytest.mark.slow
def test_all_pasted_commands_run(posegpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stage, words in PASTED:
        more = () if "--debug" in words else ("--debug", "1", "--dummy_data", "1")
        ran = posegpt("train", stage, *shlex.split(words), *more, "--device", "cpu", "--force")
        assert ran.code == 0, ran.err
    generator = find_checkpoint(Path("runs/gpt/generator"), "gpt")
    tokenizer = find_checkpoint(Path("runs/vqvae/auto_encoder_debug"), "vqvae")
    assert read_info(generator).tokenizer_sha256 == read_info(tokenizer).weights_sha256
    assert read_info(tokenizer).network["arch"] == "paper"


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("-lr 1e-4 -j 2 -b_train 8", "--learning-rate 1e-4 --num-workers 2 --train-batch-size 8"),
        ("--n_layers 2 4", "--frame-layers 2 --n-layers 4"),
        ("--n_layers 0 6", "--frame-layers 0 --n-layers 6"),
        ("--data_augment 0", "--no-mirror --no-rotate --tilt 0 --roll 0"),
        ("--data_augment 1 --sample_start 1 --pos_type sine_frozen --beta 0.25", ""),
        ("--use_amp 1", "--precision bf16-mixed"),
        ("--train_data_dir d --save_dir logs --n_iter_val 3", "--data d --out logs --eval-batches 3"),
        ("--l2_verts 1 --mask_trans 1", "--l2-verts --mask-trans"),
    ],
)
def test_options_that_are_called_otherwise_here(typed, ours):
    words = original_spelling(["train", "vqvae", *typed.split()])
    assert words == ["train", "vqvae", *ours.split(), "--preset", "paper"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--head_type mlp --autoreg_pq 0", "--head mlp"),
        ("--head_type fc_wo_bias", "--head independent"),
        ("--autoreg_pq 1", "--head autoregressive"),
        ("--action_emb glove_ft", "--action-emb words_ft"),
        ("--action_emb scratch", "--action-emb scratch"),
    ],
)
def test_heads_of_the_generator(typed, said):
    words = original_spelling(["train", "gpt", *typed.split()])
    assert words == ["train", "gpt", *said.split(), "--preset", "paper"]


@pytest.mark.parametrize(
    ("stage", "typed", "hint"),
    [
        ("vqvae", "--balance 1", "--balance-actions"),
        ("gpt", "--eos_force 0", "without --len the end token ends it"),
        ("vqvae", "--val_freq 2", "--eval-every"),
        ("gpt", "--fid-freq 40", "--fid-every"),
        ("vqvae", "--beta 1", "always 0.25"),
        ("vqvae", "--n_layers 1 2 3", "--factor 4"),
        ("gpt", "--model GPT2", "leave it out"),
        ("classifier", "-b_val 16", "--train-batch-size"),
    ],
)
def test_what_means_something_else_here_is_refused_with_our_name_for_it(posegpt, stage, typed, hint):
    ran = posegpt("train", stage, *typed.split())
    assert ran.code == 2 and hint in ran.err


def test_the_generator_is_checked_against_its_tokenizer(posegpt, runs, tmp_path):
    words = ("--vqvae", runs / "vqvae" / "default", "--out", tmp_path, "--preset", "tiny")
    refused = posegpt(*SMALL_GPT, *words, "--n_codebook", 4)
    assert refused.code == 1
    assert "has n_codebook 2, expected 4" in refused.err and "--vq-n-codebook 2" in refused.err
    assert posegpt(*SMALL_GPT, *words, "--n_codebook", 2, "--model", "poseGPT").code == 0


def test_our_own_spelling_keeps_our_presets():
    words = ["train", "vqvae", "--n-e", "512", "--data", "my_data"]
    assert original_spelling(words) == words
    assert original_spelling([]) == [] and original_spelling(["train"]) == ["train"]


def test_debugging_says_what_it_overrules(posegpt, tmp_path):
    words = ("--dummy-data", "--out", tmp_path, "--dry-run", "--debug", "--iter", 7, "--train-batch-size", 2)
    ran = posegpt("train", "classifier", *words)
    assert ran.code == 0
    assert "--debug overrules --train-batch-size, --iter" in ran.err


def test_steps_are_given_in_steps_or_in_epochs(posegpt, tmp_path):
    words = ("train", "classifier", "--dummy-data", "--out", tmp_path, "--dry-run", "--json")
    for given, steps in (
        (("--preset", "paper"), 150_000),
        (("--preset", "paper", "--max-epochs", 3), 3000),
        (("--preset", "paper", "--iter", 7), 7),
        (("--iters-per-epoch", 10, "--max-epochs", 3), 30),
    ):
        assert json.loads(posegpt(*words, *given).out)["steps"] == steps
    assert posegpt(*words, "--iter", 7, "--max-epochs", 3).code == 2
