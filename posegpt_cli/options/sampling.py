"""What `sample` and `forecast` share: what is asked for, and how it is sampled from the generator."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.actions import STYLE_PREFIX, resolve_label, split_labels
from models.sampling.settings import CodeSettings, SamplingSettings
from posegpt_cli.console import next_step
from posegpt_cli.options.completion import complete_action, complete_style
from posegpt_cli.options.shared import Device, GptRun, refuse_together

if TYPE_CHECKING:
    from models.motion import Motion
    from models.sampling.generate import Generator

_PANEL = "Sampling"
_DEFAULT = SamplingSettings()
_SIDE_BY_SIDE = 6
"""Motions that are proposed for one picture."""

Seed = Annotated[
    int, typer.Option(help="Seed; motion k of several uses seed + k.", min=0, rich_help_panel=_PANEL)
]
Temperature = Annotated[float, typer.Option(help="Below 1 is more careful.", min=0, rich_help_panel=_PANEL)]
TopK = Annotated[
    int, typer.Option(help="Draw from the k likeliest codes (0: all).", min=0, rich_help_panel=_PANEL)
]
TopP = Annotated[
    float,
    typer.Option(
        help="Draw from the likeliest codes of this probability.", min=0, max=1, rich_help_panel=_PANEL
    ),
]
MinP = Annotated[
    float,
    typer.Option(
        help="Leave out codes below this share of the likeliest.", min=0, max=1, rich_help_panel=_PANEL
    ),
]
Greedy = Annotated[bool, typer.Option("--greedy", help="Always the likeliest code.", rich_help_panel=_PANEL)]
Guidance = Annotated[
    float,
    typer.Option(help="Above 1 follows the action harder (1: off).", min=0, rich_help_panel=_PANEL),
]


Actions = Annotated[
    list[str] | None,
    typer.Option("--action", help="Action; give several for all at once.", autocompletion=complete_action),
]
Style = Annotated[str | None, typer.Option(help="How it is done.", autocompletion=complete_style)]


def resolve_labels(actions: Sequence[str], style: str | None, vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    """Actions and a style in the vocabulary's spelling; raises PoseGPTError with the closest names."""
    names, styles = split_labels(vocabulary)
    labels = [resolve_label(action, names) for action in actions]
    return (*labels, STYLE_PREFIX + resolve_label(style, styles)) if style else tuple(labels)


@dataclass(frozen=True)
class CodeOptions:
    """How a code is sampled: options of every command that samples."""

    temperature: Temperature = _DEFAULT.temperature
    top_k: TopK = _DEFAULT.top_k
    top_p: TopP = _DEFAULT.top_p
    min_p: MinP = _DEFAULT.min_p
    greedy: Greedy = _DEFAULT.greedy
    guidance: Guidance = _DEFAULT.guidance

    @property
    def codes(self) -> dict[str, Any]:
        """Fields of CodeSettings by name."""
        return {name: getattr(self, name) for name in CodeSettings.model_fields}

    @property
    def given(self) -> dict[str, bool]:
        """By flag, whether something other than the default was asked for."""
        return {
            f"--{name.replace('_', '-')}": value != getattr(_DEFAULT, name)
            for name, value in self.codes.items()
        }

    def code_settings(self) -> CodeSettings:
        """Raises PoseGPTError if a setting is out of range, or would not count."""
        others = ("--temperature", "--top-k", "--top-p", "--min-p")
        refuse_together("--greedy", self.greedy, {flag: self.given[flag] for flag in others})
        return CodeSettings(**self.codes)


@dataclass(frozen=True)
class Request(CodeOptions):
    """Which generator samples, and how: options of `sample` and `forecast`."""

    gpt: GptRun = None
    """None is the bundled one."""
    seed: Seed = _DEFAULT.seed
    device: Device = "auto"

    def load(self) -> "Generator":
        """Raises PoseGPTError without such a checkpoint."""
        from models.sampling.generate import load_generator

        return load_generator(self.gpt, self.device)


def label_words(labels: Sequence[str]) -> list[str]:
    """The flags that ask for labels: `--action walk --style elderly`."""
    words = []
    for label in labels:
        is_style = label.startswith(STYLE_PREFIX)
        words += ["--style" if is_style else "--action", label.removeprefix(STYLE_PREFIX)]
    return words


def file_stem(label: str) -> str:
    """A label as part of a file's name."""
    return label.replace(" ", "-").replace("/", "-")


def describe(
    files: Sequence[Path], motion: "Motion", lengths: Sequence[int], request: Request
) -> dict[str, Any]:
    """What --json prints of motions like this one; `frames` is a list where they differ in length."""
    return {
        "files": [str(path) for path in files],
        "labels": motion.labels,
        "frames": lengths[0] if len(set(lengths)) == 1 else lengths,
        "fps": motion.fps,
        "seed": request.seed,
        **request.codes,
    }


def show_next(files: Sequence[Path], request: Request, words: Sequence[str], n: int) -> None:
    """Propose to draw the numbers that were written, or else the same command with the next seeds.

    Where nothing was written, propose the same command with a file.

    Args:
        words: the command and what it asked for, without its generator, seed and output.
        n: motions that were made.
    """
    numbers = [str(path) for path in files if path.suffix == ".npz"][:_SIDE_BY_SIDE]
    if numbers:
        film = f"{files[0].stem}_orbit.mp4"
        next_step(shlex.join(["posegpt", "render", *numbers, "--camera", "orbit", "--out", film]))
        return
    seed, out = request.seed, Path("motion.npz")
    if files:
        seed += n
        out = files[0].with_name(f"{files[0].stem}_seed{seed}.npz")
    generator = ["--gpt", str(request.gpt)] if request.gpt else []
    next_step(shlex.join(["posegpt", *words, *generator, "--seed", str(seed), "--out", str(out)]))
