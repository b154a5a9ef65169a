"""`posegpt actions`: the labels that a checkpoint or a data set knows."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from data.actions import STYLE_PREFIX, split_labels
from data.store import find_store, read_manifest
from models.checkpoint import find_checkpoint, read_info
from posegpt_cli.console import UsageError, next_step, show_json, show_result
from posegpt_cli.options.sampling import file_stem, label_words
from posegpt_cli.options.shared import GptRun, Json, examples

HELP = """
The labels are those of the checkpoint in the box, of another one (--gpt), or of a prepared data set \
(--data). An action goes to `posegpt sample --action`, a style to `--style`.
"""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt actions", "posegpt actions --gpt runs/gpt/default", "posegpt actions --data dataset/"
    )
    app.command("actions", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(actions)


def actions(
    gpt: GptRun = None,
    data: Annotated[
        Path | None, typer.Option(help="Prepared data set to list instead of a checkpoint.")
    ] = None,
    as_json: Json = False,
) -> None:
    if gpt and data:
        raise UsageError("--gpt and --data are both given", "give one of them")
    if data:
        labels, source = read_manifest(find_store(data, "train")).label_names, data
    else:
        source = find_checkpoint(gpt, "gpt")
        labels = read_info(source).labels
    names, styles = split_labels(labels)
    if as_json:
        show_json({"source": str(source), "actions": names, "styles": styles})
        return
    for name in names:
        show_result(name)
    for name in styles:
        show_result(f"{STYLE_PREFIX}{name}")
    if not data and names:
        generator = ["--gpt", str(gpt)] if gpt else []
        asked = label_words([names[0], *(STYLE_PREFIX + style for style in styles[:1])])
        out = f"{file_stem(names[0])}.mp4"
        next_step(shlex.join(["posegpt", "sample", *generator, *asked, "--out", out]))
