"""`posegpt actions`: the labels that a checkpoint or a data set knows."""

import shlex
from pathlib import Path

import typer

from data.actions import STYLE_PREFIX, split_labels
from data.store import find_store, read_manifest
from models.checkpoint import find_checkpoint, read_info
from posegpt_cli.console import next_step, show_json, show_result
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.labels import file_stem, label_words
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import GeneratorChoice, JsonSettings

HELP = """
The labels are those of the bundled checkpoint, of another one (--gpt), or of a prepared data set (--data). \
An action goes to `posegpt sample --action`, a style to `--style`.
"""


class ActionsCommand(GeneratorChoice, JsonSettings):
    """Whose labels `posegpt actions` lists."""

    data: Path | None = None
    """Prepared data set to list instead of a checkpoint."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt actions", "posegpt actions --gpt runs/gpt/default", "posegpt actions --data dataset/"
    )
    app.command("actions", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(actions)


@with_options()
def actions(request: ActionsCommand) -> None:
    refuse_together("--gpt", request.gpt, {"--data": request.data})
    if request.data:
        source = request.data
        labels = read_manifest(find_store(source, "train")).label_names
    else:
        source = find_checkpoint(request.gpt, "gpt")
        labels = read_info(source).labels
    names, styles = split_labels(labels)
    if request.as_json:
        show_json({"source": str(source), "actions": names, "styles": styles})
        return

    # One label per line, so that grep and sort work on them.
    for name in names:
        show_result(name)
    for name in styles:
        show_result(f"{STYLE_PREFIX}{name}")
    if names and not request.data:
        generator = ["--gpt", str(request.gpt)] if request.gpt else []
        asked = label_words([names[0], *(STYLE_PREFIX + style for style in styles[:1])])
        out = f"{file_stem(names[0])}.mp4"
        next_step(shlex.join(["posegpt", "sample", *generator, *asked, "--out", out]))
