"""`posegpt prepare`: BABEL and AMASS, or any motion capture, to a data set, with a table of what is in it."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from data.actions import STYLE_PREFIX
from data.preparing.conversion import SUFFIXES, SourceKind, find_files
from data.preparing.prepare import check_stores, plan, random_windows
from data.preparing.prepare import prepare as prepare_data
from data.preparing.report import PrepareReport
from data.preparing.settings import SOURCES, WORK_PREFIX, PrepareSettings
from data.store import find_store
from models.errors import PoseGPTError
from posegpt_cli.console import (
    UsageError,
    next_step,
    progress,
    say,
    show_json,
    show_result,
    show_table,
    warn,
)
from posegpt_cli.leaving import Interrupted
from posegpt_cli.next_steps import after_prepare
from posegpt_cli.options.fields import ConfigField
from posegpt_cli.options.flags import BEHAVIOUR, flag_of
from posegpt_cli.options.from_config import Choices, OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import PlanSettings
from posegpt_cli.output.prepare_report import (
    plan_as_json,
    report_as_json,
    show_loss,
    show_plan,
    show_tables,
    show_warnings,
)
from posegpt_cli.questions import ask_path, is_interactive
from posegpt_cli.training.live import show_size

HELP = """
BABEL with AMASS becomes windows of labelled segments, as in the paper. Any other motion (BVH, ASF/AMC, \
AMASS, GRAB, HumanAct12, with --files whatever the other commands read) is retargeted if need be, \
resampled, labelled, and put into train, val or test as a whole; clips that share frames stay together. \
Labels come from --labels, from --label-pattern, from the names that Bandai's set and GRAB have, or else \
from the folder that a clip lies in. Interrupted, the same command goes on.
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
    **dict.fromkeys(("skeleton", "up", "scale", "t_pose_frame", "fps_in", "amc_fps"), _BVH),
    **dict.fromkeys(("jobs", "force", "shard", "merge"), BEHAVIOUR),
}  # fmt: skip
READ_BY = {
    **dict.fromkeys(("split", "n_actions", "untrimmed", "overlap"), ("babel",)),
    **dict.fromkeys(
        ("labels", "label_pattern", "val_share", "test_share", "actor_pattern", "split_list"),
        SOURCES[1:],
    ),
    **dict.fromkeys(("up", "scale", "fps_in"), SOURCES[1:]),
    "t_pose_frame": ("bvh", "amc", "files"),
    "skeleton": ("bvh", "files"),
    "amc_fps": ("amc",),
}
"""Which sources an option is for, if not for all; --babel with the --amass that it annotates is one."""
PREVIEW_WINDOWS = 12
"""Windows on the sheet of --preview."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt prepare --babel babel_v1.0_release/ --amass amass/ --out dataset/ --jobs 4",
        "posegpt prepare --bvh recordings/ --out dataset/ --labels labels.csv --preview windows.png",
        r"posegpt prepare --amc all_asfamc/ --out dataset/ --label-pattern '(?P<action>[a-z]+)_\d+'",
        "posegpt prepare --files estimates/ --out dataset/",
        "posegpt prepare --humanact12 humanact12poses.pkl --out dataset/",
        "posegpt prepare --check dataset/",
    )
    app.command("prepare", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(prepare)


class PrepareRun(PlanSettings):
    """What `posegpt prepare` does beside preparing."""

    preview: Path | None = None
    """Draw random windows with their labels on one sheet, a .png."""
    check: Path | None = None
    """Only read prepared data from end to end."""
    write_skeleton: Path | None = None
    """Write a draft map of the first BVH file's joints, to edit and give as --skeleton, and stop."""


@with_options(OptionSpec(panels=PANELS))
def prepare(choices: Choices[PrepareSettings], run: PrepareRun) -> None:
    if run.check:
        _check(run.check, choices, run)
        return
    # Asked for, checked, and only then read or written.
    settings = _settings(choices)
    refuse_together("--preview", run.preview, {"--shard": settings.shard})
    if run.write_skeleton:
        _write_skeleton(settings, run.write_skeleton)
        return
    if run.dry_run:
        with progress("read headers") as on_progress:
            planned = plan(settings, on_progress)
        if run.as_json:
            show_json(plan_as_json(settings, planned))
        else:
            show_plan(settings, planned)
        return

    _check_preview(run.preview, settings.force)
    try:
        with progress("prepare") as on_progress:
            report = prepare_data(settings, on_progress)
    except (Interrupted, KeyboardInterrupt):
        say("finished files are kept: the same command goes on from here")
        raise
    if report.is_earlier:
        say("already prepared: the same settings and files; --force prepares them again")
    # Warnings first, results next, and what must not be overlooked last.
    show_warnings(report)
    if run.as_json:
        show_json(report_as_json(settings, report))
    elif report.splits:
        show_tables(report)
    _say_label_source(settings, report)
    show_loss(report)
    if settings.shard:
        say(f"converted {report.converted} files of shard {settings.shard}")
        next_step("the same command with --merge instead of --shard, when all shards are done")
        return
    _say_unfinished(settings)
    if run.preview:
        save_preview(list(report.folders.values()), settings.seq_len, settings.seed, run.preview)
    data = _data_to_train_with(settings, report)
    # The bundled generator moves SMPL's joints, at 30 frames a second.
    is_smpl = bool(settings.bvh or settings.amc or settings.files) and "smpl" in settings.body_types
    fits_bundled = is_smpl and settings.fps == 30
    next_step(shlex.join(["posegpt", *after_prepare(str(data), fits_bundled)]))


def _say_unfinished(settings: PrepareSettings) -> None:
    """Name what interrupted runs with other settings have left here: it can be as large as the data."""
    for folder in sorted(settings.out.glob(f"{WORK_PREFIX}*")):
        n_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        warn(
            f"{folder} keeps {show_size(n_bytes)} of an interrupted prepare with other settings: "
            "repeat that command to go on from there, or delete the folder"
        )


def _write_skeleton(settings: PrepareSettings, path: Path) -> None:
    """Draft the map of a folder's skeleton. Raises PoseGPTError if there is no BVH, or `path` exists."""
    from data.formats.bvh_read import read_bvh
    from data.retargeting.mapping.mapper import write_draft_map

    if settings.bvh is None:
        raise UsageError("--write-skeleton goes with --bvh", "add --bvh DIR")
    # All files of a folder share a skeleton, as far as --skeleton can help.
    first = find_files(settings.bvh, "bvh")[0]
    write_draft_map(path, read_bvh(first, settings.fps_in), settings.force)
    show_result(str(path))
    say(f"drafted from {first.name}: fill in what is empty")
    next_step(shlex.join(["posegpt", "prepare", "--bvh", str(settings.bvh), "--skeleton", str(path)]))


def _data_to_train_with(settings: PrepareSettings, report: PrepareReport) -> Path:
    """The folder given with --out, or the one store to train with if there are several."""
    try:
        find_store(settings.out, "train")
    except PoseGPTError:
        # Several body types: the first one's. BABEL's splits lie in folders of their own.
        stores = [folder for split, folder in report.folders.items() if split.endswith("train")]
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
    # What a person at a terminal leaves out is asked for; it counts less than --config would.

    # Sources first: without one there is nothing to prepare, whatever else is said.
    given = {field.name for field in choices.flags}
    preset = dict[str, Path]()
    if not given.intersection(SOURCES):
        if not is_interactive():
            flags = ", ".join(map(flag_of, SOURCES))
            raise UsageError(f"one of {flags} is missing", "e.g. --bvh DIR")
        folder = Path(ask_path("recordings", "folder of motion files"))
        source = _source_of(folder)
        say(f"{flag_of(source)} {folder}")
        preset[source] = folder
    if "out" not in given:
        preset["out"] = Path(ask_path("--out", "folder for the prepared data"))
    settings = replace(choices, preset=preset).resolve()
    _refuse_unread(choices.flags, settings)
    return settings


def _source_of(folder: Path) -> str:
    """The source that a folder's files are for: that of most of them; .bvh if it has none."""
    counts: dict[SourceKind, int] = {"bvh": 0, "amc": 0, "amass": 0}
    others = 0
    for path in folder.rglob("*"):
        kinds = [kind for kind in counts if path.suffix.lower() in SUFFIXES[kind]]
        for kind in kinds:
            counts[kind] += 1
        if not kinds and path.suffix.lower() in SUFFIXES["files"]:
            others += 1

    # A folder may hold several kinds; the most frequent one is what it is for.
    most = max(counts, key=lambda kind: counts[kind])
    return "files" if others > counts[most] else most


def _refuse_unread(flags: Iterable[ConfigField], settings: PrepareSettings) -> None:
    """Raises UsageError if an option was given that does not count for these sources."""
    # AMASS is only read along with BABEL then: options of plain motion do not count.
    sources = {"babel"} if settings.babel else {source for source in SOURCES if getattr(settings, source)}
    for field in flags:
        readers = READ_BY.get(field.name, SOURCES)
        if not sources.intersection(readers):
            *most, last = map(flag_of, readers)
            expected = f"{', '.join(most)} or {last}" if most else last
            given = " or ".join(map(flag_of, sorted(sources)))
            raise UsageError(
                f"{field.flag} goes with {expected}, not with {given}", f"leave out {field.flag}"
            )
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
    # Checking reads; the few options that describe the sheet of windows may be given all the same.
    flags = {field.name: value for field, value in choices.flags.items()}
    of_preview = ("seq_len", "seed", "force") if run.preview else ()
    foreign = {field.flag: True for field in choices.flags if field.name not in of_preview}
    refuse_together("--check", root, {"--dry-run": run.dry_run, **foreign})
    _check_preview(run.preview, bool(flags.get("force")))

    # Every store is read to its end: one that is damaged does not hide another.
    faults = check_stores(root)
    states = {str(path): fault or "whole" for path, fault in faults.items()}
    if run.as_json:
        show_json({"stores": states})
    else:
        show_table(("store", "state"), list(states.items()))
    damaged = [path for path, fault in faults.items() if fault]
    if damaged:
        raise PoseGPTError(
            f"{len(damaged)} of {len(faults)} stores are damaged, the first is {damaged[0]}",
            "write it again with posegpt prepare --force",
        )
    if run.preview:
        fields = PrepareSettings.model_fields
        length = flags.get("seq_len", fields["seq_len"].default)
        seed = flags.get("seed", fields["seed"].default)
        save_preview(list(faults), length, seed, run.preview)


def _say_label_source(settings: PrepareSettings, report: PrepareReport) -> None:
    """Say it aloud where labels came from something that was hardly meant."""
    if settings.labels or settings.label_pattern:
        return
    # Folders have no styles.
    if any(label.startswith(STYLE_PREFIX) for label in report.labels):
        say(
            "labels and styles come from the file names, which are the Bandai set's; "
            "--labels or --label-pattern decides otherwise"
        )
    if len(report.labels) != 1:
        return
    [label] = report.labels
    roots = [getattr(settings, source) for source in SOURCES if getattr(settings, source)]
    if label in (root.resolve().name for root in roots):
        warn(
            f"all clips have the label '{label}', the folder's name: sort them into folders by action, "
            "or give --labels or --label-pattern"
        )
