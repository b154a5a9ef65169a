"""Command lines as PoseGPT's own programs take them, in this program's spelling."""

from collections.abc import Sequence

from models.training.config import ClassifierRun, GPTRun, VQVAERun
from posegpt_cli.console import UsageError
from posegpt_cli.options.config_file import dashed_words, switch_words
from posegpt_cli.options.fields import config_fields

ALIASES = {"vqvae": ("--vq-ckpt",)}
"""PoseGPT's own names of fields that are called otherwise here."""
OLD_FLAGS = {"--style": "--arch"}
"""Flags of `train gpt` that have another name now."""
OF_TOKENIZER = ("--n-codebook", "--n-e", "--e-dim", "--hid-dim", "--dropout", "--model")
"""What PoseGPT's command for the generator repeats of its tokenizer."""


def original_spelling(words: Sequence[str]) -> list[str]:
    """The command line with PoseGPT's own `--n_e 512` as `--n-e 512`, and its `--debug 1` as `--debug`.

    Raises UsageError if the generator is given the shape of its tokenizer, which brings it along.
    """
    fields = [f for run in (VQVAERun, GPTRun, ClassifierRun) for f in config_fields(run, aliases=ALIASES)]
    if words[1:2] == ["gpt"]:
        words = [OLD_FLAGS.get(word, word) for word in words]
    words = dashed_words(words, (flag for field in fields for flag in (field.flag, *field.aliases)))
    flags = [word.partition("=")[0] for word in words]
    if words[1:2] == ["gpt"] and (repeated := [flag for flag in flags if flag in OF_TOKENIZER]):
        raise UsageError(f"{repeated[0]} is the tokenizer's, and comes with it", f"leave out {repeated[0]}")
    return switch_words(words, (field.flag for field in fields if field.type is bool))
