"""What `posegpt prepare` says of its work: tables, what was left out and why, JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from data.preparing.prepare import PreparePlan
from data.preparing.report import PrepareReport, SplitSummary, group_reasons
from data.preparing.settings import PrepareSettings
from data.retargeting.glitches import GLITCH
from posegpt_cli.console import say, show_result, show_table, warn

SHOWN = 5
"""Files, labels and so on that a message names before it says how many more there are."""
LOUD_SHARE = 0.1
"""If a larger share of the files was left out, the last line says so."""


def show_plan(settings: PrepareSettings, plan: PreparePlan) -> None:
    """What would be read, labelled how, and written where."""
    for key, value in plan_as_json(settings, plan).items():
        # Long lists are counted and only begun.
        if not isinstance(value, list):
            show_result(f"{key}: {value}")
            continue
        names = [": ".join(entry) if isinstance(entry, list | tuple) else str(entry) for entry in value]
        note = f" ({some(names)})" if names else ""
        show_result(f"{key}: {len(names)}{note}")
    show_left_out(plan.skipped, "would leave out")


def plan_as_json(settings: PrepareSettings, plan: PreparePlan) -> dict[str, Any]:
    """The settings and the plan, in values of JSON."""
    shown = settings.model_dump(mode="json", exclude_none=True)
    for key, value in asdict(plan).items():
        shown[key] = list(value) if isinstance(value, tuple) else value
    shown["stores"] = list(map(str, plan.stores))
    return shown


def show_left_out(skipped: Sequence[tuple[str, str]], done: str = "left out") -> None:
    """Files that were left out, by kind of reason, the most frequent first."""
    groups = group_reasons(skipped)
    for group in groups[:SHOWN]:
        n = len(group.files)
        warn(f"{done} {n} file{'s' * (n > 1)}: {group.reason} ({some(group.files)})")
    if len(groups) > SHOWN:
        rest = sum(len(group.files) for group in groups[SHOWN:])
        warn(f"{done} {rest} more files, for {len(groups) - SHOWN} other reasons (--json lists them all)")


def show_notes(notes: Sequence[tuple[str, str]]) -> None:
    """What was put right while files were read, by kind, the most frequent first."""
    groups = group_reasons(notes)
    for group in groups[:SHOWN]:
        n = len(group.files)
        say(f"{n} file{'s' * (n > 1)}: {group.reason} ({some(group.files)})")
    if len(groups) > SHOWN:
        say(f"and {len(groups) - SHOWN} other things were put right (--json lists them all)")


def show_warnings(report: PrepareReport) -> None:
    """What did not go as the tables and lists given would have it."""
    show_left_out(report.skipped)
    show_notes(report.notes)
    # Rows that name no file are probably misspelt.
    by_table: dict[str, list[str]] = {}
    for table, row in report.unmatched:
        by_table.setdefault(table, []).append(row)
    for table, rows in by_table.items():
        warn(f"rows of {table} that name no file ({len(rows)}): {some(rows)}")
    if report.missing:
        warn(f"{len(report.missing)} files that BABEL names are not in AMASS: {some(report.missing)}")
    for names in report.torn:
        warn(f"the given splits tear clips that share frames: {some(names)}")


def show_tables(report: PrepareReport) -> None:
    """Clips, windows, frames and hours of each split and each label, and remarks on them."""
    rows = []
    for name, split in report.splits.items():
        rows.append((name, split.clips, split.windows, split.frames, split.hours))
    show_table(("split", "clips", "windows", "frames", "hours"), rows)
    show_result("")
    _show_labels(report)

    if report.shared:
        say(f"{len(report.shared)} groups of clips share frames; each stays in one split")
    if report.glitches:
        worst = sorted(report.glitches, key=lambda counted: -counted[1])
        files = [f"{file} ({n})" for file, n in worst]
        n_steps = sum(n for _, n in worst)
        jumps = f"{n_steps} jumps of over {GLITCH:g} degrees per frame"
        say(f"{jumps} are left in {len(files)} files: {some(files)}")
    if report.outside:
        names = [f"{name} ({n})" for name, n in report.outside.items()]
        n_labels = sum(report.outside.values())
        say(f"{n_labels} labels are of {len(names)} categories not chosen: {some(names)}")
    if report.unlabelled or report.short:
        said = (
            f"{report.unlabelled} labels have no category; {report.short} segments are too short for a window"
        )
        say(said)


def show_loss(report: PrepareReport) -> None:
    """How many files were left out; loud if it is more than a tenth."""
    # A file that BABEL names and nobody has is as lost as one that cannot be read.
    n_lost = len(report.skipped) + len(report.missing)
    total = report.converted + n_lost
    if not n_lost:
        return
    said = f"{report.converted} of {total} files used"
    if report.skipped:
        said += f", {len(report.skipped)} left out"
    if report.missing:
        said += f", {len(report.missing)} missing"
    if n_lost > LOUD_SHARE * total:
        say(f"WARNING: only {said} ({n_lost / total:.0%} lost)", "bold red")
    else:
        say(said)


def report_as_json(settings: PrepareSettings, report: PrepareReport) -> dict[str, Any]:
    """The whole report, in values of JSON."""
    labels = {}
    for name, splits in report.labels.items():
        labels[name] = {split: _counts(summary) for split, summary in splits.items()}
    return {
        "out": str(settings.out),
        "splits": {name: _counts(summary) for name, summary in report.splits.items()},
        "labels": labels,
        "skipped": [{"file": file, "reason": reason} for file, reason in report.skipped],
        "reasons": [asdict(group) for group in group_reasons(report.skipped)],
        "notes": [asdict(group) for group in group_reasons(report.notes)],
        "unmatched": [{"table": table, "row": row} for table, row in report.unmatched],
        "missing": report.missing,
        "outside": report.outside,
        "unlabelled": report.unlabelled,
        "short": report.short,
        "shared": report.shared,
        "torn": report.torn,
        "glitches": dict(report.glitches),
        "converted": report.converted,
        "already_prepared": report.is_earlier,
        "folders": {split: str(folder) for split, folder in report.folders.items()},
    }


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _show_labels(report: PrepareReport) -> None:
    # Windows by split; clips, frames and hours of all splits together.
    rows = []
    for name, splits in report.labels.items():
        # Windows by split, the rest in all.
        windows = [summary.windows for summary in splits.values()]
        clips = sum(summary.clips for summary in splits.values())
        frames = sum(summary.frames for summary in splits.values())
        hours = sum(summary.hours for summary in splits.values())
        rows.append((name, *windows, clips, frames, hours))
    columns = [f"{split} windows" for split in report.splits]
    show_table(("label", *columns, "clips", "frames", "hours"), rows)


def _counts(summary: SplitSummary) -> dict[str, float]:
    return {
        "clips": summary.clips,
        "windows": summary.windows,
        "frames": summary.frames,
        "hours": round(summary.hours, 4),
    }
