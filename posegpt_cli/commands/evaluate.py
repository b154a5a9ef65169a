"""`posegpt eval`: how good generated motion is, in reports that can be reproduced and compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from data.evaluating.requests import (
    ActionsRequest,
    ClassifierRequest,
    EverythingRequest,
    FidRequest,
    ForecastRequest,
    GuidanceRequest,
    LikelihoodRequest,
    MotionFiles,
    PhysicsRequest,
    ReconstructionRequest,
    TransferRequest,
)
from models.config import Config
from models.errors import PoseGPTError
from models.evaluation.report import Report, check_comparable, read_reports
from models.sampling.settings import CodeSettings
from posegpt_cli.console import UsageError, show_json, show_table
from posegpt_cli.evaluation import ReportSettings, reporting
from posegpt_cli.options.flags import flag_of
from posegpt_cli.options.from_config import OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import JsonSettings
from posegpt_cli.output.report import format_estimate
from posegpt_cli.questions import ask_path

SPEC = OptionSpec(without=("k", "threshold", "motions_per_step", "write_skeleton"))
"""Settings that are for Python alone: figures with others could hardly be compared."""
_OF_GENERATOR = ("gpt", "clean", "repeats", "unguided", "observed", *CodeSettings.model_fields)
"""Settings that say nothing of motion files."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add `eval` and its protocols to `app`."""
    group = typer.Typer(help=summary, rich_markup_mode="rich")
    for name, command, text, lines in _PROTOCOLS:
        group.command(name, help=text, epilog=examples(*lines))(command)
    app.add_typer(group, name="eval", rich_help_panel=panel)


@with_options(SPEC)
def fid(request: FidRequest, shown: ReportSettings) -> None:
    _refuse_reading(request)
    refuse_together("--generated", request.generated, _given(request, _OF_GENERATOR))
    if request.labels and not request.generated:
        raise UsageError("--labels are those of --generated", "add --generated DIR, or leave out --labels")
    if request.classifier is not None or request.split != "val" or request.observed:
        request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_fid

        done([evaluate_fid(request, on_progress)])


@with_options(SPEC)
def actions(request: ActionsRequest, shown: ReportSettings) -> None:
    _refuse_reading(request)
    refuse_together("--generated", request.generated, _given(request, (*_OF_GENERATOR, "per_name")))
    request = _with_data(request)

    # What the library needs (torch, stores) is imported only when the request is known to be sound.
    with reporting(shown, with_sheet=True) as (on_progress, done):
        from data.evaluating.actions import evaluate_actions

        result = evaluate_actions(request, on_progress)
        done([result.report], result.worst)


@with_options(OptionSpec(without=(*SPEC.without, "guidance")))
def guidance(request: GuidanceRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.guidance import evaluate_guidance

        done([evaluate_guidance(request, on_progress)])


@with_options(SPEC)
def reconstruction(request: ReconstructionRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_reconstruction

        done([evaluate_reconstruction(request, on_progress)])


@with_options(SPEC)
def forecasts(request: ForecastRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_forecast

        done([evaluate_forecast(request, on_progress)])


@with_options(SPEC)
def classifiers(request: ClassifierRequest, shown: ReportSettings) -> None:
    if request.classifier is not None or request.split != "val":
        request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_classifier

        done([evaluate_classifier(request, on_progress)])


@with_options(SPEC)
def transfer(request: TransferRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_transfer

        done([evaluate_transfer(request, on_progress)])


@with_options(SPEC)
def physics(request: PhysicsRequest, shown: ReportSettings) -> None:
    _refuse_reading(request)
    refuse_together("--generated", request.generated, _given(request, (*_OF_GENERATOR, "seams")))
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_physics

        done([evaluate_physics(request, on_progress)])


@with_options(SPEC)
def likelihood(request: LikelihoodRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_likelihood

        done([evaluate_likelihood(request, on_progress)])


@with_options(SPEC)
def everything(request: EverythingRequest, shown: ReportSettings) -> None:
    request = _with_data(request)
    with reporting(shown) as (on_progress, done):
        from data.evaluating.protocols import evaluate_everything

        done(evaluate_everything(request, on_progress))


@with_options()
def compare(
    first: Annotated[Path, typer.Argument(help="Report of --json or --out report.json.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    shown: JsonSettings,
) -> None:
    a, b = read_reports(first), read_reports(second)
    if set(a) != set(b):
        raise PoseGPTError(
            f"{first} holds {', '.join(a)}, {second} holds {', '.join(b)}", "compare reports of one protocol"
        )

    # Figures of unlike data, classifiers or settings are not compared at all.
    rows = list[dict[str, Any]]()
    for protocol in a:
        check_comparable(a[protocol], b[protocol])
        rows += _differences(a[protocol], b[protocol])
    if shown.as_json:
        show_json({"differences": rows})
        return
    keys = ("protocol", "group", "figure", "first", "second", "difference", "verdict")
    header = ("protocol", "group", "figure", first.name, second.name, "difference", "")
    show_table(header, [[row[key] for key in keys] for row in rows])


_PROTOCOLS: tuple[tuple[str, Callable[..., None], str, tuple[str, ...]], ...] = (
    (
        "fid",
        fid,
        "FID, KID, accuracy, diversity, precision and recall of generated motion, beside real motion.\n\n"
        "Without --data and --classifier the bundled classifier judges, against features bundled with it.",
        (
            "posegpt eval fid",
            "posegpt eval fid --gpt runs/gpt/default --data dataset/ --out report.html",
            "posegpt eval fid --data dataset/ --past-frames 16",
            "posegpt eval fid --generated samples/ --labels labels.csv --json",
            "torchrun --nproc-per-node 2 --no-python posegpt eval fid",
        ),
    ),
    (
        "actions",
        actions,
        "Every action by itself, the worst first: recognised, whole, on course, varied, as large as real.\n\n"
        "With --out there is a contact sheet of the worst beside the report.",
        (
            "posegpt eval actions --data dataset/ --gpt runs/gpt/default --out actions.html",
            "posegpt eval actions --data dataset/ --action bow --action walk --per-name 24",
        ),
    ),
    (
        "guidance",
        guidance,
        "Which guidance suits each action; --keep writes the answers into the checkpoint.",
        (
            "posegpt eval guidance --data dataset/ --gpt runs/gpt/default --keep",
            "posegpt eval guidance --data dataset/ --value 1 --value 2 --action bow",
        ),
    ),
    (
        "reconstruction",
        reconstruction,
        "What the tokenizer loses, and how it uses its codes.",
        ("posegpt eval reconstruction --data dataset/ --vqvae runs/vqvae/default",),
    ),
    (
        "forecast",
        forecasts,
        "Forecasts against what came, beside two baselines: the last pose, constant velocity.",
        ("posegpt eval forecast --data dataset/ --past 1 --past 30 --clips 50",),
    ),
    (
        "classifier",
        classifiers,
        "Accuracy and confusion of the classifier that judges.",
        ("posegpt eval classifier --data dataset/ --out confusion.png",),
    ),
    (
        "transfer",
        transfer,
        "Train a classifier on generated motion, test it on real motion.",
        ("posegpt eval transfer --data dataset/ --clips 600 --steps 600",),
    ),
    (
        "physics",
        physics,
        "Sliding and floating feet, trembling hands, jerk, seams, beside real motion.",
        ("posegpt eval physics --data dataset/", "posegpt eval physics --generated samples/ --data dataset/"),
    ),
    (
        "likelihood",
        likelihood,
        "How likely real motion is: nll of its codes, the tokenizer's ELBO.",
        ("posegpt eval likelihood --data dataset/ --gpt runs/gpt/default",),
    ),
    (
        "all",
        everything,
        "All of these but actions, in one report.",
        ("posegpt eval all --data dataset/ --out report.html",),
    ),
    (
        "compare",
        compare,
        "Two reports side by side; refused if data, classifier or settings differ.",
        ("posegpt eval compare a.json b.json",),
    ),
)


def _refuse_reading(request: MotionFiles) -> None:
    """Raises UsageError if there is an option for motion files, and no motion files."""
    given = sorted(request.reading.model_fields_set)
    if given and request.generated is None:
        flag = flag_of(given[0])
        raise UsageError(f"{flag} is for motion files", f"add --generated DIR, or leave out {flag}")


def _given(request: Config, names: tuple[str, ...]) -> dict[str, object]:
    """By flag, the settings that were given."""
    return {flag_of(name): True for name in names if name in request.model_fields_set}


def _with_data(request: Any) -> Any:
    """The request with a data set; asked for, if it was not given."""
    if request.data is not None:
        return request
    return request.replaced(data=Path(ask_path("--data", "prepared data set")))


def _differences(a: Report, b: Report) -> list[dict[str, Any]]:
    """Figures that both reports have."""
    rows = []
    for group, figures in a.figures.items():
        for name, first in figures.items():
            second = b.figures.get(group, {}).get(name)

            # What only one report has, or could not measure, has no difference.
            if second is None or first.mean is None or second.mean is None:
                continue
            rows.append(
                {
                    "protocol": a.protocol,
                    "group": group,
                    "figure": name,
                    "first": format_estimate(first),
                    "second": format_estimate(second),
                    "difference": f"{second.mean - first.mean:+.4g}",
                    "verdict": "alike" if first.overlaps(second) else "differs",
                }
            )
    return rows
