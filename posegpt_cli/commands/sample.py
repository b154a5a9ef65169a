"""`posegpt sample`: motion for an action, drawn and saved."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.actions import STYLE_PREFIX, resolve_label
from models.checkpoint import find_checkpoint, read_info
from posegpt_cli.commands.actions import split_labels
from posegpt_cli.console import ask, next_step, progress, show_json
from posegpt_cli.options import (
    BodyModel,
    Camera,
    Device,
    Force,
    GptRun,
    Json,
    Out,
    Renderer,
    Size,
    Yes,
    examples,
    parse_length,
    parse_size,
)
from posegpt_cli.output import RenderOptions
from posegpt_cli.settings import read_settings
from posegpt_cli.targets import check_targets, numbered, save_all, show_files

if TYPE_CHECKING:
    from models.motion import Motion

HELP = """
Without --gpt the generator is the one in the box. `posegpt actions` lists what can be asked for. The same \
--seed gives the same motion.
"""
SAMPLING_PANEL = "Sampling"


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt sample --action walk --len 64 --out walk.mp4",
        "posegpt sample --action walk --style elderly --len 3.5s --out walk.mp4 --out walk.npz",
        "posegpt sample --action run -n 4 --seed 7 --out run.mp4",
        "posegpt sample --action bow --renderer skeleton --size 480x480 --out bow.gif",
    )
    app.command("sample", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(sample)


def complete_action(incomplete: str) -> list[str]:
    """Actions of the checkpoint in the box that begin like this, for the shell."""
    actions, _ = split_labels(read_info(find_checkpoint(None, "gpt")).labels)
    return [name for name in actions if name.startswith(incomplete)]


def complete_style(incomplete: str) -> list[str]:
    """Styles of the checkpoint in the box that begin like this, for the shell."""
    _, styles = split_labels(read_info(find_checkpoint(None, "gpt")).labels)
    return [name for name in styles if name.startswith(incomplete)]


def _sampling(help_text: str) -> Any:
    return {"help": help_text, "rich_help_panel": SAMPLING_PANEL}


def sample(
    action: Annotated[
        list[str] | None,
        typer.Option(help="Action; give several for all at once.", autocompletion=complete_action),
    ] = None,
    style: Annotated[str | None, typer.Option(help="How it is done.", autocompletion=complete_style)] = None,
    length: Annotated[str, typer.Option("--len", help="Frames (64) or seconds (3.5s).")] = "64",
    n: Annotated[int, typer.Option("-n", help="Motions: walk_00.mp4, walk_01.mp4, ...", min=1)] = 1,
    out: Out = None,
    gpt: GptRun = None,
    seed: Annotated[int, typer.Option(**_sampling("Seed; motion k of several uses seed + k."), min=0)] = 0,
    temperature: Annotated[float, typer.Option(**_sampling("Below 1 is more careful."), min=0)] = 1.0,
    top_k: Annotated[int, typer.Option(**_sampling("Draw from the k likeliest codes (0: all)."), min=0)] = 0,
    top_p: Annotated[
        float, typer.Option(**_sampling("Draw from the likeliest codes of this probability."), min=0, max=1)
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(**_sampling("Leave out codes below this share of the likeliest."), min=0, max=1)
    ] = 0.0,
    greedy: Annotated[bool, typer.Option("--greedy", **_sampling("Always the likeliest code."))] = False,
    guidance: Annotated[
        float, typer.Option(**_sampling("Above 1 follows the action harder (1: off)."), min=0)
    ] = 1.0,
    renderer: Renderer = "auto",
    camera: Camera = "follow",
    size: Size = "720x720",
    body_model: BodyModel = None,
    device: Device = "auto",
    force: Force = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    info = read_info(find_checkpoint(gpt, "gpt"))
    labels = _labels(action, style, info.labels, yes)
    n_frames = parse_length(length, info.fps)
    outs = out or [Path(f"{labels[0].replace(' ', '-').replace('/', '-')}.mp4")]
    targets = [numbered(path, n) for path in outs]
    check_targets([path for paths in targets for path in paths], force)
    options = RenderOptions(
        size=parse_size(size, outs), fps=info.fps, camera=camera, renderer=renderer,
        body_model=body_model or read_settings().body_models,
    )  # fmt: skip
    how = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "greedy": greedy, "guidance": guidance,
    }  # fmt: skip
    motions = _generate(gpt, device, labels, n_frames, n, seed, how)
    jobs = [(path, [motion]) for paths in targets for path, motion in zip(paths, motions, strict=True)]
    files = save_all(jobs, options)
    if as_json:
        made = {"files": [str(path) for path in files], "labels": labels, "frames": n_frames, "fps": info.fps}
        show_json({**made, "seed": seed, **how})
    else:
        show_files(files)
    _show_next(files, labels[0], seed + n)


def _labels(
    actions: Sequence[str] | None, style: str | None, vocabulary: tuple[str, ...], yes: bool
) -> list[str]:
    """The labels asked for, in the checkpoint's spelling."""
    names, styles = split_labels(vocabulary)
    if not actions:
        default = "walk" if "walk" in names else names[0]
        actions = [ask("--action", "What shall they do?", names, default, yes)]
    labels = [resolve_label(action, names) for action in actions]
    return [*labels, STYLE_PREFIX + resolve_label(style, styles)] if style else labels


def _generate(
    gpt: Path | None,
    device: str,
    labels: Sequence[str],
    n_frames: int,
    n: int,
    seed: int,
    how: dict[str, Any],
) -> "list[Motion]":
    from models.generate import Sampling, load_generator
    from models.generate import sample as sample_motions

    generator = load_generator(gpt, device)
    with progress(f"sample {' + '.join(labels)}") as report:
        return sample_motions(generator, labels, n_frames, n, seed, Sampling(**how), report)


def _show_next(files: Sequence[Path], action: str, seed: int) -> None:
    numbers = [str(path) for path in files if path.suffix == ".npz"]
    if numbers:
        next_step(f"posegpt render {shlex.join(numbers)} --camera orbit --out {files[0].stem}_orbit.mp4")
    else:
        again = files[0].with_name(f"{files[0].stem}_seed{seed}.npz")
        next_step(f"posegpt sample --action '{action}' --seed {seed} --out {shlex.quote(str(again))}")
