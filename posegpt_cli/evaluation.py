"""What the protocols of `posegpt eval` share: processes, progress, and where their reports go."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.evaluation.report import Report
from posegpt_cli.console import next_step, progress, say, show_json
from posegpt_cli.options.shared import SavingSettings
from posegpt_cli.options.targets import check_targets
from posegpt_cli.output.report import REPORT_SUFFIXES, as_json, report_files, show_report, write_reports
from posegpt_cli.output.worst_sheet import SHEET_SUFFIXES, draw_sheets, sheet_of

if TYPE_CHECKING:
    from models.motion import Motion


class ReportSettings(SavingSettings):
    """Where a report goes."""

    out: tuple[Path, ...] = ()
    """Report to write: .html, .md, .png or .json; several for several."""


OnStage = Callable[[str, int, int], None]


class Done(Protocol):
    """Shows and writes reports."""

    def __call__(self, reports: list[Report], worst: "Sequence[Motion]" = ()) -> None: ...


@contextmanager
def reporting(shown: ReportSettings, with_sheet: bool = False) -> Iterator[tuple[OnStage, Done]]:
    """Refuses targets before the work; yields what shows progress, and what shows and writes the reports.

    Args:
        shown: where the reports go.
        with_sheet: whether a contact sheet of motions is written beside each report.
    """
    targets = shown.out
    sheets = [sheet_of(path) for path in targets if path.suffix.lower() in SHEET_SUFFIXES]
    files = [*report_files(targets), *(sheets if with_sheet else ())]
    check_targets(list(dict.fromkeys(files)), shown.force, REPORT_SUFFIXES, example="report.html")

    def done(reports: list[Report], worst: "Sequence[Motion]" = ()) -> None:
        # Files come first, in case stdout is a pipe that closes early.
        pictures = draw_sheets(sheets, worst) if worst else {}
        for path in targets:
            write_reports(path, reports, pictures)
        if shown.as_json:
            show_json(as_json(reports))
        else:
            for report in reports:
                show_report(report)
        if shown.as_json:
            return
        if targets:
            say(f"look at: {', '.join(map(str, files))}")
        else:
            next_step("the same command with --out report.html --out report.json")

    def keep_silent(reports: list[Report], worst: "Sequence[Motion]" = ()) -> None:
        pass

    with processes() as speaks, progress("evaluate") as bar:
        yield (
            lambda stage, n, total: bar(n, total, stage) if speaks else None,
            done if speaks else keep_silent,
        )


@contextmanager
def processes() -> Iterator[bool]:
    """Joins the other processes if torchrun started several; yields whether this one shall speak."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield True
        return
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()
