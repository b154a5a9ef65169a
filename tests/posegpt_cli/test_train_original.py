"""The original README's commands as ours translates them: each runs on procedural data, in debug mode."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from models.checkpoint import find_checkpoint, read_info

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


@pytest.mark.parametrize("words", [("--n_codebook", "2"), ("--n_codebook=2",)])
def test_the_generator_is_not_told_its_tokenizers_shape(posegpt, words):
    ran = posegpt("train", "gpt", "--dummy_data", "1", *words)
    assert ran.code == 2
    assert "--n-codebook is the tokenizer's" in ran.err and "leave out" in ran.err
