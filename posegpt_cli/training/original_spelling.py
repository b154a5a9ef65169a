"""Command lines as PoseGPT's own programs take them, put in this program's words."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from posegpt_cli.console import UsageError, say
from posegpt_cli.options.config_file import switch_words
from posegpt_cli.options.fields import config_fields

ALIASES = {"vqvae": ("--vq-ckpt",)}
"""PoseGPT's own names of fields that are called otherwise here."""
OLD_FLAGS = {"--style": "--arch"}
"""Flags of `train gpt` that have another name now."""
SHORT = {
    "-lr": "--learning-rate",
    "-b_train": "--train-batch-size",
    "-b_val": "--val-batch-size",
    "-j": "--num-workers",
    "-iter": "--iters-per-epoch",
    "-log_it": "--log-freq",
}
"""PoseGPT's short options."""
RENAMED = {
    "--n-iters-per-epoch": "--iters-per-epoch",
    "--log-every-n-iter": "--log-freq",
    "--n-iter-val": "--eval-batches",
    "--save-dir": "--out",
    "--train-data-dir": "--data",
    "--pretrained-ckpt": "--init",
    "--classif-ckpt": "--classifier",
    "--classif-ckpt-babel": "--classifier",
}
"""PoseGPT's options that mean the same under another name here."""
OF_TOKENIZER = ("--n-codebook", "--n-e", "--e-dim", "--hid-dim", "--dropout")
"""What PoseGPT's command for the generator repeats of its tokenizer; here it is checked against it."""
ALWAYS = {
    "--alpha-fast-vert": "0",
    "--alpha-kl": "1",
    "--beta": "0.25",
    "--causal-gpt": "1",
    "--detailed-count": "0",
    "--dummy": "0",
    "--eos-force": "1",
    "--eval-only": "0",
    "--overfit": "0",
    "--pos-all": "1",
    "--pos-type": "sine_frozen",
    "--pred-trans": "1",
    "--quant-min-prop": "1",
    "--sample-method": "conv",
    "--sample-start": "1",
    "--use-last": "1",
}
"""PoseGPT's options of which only one value exists here."""
NOT_HERE = {
    "--balance": "there it balances the use of codes; what balances actions here is --balance-actions",
    "--ckpt-freq": "every validation writes checkpoints; --keep says how many stay",
    "--class-freq": "--fid-every counts validations",
    "--eos-force": "motion of a given length never ends early here; without --len the end token ends it",
    "--eval-only": "posegpt eval judges checkpoints",
    "--fid-freq": "--fid-every counts validations",
    "--overfit": "--n-train 8 trains on eight clips",
    "--restart-ckpt-freq": "every validation writes checkpoints",
    "--train-visu-freq": "--visu-every counts validations",
    "--val-batch-size": "validations use --train-batch-size",
    "--val-data-dir": "the split val of --data is used; --second-data adds another set",
    "--val-freq": "--eval-every counts steps",
    "--visu-freq": "--visu-every counts validations",
    "--visu-to-tboard": "TensorBoard always gets the pictures; --n-visu-to-save 0 turns them off",
    "--vq-seq-len": "a tokenizer has no length of its own",
}
"""PoseGPT's options that mean nothing, or something else, here: what there is instead."""


@dataclass(frozen=True)
class Option:
    """A flag and the values after it."""

    flag: str
    values: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """Its only value, or an empty string."""
        return self.values[0] if len(self.values) == 1 else ""

    def words(self) -> list[str]:
        """As it is typed."""
        return [self.flag, *self.values]


def original_spelling(words: Sequence[str]) -> list[str]:
    """A command line of `posegpt train` with PoseGPT's own spelling put in this program's.

    `--n_e 512` becomes `--n-e 512`, `-lr 1e-4` `--learning-rate 1e-4`, `--debug 1` `--debug`. A command that
    has such a spelling, and neither a preset nor a config, is taken for one of PoseGPT's: `--preset paper`.

    Raises UsageError if an option means something else there, or has no counterpart.
    """
    # Of our own spelling nothing looks like this, so it tells where a command comes from.
    first, options = _parse(words)
    is_original = any("_" in option.flag or option.flag in SHORT for option in options)
    stage = words[1] if len(words) > 1 else ""
    options = [Option(_dashed(option.flag), option.values) for option in options]
    result = [translated for option in options for translated in _translate(option, stage)]
    flags = {option.flag for option in result}
    if is_original and not flags & {"--preset", "--config", "--resume"}:
        say("PoseGPT's own spelling: --preset paper, unless you give another one")
        result.append(Option("--preset", ("paper",)))

    # Switches take a 0 or a 1 there, and a flag of their own to turn them off here.
    translated_words = [word for option in result for word in option.words()]
    runs = (VQVAERun, GPTRun, ClassifierRun)
    fields = [field for run in runs for field in config_fields(run, aliases=ALIASES)]
    switches = (field.flag for field in fields if field.type is bool)
    return switch_words([*first, *translated_words], switches)


def _parse(words: Sequence[str]) -> tuple[list[str], list[Option]]:
    """What stands before the first option, and the options with their values."""
    starts = [k for k, word in enumerate(words) if _is_option(word)]
    first = list(words[: starts[0]] if starts else words)
    options = []
    stops = [*starts[1:], len(words)]
    for start, stop in zip(starts, stops[: len(starts)], strict=True):
        flag, equals, value = words[start].partition("=")
        own = (value,) if equals else ()
        options.append(Option(flag, (*own, *words[start + 1 : stop])))
    return first, options


def _is_option(word: str) -> bool:
    """Whether a word is an option, not a value such as -1."""
    return bool(re.match(r"--?[A-Za-z]", word))


def _dashed(flag: str) -> str:
    # Before underscores are replaced, because the short options have some.
    flag = SHORT.get(flag, flag)
    if flag.startswith("--"):
        flag = flag.replace("_", "-")
    return RENAMED.get(flag, flag)


def _translate(option: Option, stage: str) -> list[Option]:
    """An option in this program's words: one, several or none."""
    if stage == "gpt":
        option = Option(OLD_FLAGS.get(option.flag, option.flag), option.values)
        # The generator has none of these itself.
        if option.flag in OF_TOKENIZER:
            return [Option("--vq-" + option.flag.removeprefix("--"), option.values)]
    if option.flag in _BY_VALUE:
        return _BY_VALUE[option.flag](option, stage)
    if option.flag in ALWAYS and _same(option.value, ALWAYS[option.flag]):
        return []
    if option.flag in NOT_HERE or option.flag in ALWAYS:
        hint = NOT_HERE.get(option.flag, f"leave it out: here it is always {ALWAYS.get(option.flag)}")
        raise UsageError(f"PoseGPT's {' '.join(option.words())} does not exist here", hint)
    return [option]


def _same(typed: str, expected: str) -> bool:
    """Whether a typed value is the expected one; 0.25 and .25 are the same."""
    try:
        return float(typed) == float(expected)
    except ValueError:
        return typed == expected


def _augmentation(option: Option, stage: str) -> list[Option]:
    if option.value == "0":
        off = [Option("--no-mirror"), Option("--no-rotate")]
        return [*off, Option("--tilt", ("0",)), Option("--roll", ("0",))]
    return []


def _half_precision(option: Option, stage: str) -> list[Option]:
    return [Option("--precision", ("bf16-mixed",))] if option.value == "1" else []


def _layers(option: Option, stage: str) -> list[Option]:
    """`--n_layers 0 6`: blocks at the rate of frames, then of tokens."""
    if len(option.values) < 2:
        return [option]
    if len(option.values) > 2:
        raise UsageError(
            f"{' '.join(option.words())} asks for three resolutions, there are two",
            "give the blocks at the rate of frames and of tokens, and --factor 4 for longer tokens",
        )
    at_frames, at_tokens = option.values
    return [Option("--frame-layers", (at_frames,)), Option("--n-layers", (at_tokens,))]


def _model(option: Option, stage: str) -> list[Option]:
    """The generator has one model, the tokenizer three."""
    if stage != "gpt":
        return [option]
    if option.value != "poseGPT":
        raise UsageError(f"--model {option.value} is not known, the generator is poseGPT", "leave it out")
    return []


def _head(option: Option, stage: str) -> list[Option]:
    heads = {"fc_wo_bias": "independent", "mlp": "mlp"}
    return [Option("--head", (heads.get(option.value, option.value),))]


def _embedding(option: Option, stage: str) -> list[Option]:
    """GloVe's vectors are not named in the command there; here --word-vectors names them."""
    kinds = {"glove_frozen": "words_frozen", "glove_ft": "words_ft"}
    return [Option("--action-emb", (kinds.get(option.value, option.value),))]


def _autoregressive(option: Option, stage: str) -> list[Option]:
    return [Option("--head", ("autoregressive",))] if option.value == "1" else []


def _tokenizer(option: Option, stage: str) -> list[Option]:
    """`./logs/NAME/checkpoints/best_val.pt`, as PoseGPT names a tokenizer: the run NAME."""
    # A file that exists is left alone, for the error that says what a tokenizer is here.
    path = Path(option.value)
    if path.suffix != ".pt" or path.exists() or path.parent.name != "checkpoints":
        return [option]
    folder = RunConfig().out / "vqvae" / path.parent.parent.name
    say(f"taking {folder} for {path}")
    return [Option(option.flag, (str(folder),))]


_BY_VALUE: Mapping[str, Callable[[Option, str], list[Option]]] = {
    "--action-emb": _embedding,
    "--autoreg-pq": _autoregressive,
    "--data-augment": _augmentation,
    "--head-type": _head,
    "--model": _model,
    "--n-layers": _layers,
    "--use-amp": _half_precision,
    "--vq-ckpt": _tokenizer,
}
"""PoseGPT's options whose counterpart depends on the value."""
