"""`posegpt train vqvae|gpt|classifier`: resolve the run's config, open the data, train with a live line."""

import math
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from data.files import write_atomically
from models.config import PRESETS, ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.errors import PoseGPTError
from posegpt_cli.config_options import (
    Choices,
    config_fields,
    config_options,
    read_config_file,
    switch_words,
)
from posegpt_cli.console import (
    UsageError,
    ask_path,
    messages,
    next_step,
    say,
    show_json,
    show_result,
    warn,
)
from posegpt_cli.options import BEHAVIOUR_PANEL, DryRun, Force, Json, examples

if TYPE_CHECKING:
    from models.stages import DataInfo
    from models.train import Progress, TrainResult, Windows

SET_BY_DATA = {
    "vqvae": ("body_type",),
    "gpt": ("n_codebook", "codes_per_book", "n_labels", "label_changes"),
    "classifier": ("body_type", "n_labels"),
}
"""Fields of the networks that the data and the tokenizer decide."""

RUN_FILE = "config.yaml"
PRESET_ORDER = ("base", "tiny", "paper")

DEBUG_RUN = {
    "iter": 10,
    "eval_every": 10,
    "eval_batches": 1,
    "train_batch_size": 4,
    "warmup": 2,
    "minutes": None,
}

PANELS = {
    "network": "Network", "losses": "Losses", "body_model": "Losses",
    **dict.fromkeys(
        ("train_batch_size", "learning_rate", "weight_decay", "ab1", "ab2", "warmup", "grad_clip", "ema",
         "iter", "minutes", "precision"), "Optimisation",
    ),
    **dict.fromkeys(
        ("seq_len", "min_seq_len", "start_share", "join_share", "balance", "mirror", "rotate", "dummy_data"),
        "Data",
    ),
    "eval_every": "Validation", "eval_batches": "Validation",
    "seed": BEHAVIOUR_PANEL, "device": BEHAVIOUR_PANEL, "debug": BEHAVIOUR_PANEL,
}  # fmt: skip

Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on where the run of this name stopped.", rich_help_panel=BEHAVIOUR_PANEL
    ),
]


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add `train` and its stages to `app`."""
    group = typer.Typer(help=summary, rich_markup_mode="rich")
    group.command(
        "vqvae",
        help="Train the tokenizer: motion to codes and back.",
        epilog=examples(
            "posegpt train vqvae --data dataset/ --preset tiny",
            "posegpt train vqvae --data dataset/ --preset paper --name paper --device cuda",
            "posegpt train vqvae --data dataset/ --preset tiny --resume",
        ),
    )(train_vqvae)
    group.command(
        "gpt",
        help="Train the generator: codes from an action and a duration.",
        epilog=examples(
            "posegpt train gpt --data dataset/ --vqvae runs/vqvae/default --preset tiny",
            "posegpt train gpt --data dataset/ --vqvae runs/vqvae/default --config run.yaml --seq-len 96",
        ),
    )(train_gpt)
    group.command(
        "classifier",
        help="Train the classifier: an action from motion, and the features that evaluation compares.",
        epilog=examples(
            "posegpt train classifier --data dataset/ --preset tiny",
            "posegpt train classifier --data dataset/ --classif-method TR --use-bm --iter 3000",
        ),
    )(train_classifier)
    app.add_typer(group, name="train", rich_help_panel=panel)


def original_spelling(words: Sequence[str]) -> list[str]:
    """The command line with PoseGPT's own `--debug 1` put as `--debug`."""
    fields = [f for run in (VQVAERun, GPTRun, ClassifierRun) for f in config_fields(run)]
    return switch_words(words, (field.flag for field in fields if field.type is bool))


@config_options(
    VQVAERun, {name: PRESETS["vqvae"][name] for name in PRESET_ORDER}, PANELS, SET_BY_DATA["vqvae"]
)
def train_vqvae(
    choices: Choices[VQVAERun],
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    _train("vqvae", choices, resume, force, dry_run, as_json)


@config_options(GPTRun, {name: PRESETS["gpt"][name] for name in PRESET_ORDER}, PANELS, SET_BY_DATA["gpt"])
def train_gpt(
    choices: Choices[GPTRun],
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    _train("gpt", choices, resume, force, dry_run, as_json)


@config_options(
    ClassifierRun,
    {name: PRESETS["classifier"][name] for name in PRESET_ORDER},
    PANELS,
    SET_BY_DATA["classifier"],
)
def train_classifier(
    choices: Choices[ClassifierRun],
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    _train("classifier", choices, resume, force, dry_run, as_json)


def _train(
    stage: str, choices: Choices[Any], resume: bool, force: bool, dry_run: bool, as_json: bool
) -> None:
    run = choices.resolve()
    folder = run.out / stage / run.name
    if resume:
        run = _resumed(choices, folder)
    elif folder.exists() and not force and not dry_run:
        raise PoseGPTError(
            f"{folder} exists already", "--resume it, --force to replace it, or give another --name"
        )
    run = _with_data(run)
    with _data_folder(run) as data_folder:
        data = _open_data(run, data_folder)
        if dry_run:
            _show_plan(run, folder, data, as_json)
            return
        if folder.exists() and not resume:
            _remove_run(folder)
        write_atomically(folder / RUN_FILE, _to_yaml(run).encode(), force=True)
        result = _run(run, folder, data, resume)
    if as_json:
        show_json({"folder": str(result.folder), "step": result.step, "metrics": result.metrics})
    else:
        show_result(str(result.folder))
    say(f"best: {_figures(result.metrics)}")
    next_step(shlex.join(["posegpt", *_next_words(stage, run, folder, data.info.labels)]))


def _next_words(stage: str, run: RunConfig, folder: Path, labels: tuple[str, ...]) -> list[str]:
    """The command that follows a stage."""
    source = ["--data", str(run.data)] if run.data else ["--dummy-data"]
    if stage == "vqvae":
        return ["train", "gpt", *source, "--vqvae", str(folder)]
    if stage == "gpt":
        return ["sample", "--gpt", str(folder), "--action", labels[0], "--out", "sample.mp4"]
    return ["train", "vqvae", *source]


def _with_data(run: RunConfig) -> RunConfig:
    """The run with its data set asked for where it is missing, and cut short by --debug."""
    if run.data is None and not run.dummy_data:
        run = run.model_copy(update={"data": Path(ask_path("--data", "prepared data set"))})
    return run.model_copy(update=DEBUG_RUN) if run.debug else run


def _resumed(choices: Choices[Any], folder: Path) -> RunConfig:
    """The stored config of a run, with this command line's flags over it."""
    stored = folder / RUN_FILE
    if not stored.is_file():
        raise PoseGPTError(f"there is no run to resume in {folder}", "leave out --resume, or give its --name")
    run = choices.resolve(instead_of_preset=stored)
    if run.network != choices.config.model_validate(read_config_file(stored, choices.config)).network:
        raise UsageError(
            f"the network of {folder} cannot be changed by --resume", "give another --name instead"
        )
    return run


def _remove_run(folder: Path) -> None:
    """Remove a run for --force, and nothing else that may lie in its place."""
    if not (folder / RUN_FILE).is_file():
        raise PoseGPTError(
            f"{folder} is no run (it has no {RUN_FILE}), so --force leaves it", "give another --name"
        )
    shutil.rmtree(folder)


@dataclass(frozen=True, eq=False)
class _Data:
    info: "DataInfo"
    train: "Windows"
    val: "Windows"


@contextmanager
def _data_folder(run: RunConfig) -> Iterator[Path]:
    """The prepared data of a run; procedural motions live as long as the block."""
    if not run.dummy_data:
        assert run.data is not None
        yield run.data
        return
    from data.synthetic import make_store

    with tempfile.TemporaryDirectory(prefix="posegpt-") as folder:
        make_store(folder)
        yield Path(folder)


def _open_data(run: RunConfig, folder: Path) -> _Data:
    """Windows of a run's data; a small set whose validation split is empty validates on training clips."""
    from data.dataset import Windows
    from data.store import find_store, open_store
    from models.stages import DataInfo

    train_store = open_store(find_store(folder, "train"))
    sizes = (run.seq_len, run.min_seq_len, run.train_batch_size)
    per_frame = isinstance(run, GPTRun)
    train_windows = Windows(
        train_store,
        *sizes,
        seed=run.seed,
        mirror=run.mirror,
        rotate=run.rotate,
        start_share=run.start_share,
        balance=run.balance,
        per_frame=per_frame,
        join_share=run.join_share if isinstance(run, GPTRun) else 0.0,
    )
    try:
        val_windows = Windows(open_store(find_store(folder, "val")), *sizes, per_frame=per_frame)
    except PoseGPTError as error:
        warn(f"{error.message}: validating on training clips")
        val_windows = Windows(train_store, *sizes, per_frame=per_frame)
    m = train_store.manifest
    changing = train_store.frame_labels is not None
    info = DataInfo(m.label_names, m.body_type, m.fps, m.fingerprint, changing)
    return _Data(info, train_windows, val_windows)


def _run(run: RunConfig, folder: Path, data: _Data, resume: bool) -> "TrainResult":
    """Train with one live line on the terminal; an interruption that was saved exits with 130 or 143."""
    from models.train import TrainingInterrupted, train

    try:
        with _live_line() as report:
            return train(run, folder, data.info, data.train, data.val, report, resume)
    except TrainingInterrupted as stop:
        say(str(stop))
        again = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
        next_step(f"posegpt {shlex.join(again)} --resume")
        raise typer.Exit(stop.exit_code) from stop


@contextmanager
def _live_line() -> "Iterator[Callable[[Progress], None]]":
    """Loss, speed and time left on one line; every validation leaves a line of its own."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = messages()
    columns = (
        TextColumn("train"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")

        def report(p: "Progress") -> None:
            left = timedelta(seconds=round(p.seconds_left)) if math.isfinite(p.seconds_left) else "?"
            loss = sum(p.terms.values())
            text = f"loss {loss:.4f}, {p.windows_per_second:.0f} windows/s, {left} left"
            bar.update(task, completed=p.step, total=p.total, description=text)
            if p.metrics:
                line = f"step {p.step}/{p.total}: loss {loss:.4f}, {_figures(p.metrics)}, {left} left"
                bar.console.print(line, highlight=False, soft_wrap=True)

        yield report


def _show_plan(run: RunConfig, folder: Path, data: _Data, as_json: bool) -> None:
    """What training would do: folder, size, steps, settings."""
    from models.stages import make_stage

    network = make_stage(run, data.info).network
    parameters = sum(p.numel() for p in network.parameters())
    plan = {
        "folder": str(folder),
        "parameters": parameters,
        "steps": run.iter,
        "labels": len(data.info.labels),
    }
    if as_json:
        show_json(plan | {"settings": run.model_dump(mode="json")})
        return
    for key, value in plan.items():
        show_result(f"{key}: {value}")
    show_result(_to_yaml(run).rstrip())


def _to_yaml(run: RunConfig) -> str:
    text: str = yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False)
    return text


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
