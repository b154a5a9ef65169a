"""`posegpt actions`: the labels that a checkpoint or a data set knows."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import typer

from data.actions import STYLE_PREFIX, split_labels
from data.label_lengths import label_facts
from data.store import find_store, open_store
from models.checkpoint import find_checkpoint, read_info
from models.label_facts import LabelFacts, usual_length
from posegpt_cli.console import next_step, output, show_json, show_result, show_table
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.labels import file_stem, label_words
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import GeneratorChoice, JsonSettings

HELP = """
The labels are those of the bundled checkpoint, of another one (--gpt), or of a prepared data set (--data). \
An action goes to `posegpt sample --action`, a style to `--style`. On a terminal the clips that it was \
learned from stand beside each label, their usual length, and how well it is generated: good, fair or weak \
(as `posegpt eval guidance --keep` measured).
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


def _labels_of(
    request: ActionsCommand,
) -> tuple[Path, tuple[str, ...], Mapping[str, LabelFacts], float]:
    """Where the labels come from, the labels in order, what is known of them, and the frame rate."""
    if request.data is None:
        folder = find_checkpoint(request.gpt, "gpt")
        info = read_info(folder)
        return folder, info.labels, info.label_facts, info.fps
    store = open_store(find_store(request.data, "train"))
    return request.data, store.label_names, label_facts(store), store.manifest.fps


def _row(label: str, facts: Mapping[str, LabelFacts], fps: float) -> tuple[object, ...]:
    fact = facts.get(label, LabelFacts())
    seconds = usual_length(facts, [label])
    return label, fact.clips, f"{seconds / fps:.1f}" if seconds else "", fact.quality


@with_options()
def actions(request: ActionsCommand) -> None:
    refuse_together("--gpt", request.gpt, {"--data": request.data})
    source, labels, facts, fps = _labels_of(request)
    names, styles = split_labels(labels)
    if request.as_json:
        about = {label: fact.model_dump() | {"quality": fact.quality} for label, fact in facts.items()}
        show_json({"source": str(source), "actions": names, "styles": styles, "labels": about})
        return

    # In a pipe there is one label per line and nothing else, so that grep and sort work on them.
    if output().is_terminal and facts:
        show_table(("label", "clips", "seconds", "quality"), [_row(label, facts, fps) for label in labels])
    else:
        for label in labels:
            show_result(label)
    if names and not request.data:
        generator = ["--gpt", str(request.gpt)] if request.gpt else []
        asked = label_words([names[0], *(STYLE_PREFIX + style for style in styles[:1])])
        out = f"{file_stem(names[0])}.mp4"
        next_step(shlex.join(["posegpt", "sample", *generator, *asked, "--out", out]))
