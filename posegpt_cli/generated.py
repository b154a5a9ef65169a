"""What `sample` and `forecast` say of the motions they made: JSON, and what to type next."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.sampling.settings import SamplingSettings
from posegpt_cli.console import next_step
from posegpt_cli.options.parsing import refuse_together

if TYPE_CHECKING:
    from models.motion import Motion

_SIDE_BY_SIDE = 6
"""Most motions that are proposed for one picture."""


def check_sampling(settings: SamplingSettings) -> None:
    """Raises UsageError if a setting was given that would not count."""
    randomness = ("temperature", "top_k", "top_p", "min_p")
    given = {f"--{name.replace('_', '-')}": name in settings.model_fields_set for name in randomness}
    refuse_together("--greedy", settings.greedy, given)


def describe(
    files: Sequence[Path], motion: "Motion", lengths: Sequence[int], settings: SamplingSettings
) -> dict[str, Any]:
    """What --json prints of motions like this one; `frames` is a list if they differ in length."""
    return {
        "files": [str(path) for path in files],
        "labels": motion.labels,
        "frames": lengths[0] if len(set(lengths)) == 1 else lengths,
        "fps": motion.fps,
        **settings.model_dump(exclude={"n"}),
    }


def show_next(
    files: Sequence[Path],
    gpt: Path | None,
    settings: SamplingSettings,
    words: Sequence[str],
    rig: str | None = None,
) -> None:
    """Propose to draw the numbers that were written, or else the same command with the next seeds.

    If nothing was written, propose the same command with a file.

    Args:
        files: what was written.
        gpt: the generator, if it was not the bundled one.
        settings: number and seed.
        words: the command and what else it asked for, without its output.
        rig: the character that the motion was put on.
    """
    # Numbers can be drawn in many ways: the likeliest wish.
    numbers = [str(path) for path in files if path.suffix == ".npz"][:_SIDE_BY_SIDE]
    if numbers:
        video = f"{files[0].stem}_orbit.mp4"
        next_step(shlex.join(["posegpt", "render", *numbers, "--camera", "orbit", "--out", video]))
        return

    # A picture cannot be drawn again: propose other motions, with seeds that were not used yet.
    seed = settings.seed
    out = Path("motion.npz")
    if files:
        seed += settings.n
        out = files[0].with_stem(f"{files[0].stem}_seed{seed}")
    generator = ["--gpt", str(gpt)] if gpt else []
    number = ["-n", str(settings.n)] if settings.n > 1 else []
    seeds = [*number, "--seed", str(seed)]
    character = ["--rig", rig] if rig else []
    next_step(shlex.join(["posegpt", *words, *character, *generator, *seeds, "--out", str(out)]))
