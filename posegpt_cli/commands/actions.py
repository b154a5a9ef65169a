"""`posegpt actions`: the labels that a checkpoint or a data set knows."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from data.actions import STYLE_PREFIX, split_labels
from data.label_lengths import label_facts
from data.sentences.phrases import LabelPhrases, describe
from data.sentences.ranking import Ranker
from data.store import find_store, open_store
from models.checkpoint import find_checkpoint, read_info
from models.errors import PoseGPTError
from models.label_facts import LabelFacts, usual_length
from models.text.encoder import installed_encoder
from posegpt_cli.console import next_step, output, say, show_json, show_result, show_table
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.labels import file_stem, label_words
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import GeneratorChoice, JsonSettings

HELP = """
The labels are those of the bundled checkpoint, of another one (--gpt), or of a prepared data set (--data). \
An action goes to `posegpt sample --action`, a style to `--style`. WORDS search them by meaning: a score of \
about 1 means the same, one below 0.5 something else. On a terminal the clips that it was learned from stand \
beside each label, their usual length, how well it is generated (good, fair or weak, as `posegpt eval \
guidance --keep` measured), and what it is.
"""

MOST_FOUND = 10
"""Labels that a search shows."""


class ActionsCommand(GeneratorChoice, JsonSettings):
    """Whose labels `posegpt actions` lists."""

    query: str | None = None
    """What to look for, in words: the nearest labels by meaning."""
    data: Path | None = None
    """Prepared data set to list instead of a checkpoint."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt actions",
        "posegpt actions 'shake a leg'",
        "posegpt actions --gpt runs/gpt/default",
        "posegpt actions --data dataset/",
    )
    app.command("actions", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(actions)


def _labels_of(
    request: ActionsCommand,
) -> tuple[Path, tuple[str, ...], Mapping[str, LabelFacts], float, LabelPhrases]:
    """Where the labels come from, the labels in order, what is known of them, the frame rate, and phrases."""
    if request.data is None:
        folder = find_checkpoint(request.gpt, "gpt")
        info = read_info(folder)
        return folder, info.labels, info.label_facts, info.fps, info.phrases
    store = open_store(find_store(request.data, "train"))
    return request.data, store.label_names, label_facts(store), store.manifest.fps, {}


def _search(query: str, labels: Sequence[str], phrases: LabelPhrases, as_json: bool) -> None:
    """Show the labels that are nearest to a text in meaning."""
    encoder = installed_encoder()
    ranking = Ranker(labels, phrases, encoder).rank(query)
    styles = Ranker(labels, phrases, encoder, of_styles=True).rank(query)
    matches = sorted((*ranking.matches, *styles.matches), key=lambda match: -match.score)[:MOST_FOUND]
    if as_json:
        found = [{"label": m.label, "score": round(m.score, 3), "phrase": m.phrase} for m in matches]
        show_json({"query": query, "found": found})
        return
    if not matches:
        raise PoseGPTError(f"'{query}' has no word to search by", "posegpt actions lists all labels")
    rows = [(m.label, f"{m.score:.2f}", describe(m.label, phrases) or m.phrase) for m in matches]
    show_table(("label", "score", "description"), rows)
    if ranking.foreign and ranking.is_foreign:
        say(f"no label means '{ranking.foreign.phrase}'")
    elif ranking.best:
        next_step(shlex.join(["posegpt", "sample", query, "--out", f"{file_stem(ranking.best.label)}.mp4"]))


def _row(
    label: str, facts: Mapping[str, LabelFacts], fps: float, phrases: LabelPhrases
) -> tuple[object, ...]:
    fact = facts.get(label, LabelFacts())
    seconds = usual_length(facts, [label])
    length = f"{seconds / fps:.1f}" if seconds else ""
    return label, fact.clips, length, fact.quality, describe(label, phrases)


@with_options()
def actions(request: ActionsCommand) -> None:
    refuse_together("--gpt", request.gpt, {"--data": request.data})
    source, labels, facts, fps, phrases = _labels_of(request)
    names, styles = split_labels(labels)
    if request.query is not None:
        _search(request.query, labels, phrases, request.as_json)
        return
    if request.as_json:
        about = {label: fact.model_dump() | {"quality": fact.quality} for label, fact in facts.items()}
        descriptions = {label: describe(label, phrases) for label in labels}
        listed = {"source": str(source), "actions": names, "styles": styles}
        show_json(listed | {"labels": about, "descriptions": descriptions})
        return

    # In a pipe there is one label per line and nothing else, so that grep and sort work on them.
    if output().is_terminal:
        columns = ("label", "clips", "seconds", "quality", "description")
        show_table(columns, [_row(label, facts, fps, phrases) for label in labels])
    else:
        for label in labels:
            show_result(label)
    if names and not request.data:
        generator = ["--gpt", str(request.gpt)] if request.gpt else []
        asked = label_words([names[0], *(STYLE_PREFIX + style for style in styles[:1])])
        out = f"{file_stem(names[0])}.mp4"
        next_step(shlex.join(["posegpt", "sample", *generator, *asked, "--out", out]))
