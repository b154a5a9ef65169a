"""`posegpt prepare`: BABEL and AMASS, or any motion capture, to a data set, with a table of what is in it."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from data.preparing.prepare import check_stores, plan, random_windows
from data.preparing.prepare import prepare as prepare_data
from data.preparing.report import PrepareReport, SplitSummary
from data.preparing.settings import SOURCES, PrepareSettings
from data.retargeting.glitches import GLITCH
from data.store import find_store
from models.errors import PoseGPTError
from posegpt_cli.console import (
    UsageError,
    ask_path,
    is_interactive,
    next_step,
    progress,
    say,
    show_json,
    show_result,
    show_table,
    warn,
)
from posegpt_cli.options.fields import ConfigField
from posegpt_cli.options.flags import BEHAVIOUR
from posegpt_cli.options.from_config import Choices, OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import PlanSettings

HELP = """
BABEL with AMASS becomes windows of labelled segments, as in the paper. Any other motion capture (BVH, \
ASF/AMC, AMASS) is retargeted if need be, resampled, labelled, and put into train, val or test as a whole; \
clips that share frames stay together. Labels come from --labels, from --label-pattern, from the file names \
of the Bandai set, or else from the folder that a clip lies in. Interrupted, the same command goes on.
"""
_SOURCE, _DATA, _BVH, _SPLIT = "Sources", "Data set", "BVH and AMC", "Labels and splits"
PANELS = {
    **dict.fromkeys(SOURCES, _SOURCE),
    **dict.fromkeys(
        ("type", "split", "n_actions", "untrimmed", "seq_len", "fps", "overlap", "min_seq_len"), _DATA
    ),
    **dict.fromkeys(
        ("labels", "label_pattern", "val_share", "test_share", "actor_pattern", "split_list", "seed"), _SPLIT
    ),
    **dict.fromkeys(("skeleton", "up", "scale", "t_pose_frame", "amc_fps"), _BVH),
    **dict.fromkeys(("jobs", "force", "shard", "merge"), BEHAVIOUR),
}  # fmt: skip
READ_BY = {
    **dict.fromkeys(("split", "n_actions", "untrimmed", "overlap"), ("babel",)),
    **dict.fromkeys(
        ("labels", "label_pattern", "val_share", "test_share", "actor_pattern", "split_list"),
        ("bvh", "amc", "amass"),
    ),
    **dict.fromkeys(("up", "scale", "t_pose_frame"), ("bvh", "amc")),
    "skeleton": ("bvh",),
    "amc_fps": ("amc",),
}
"""Which sources an option is for, if not for all; --babel with the --amass that it annotates is one."""
PREVIEW_WINDOWS = 12
"""Windows on the sheet of --preview."""
SHOWN = 5
"""Files, labels and so on that a message names before it says how many more there are."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt prepare --babel babel_v1.0_release/ --amass amass/ --out dataset/ --jobs 4",
        "posegpt prepare --bvh recordings/ --out dataset/ --labels labels.csv --preview windows.png",
        r"posegpt prepare --amc all_asfamc/ --out dataset/ --label-pattern '(?P<action>[a-z]+)_\d+'",
        "posegpt prepare --check dataset/",
    )
    app.command("prepare", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(prepare)


class PrepareRun(PlanSettings):
    """What `posegpt prepare` does beside preparing."""

    preview: Path | None = None
    """Draw random windows with their labels on one sheet, a .png."""
    check: Path | None = None
    """Only read prepared data from end to end."""


@with_options(OptionSpec(panels=PANELS))
def prepare(choices: Choices[PrepareSettings], run: PrepareRun) -> None:
    if run.check:
        _check(run.check, choices, run)
        return
    settings = _settings(choices)
    refuse_together("--preview", run.preview, {"--shard": settings.shard})
    if run.dry_run:
        _show_plan(settings, run.as_json)
        return

    _check_preview(run.preview, settings.force)
    try:
        with progress("prepare") as on_progress:
            made = prepare_data(settings, on_progress)
    except KeyboardInterrupt:
        say("finished files are kept: the same command goes on from here")
        raise
    _show_left_out(made)
    if run.as_json:
        show_json(_as_json(settings, made))
    elif made.splits:
        _show_tables(made)
    if settings.shard:
        say(f"converted {made.converted} files of shard {settings.shard}")
        next_step("the same command with --merge instead of --shard, when all shards are done")
        return
    if run.preview:
        save_preview(list(made.folders.values()), settings.seq_len, settings.seed, run.preview)
    data = _data_to_train_with(settings, made)
    next_step(shlex.join(["posegpt", "train", "vqvae", "--data", str(data)]))


def _data_to_train_with(settings: PrepareSettings, made: PrepareReport) -> Path:
    """The folder given with --out, or the one store to train with if there are several."""
    try:
        find_store(settings.out, "train")
    except PoseGPTError:
        # Several body types: the first one's. BABEL's splits lie in folders of their own.
        stores = [folder for split, folder in made.folders.items() if split.endswith("train")]
        if stores:
            return stores[0] if settings.babel else stores[0].parent
    return settings.out


def save_preview(stores: Sequence[Path], seq_len: int, seed: int, path: Path) -> None:
    """A sheet of random windows out of stores; raises PoseGPTError if the file cannot be written."""
    from posegpt_cli.output.windows_sheet import write_windows_sheet

    windows = random_windows(stores, PREVIEW_WINDOWS, seq_len, seed)
    write_windows_sheet(windows, path)
    say(f"drew {len(windows)} windows in {path}")


def _settings(choices: Choices[PrepareSettings]) -> PrepareSettings:
    given = {field.name for field in choices.flags}
    preset = dict[str, Path]()
    if not given.intersection(SOURCES):
        if not is_interactive():
            flags = ", ".join(f"--{source}" for source in SOURCES)
            raise UsageError(f"one of {flags} is missing", "e.g. --bvh DIR")
        preset["bvh"] = Path(ask_path("--bvh", "folder of .bvh files"))
    if "out" not in given:
        preset["out"] = Path(ask_path("--out", "folder for the prepared data"))
    settings = replace(choices, preset=preset).resolve()
    _refuse_unread(choices.flags, settings)
    return settings


def _refuse_unread(flags: Iterable[ConfigField], settings: PrepareSettings) -> None:
    """Raises UsageError if an option was given that does not count for these sources."""
    sources = {"babel"} if settings.babel else {source for source in SOURCES if getattr(settings, source)}
    for field in flags:
        readers = READ_BY.get(field.name, SOURCES)
        if not sources.intersection(readers):
            wanted, given = (
                " or ".join(f"--{name}" for name in names) for names in (readers, sorted(sources))
            )
            raise UsageError(f"{field.flag} goes with {wanted}, not with {given}", f"leave out {field.flag}")
    shares = {field.flag: True for field in flags if field.name in ("val_share", "test_share")}
    refuse_together("--split-list", settings.split_list, shares)


def _check_preview(path: Path | None, force: bool) -> None:
    """Raises, before the work, if the preview cannot be written."""
    from posegpt_cli.options.targets import check_targets

    check_targets([path] if path else [], force, (".png",), "--preview", "windows.png")


def _check(root: Path, choices: Choices[PrepareSettings], run: PrepareRun) -> None:
    """Verify every store at or below a folder, and draw windows of them.

    Raises PoseGPTError if one is damaged, UsageError if options say what to prepare.
    """
    flags = {field.name: value for field, value in choices.flags.items()}
    of_preview = ("seq_len", "seed", "force") if run.preview else ()
    foreign = {field.flag: True for field in choices.flags if field.name not in of_preview}
    refuse_together("--check", root, {"--dry-run": run.dry_run, **foreign})
    _check_preview(run.preview, bool(flags.get("force")))

    found = check_stores(root)
    if run.as_json:
        show_json({"stores": {str(path): reason or "whole" for path, reason in found.items()}})
    else:
        show_table(("store", "state"), [(str(path), reason or "whole") for path, reason in found.items()])
    damaged = [path for path, reason in found.items() if reason]
    if damaged:
        raise PoseGPTError(
            f"{len(damaged)} of {len(found)} stores are damaged, the first is {damaged[0]}",
            "write it again with posegpt prepare --force",
        )
    if run.preview:
        fields = PrepareSettings.model_fields
        length = flags.get("seq_len", fields["seq_len"].default)
        seed = flags.get("seed", fields["seed"].default)
        save_preview(list(found), length, seed, run.preview)


def _show_plan(settings: PrepareSettings, as_json: bool) -> None:
    """What would be read, labelled how, and written where."""
    shown = settings.model_dump(mode="json", exclude_none=True) | asdict(plan(settings))
    shown["stores"] = [str(path) for path in shown["stores"]]
    if as_json:
        show_json(shown)
        return
    for key, value in shown.items():
        if isinstance(value, list | tuple):
            names = [": ".join(entry) if isinstance(entry, tuple) else str(entry) for entry in value]
            value = f"{len(names)}" + (f" ({_some(names)})" if names else "")
        show_result(f"{key}: {value}")


def _show_left_out(made: PrepareReport) -> None:
    for file, reason in made.skipped[:SHOWN]:
        warn(f"left out {file}: {reason}")
    if len(made.skipped) > SHOWN:
        warn(f"and {len(made.skipped) - SHOWN} more left out (--json lists them all)")
    for table in dict.fromkeys(table for table, _ in made.unmatched):
        rows = [row for name, row in made.unmatched if name == table]
        warn(f"rows of {table} that name no file ({len(rows)}): {_some(rows)}")
    if made.missing:
        warn(f"{len(made.missing)} files that BABEL names are not in AMASS: {_some(made.missing)}")
    for names in made.torn:
        warn(f"the given splits tear clips that share frames: {_some(names)}")


def _show_tables(made: PrepareReport) -> None:
    columns = ("clips", "windows", "frames", "hours")
    show_table(
        ("split", *columns), [(name, *(getattr(s, c) for c in columns)) for name, s in made.splits.items()]
    )
    show_result("")
    rows = [
        (name, *(by[split].windows for split in by), sum(s.clips for s in by.values()),
         sum(s.frames for s in by.values()), sum(s.hours for s in by.values()))
        for name, by in made.labels.items()
    ]  # fmt: skip
    show_table(("label", *(f"{split} windows" for split in made.splits), "clips", "frames", "hours"), rows)
    if made.shared:
        say(f"{len(made.shared)} groups of clips share frames; each stays in one split")
    if made.glitches:
        worst = [f"{file} ({n})" for file, n in sorted(made.glitches, key=lambda found: -found[1])]
        steps = sum(n for _, n in made.glitches)
        say(
            f"{steps} jumps of over {GLITCH:g} degrees a frame are left in {len(worst)} files: {_some(worst)}"
        )
    if made.outside:
        names = [f"{name} ({n})" for name, n in made.outside.items()]
        say(f"{sum(made.outside.values())} labels are of {len(names)} categories not chosen: {_some(names)}")
    if made.unlabelled or made.short:
        say(f"{made.unlabelled} labels have no category; {made.short} segments are too short for a window")
    if made.skipped or made.missing:
        say(f"{made.converted} files used, {len(made.skipped)} left out, {len(made.missing)} missing")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _as_json(settings: PrepareSettings, made: PrepareReport) -> dict[str, Any]:
    return {
        "out": str(settings.out),
        "splits": {name: _counts(s) for name, s in made.splits.items()},
        "labels": {name: {split: _counts(s) for split, s in by.items()} for name, by in made.labels.items()},
        "skipped": [{"file": file, "reason": reason} for file, reason in made.skipped],
        "unmatched": [{"table": table, "row": row} for table, row in made.unmatched],
        "missing": made.missing,
        "outside": made.outside,
        "unlabelled": made.unlabelled,
        "short": made.short,
        "shared": made.shared,
        "torn": made.torn,
        "glitches": dict(made.glitches),
        "converted": made.converted,
        "folders": {split: str(folder) for split, folder in made.folders.items()},
    }


def _counts(summary: SplitSummary) -> dict[str, float]:
    return {
        "clips": summary.clips, "windows": summary.windows, "frames": summary.frames,
        "hours": round(summary.hours, 4),
    }  # fmt: skip
