"""`posegpt prepare`: motion capture to a data set, with a table of what is in it."""

from typing import Any

import typer

from data.prepare import (
    PrepareReport,
    PrepareSettings,
    SplitSummary,
    find_files,
    make_labeller,
    prepare_mocap,
)
from data.store import SPLITS
from posegpt_cli.config_options import Choices, config_options
from posegpt_cli.console import next_step, progress, say, show_json, show_result, show_table, warn
from posegpt_cli.options import BEHAVIOUR_PANEL, DryRun, Json, examples

HELP = """
Every clip is retargeted to the SMPL skeleton, resampled, labelled, and put into train, val or test as a \
whole; clips that share frames stay together. Labels come from --labels, from --label-pattern, from the file \
names of the Bandai set, or else from the folder that a clip lies in.
"""
PANELS = {
    "fps": "Data set", "val_share": "Data set", "test_share": "Data set", "seed": "Data set",
    "jobs": BEHAVIOUR_PANEL, "force": BEHAVIOUR_PANEL,
}  # fmt: skip
SHOWN_SKIPPED = 5


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt prepare --bvh recordings/ --out dataset/",
        "posegpt prepare --bvh recordings/ --out dataset/ --labels labels.csv --jobs 4",
        r"posegpt prepare --bvh recordings/ --out dataset/ --label-pattern '(?P<action>[a-z]+)_\d+'",
    )
    app.command("prepare", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(prepare)


@config_options(PrepareSettings, {}, PANELS)
def prepare(choices: Choices[PrepareSettings], dry_run: DryRun = False, as_json: Json = False) -> None:
    settings = choices.resolve()
    if dry_run:
        _show_plan(settings, as_json)
        return
    with progress("prepare") as report:
        made = prepare_mocap(settings, report)
    for file, reason in made.skipped[:SHOWN_SKIPPED]:
        warn(f"left out {file}: {reason}")
    if len(made.skipped) > SHOWN_SKIPPED:
        warn(f"and {len(made.skipped) - SHOWN_SKIPPED} more left out (--json lists them all)")
    if as_json:
        show_json(_as_json(settings, made))
    else:
        _show_tables(made)
    next_step(f"posegpt train vqvae --data {settings.out}")


def _show_plan(settings: PrepareSettings, as_json: bool) -> None:
    """What would be read, labelled how, and written where."""
    files = find_files(settings.bvh, ".bvh")
    labeller = make_labeller(settings)
    labels = [labeller(file.relative_to(settings.bvh)) for file in files]
    names = sorted({name for found in labels for name in found or ()})
    plan = settings.model_dump(mode="json") | {
        "files": len(files), "labelled": sum(found is not None for found in labels), "label_names": names,
    }  # fmt: skip
    if as_json:
        show_json(plan)
        return
    for key, value in plan.items():
        show_result(f"{key}: {', '.join(value) if isinstance(value, list) else value}")


def _show_tables(made: PrepareReport) -> None:
    columns = ("split", "clips", "frames", "hours")
    show_table(columns, [(name, s.clips, s.frames, s.hours) for name, s in made.splits.items()])
    show_result("")
    rows = [
        (name, *(by[split].clips for split in SPLITS), sum(by[split].frames for split in SPLITS),
         sum(by[split].hours for split in SPLITS))
        for name, by in made.labels.items()
    ]  # fmt: skip
    show_table(("label", *(f"{split} clips" for split in SPLITS), "frames", "hours"), rows)
    if made.shared:
        say(f"{len(made.shared)} groups of clips share frames; each stays in one split")


def _as_json(settings: PrepareSettings, made: PrepareReport) -> dict[str, Any]:
    return {
        "out": str(settings.out),
        "splits": {name: _counts(s) for name, s in made.splits.items()},
        "labels": {name: {split: _counts(s) for split, s in by.items()} for name, by in made.labels.items()},
        "skipped": [{"file": file, "reason": reason} for file, reason in made.skipped],
        "shared": made.shared,
        "folders": {split: str(folder) for split, folder in made.folders.items()},
    }


def _counts(summary: SplitSummary) -> dict[str, float]:
    return {"clips": summary.clips, "frames": summary.frames, "hours": round(summary.hours, 4)}
