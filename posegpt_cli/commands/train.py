"""`posegpt train vqvae|gpt|classifier`: resolve the run's config, open the data, train with a live line."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from models.errors import PoseGPTError
from models.files import temporary_folder
from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.presets import PRESETS
from posegpt_cli.console import UsageError, next_step, say, show_json, show_result, warn
from posegpt_cli.next_steps import after_classifier, newest_run
from posegpt_cli.options.flags import BEHAVIOUR
from posegpt_cli.options.from_config import Choices, OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import PlanSettings
from posegpt_cli.questions import ask_path
from posegpt_cli.training.curves import draw_curves
from posegpt_cli.training.live import show_figures, show_training
from posegpt_cli.training.original_spelling import ALIASES
from posegpt_cli.training.plan import say_begin, show_plan
from posegpt_cli.training.settling import (
    SET_BY_DATA,
    for_debugging,
    on_network_of_init,
    resumed,
    with_steps_as_given,
)
from posegpt_cli.training.validation import SAMPLES, ValidationObserver

if TYPE_CHECKING:
    from models.checkpoint import StageName
    from models.training.data_source import TrainingData
    from models.training.logger import TrainingProgress
    from models.training.loop import TrainResult
    from models.training.train import Trainer

PRESET_ORDER = ("base", "tiny", "paper")
_FIELDS_OF_PANELS = {
    "Optimisation": (
        "train_batch_size",
        "accumulate",
        "learning_rate",
        "schedule",
        "iter",
        "iters_per_epoch",
        "max_epochs",
        "minutes",
        "warmup",
        "ab1",
        "ab2",
        "weight_decay",
        "grad_clip",
        "ema",
        "end_at_cut",
    ),
    "Data": (
        "seq_len",
        "min_seq_len",
        "balance_actions",
        "balance_sets",
        "start_share",
        "join_share",
        "mirror",
        "rotate",
        "tilt",
        "roll",
        "time_warp",
        "mask_trans",
        "n_train",
        "token_copies",
        "dummy_data",
        "text",
        "text_encoder",
    ),
    "Validation": (
        "eval_every",
        "eval_batches",
        "second_data",
        "log_freq",
        "n_visu_to_save",
        "visu_every",
        "keep",
        "elbo",
        "eval_fid",
        "eval_classif",
        "fid_every",
        "classifier",
    ),
    "Machine": (
        "device",
        "devices",
        "num_nodes",
        "strategy",
        "precision",
        "compile",
        "num_workers",
        "prefetch_factor",
    ),
    "Network": ("network", "expected", "encoder", "init"),
    "Losses": ("losses", "body_model"),
    BEHAVIOUR: ("seed", "debug"),
}
PANELS = {name: panel for panel, names in _FIELDS_OF_PANELS.items() for name in names}
"""Help panel of a field, or of a part of the config; the help keeps this order."""

PRESET_HELP = "Settings to start from: tiny for a CPU, base for a GPU, paper for the original's architecture."


class TrainMode(PlanSettings):
    """How `posegpt train` treats the run, beside the run's config."""

    resume: bool = False
    """Go on where the run of this name stopped, its settings in the preset's place."""
    plot: bool = False
    """Draw curves.png at every validation, not only at the end. Of a run that exists: draw it, stop."""
    force: bool = False
    """Replace what exists."""


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
    )(_command("vqvae", VQVAERun))
    group.command(
        "gpt",
        help="Train the generator: codes from an action and a duration.",
        epilog=examples(
            "posegpt train gpt --data dataset/ --vqvae runs/vqvae/default --preset tiny",
            "posegpt train gpt --data dataset/ --vqvae runs/vqvae/default --config run.yaml --seq-len 96",
        ),
    )(_command("gpt", GPTRun))
    group.command(
        "classifier",
        help="Train the classifier: an action from motion, and the features that evaluation compares.",
        epilog=examples(
            "posegpt train classifier --data dataset/ --preset tiny",
            "posegpt train classifier --data dataset/ --classif-method TR --use-bm --iter 3000",
        ),
    )(_command("classifier", ClassifierRun))
    app.add_typer(group, name="train", rich_help_panel=panel)


def _command(stage: "StageName", config: type[RunConfig]) -> Callable[..., None]:
    """`posegpt train STAGE`, with an option for every field of its config."""
    # The order in which the help lists presets, the default first.
    presets = {name: PRESETS[stage][name] for name in PRESET_ORDER}

    spec = OptionSpec(presets, PRESET_HELP, PANELS, SET_BY_DATA[stage], ALIASES)

    def train_stage(choices: Choices[Any], mode: TrainMode) -> None:
        _train(stage, choices, mode)

    # The run's config differs from stage to stage.
    train_stage.__annotations__["choices"] = Choices[config]  # type: ignore[valid-type]
    return with_options(spec)(train_stage)


def _train(stage: "StageName", choices: Choices[Any], mode: TrainMode) -> None:
    from models.checkpoint import find_checkpoint
    from models.distributed import is_first_process, resolve_device
    from models.training.run_folder import own_run, remove_run
    from models.training.stages.stage import has_fast_bf16
    from models.training.train import Trainer

    # What cannot be meant is refused before data or checkpoints are opened.
    refuse_together("--resume", mode.resume, {"--force": mode.force})
    run = choices.resolve() if mode.resume else on_network_of_init(stage, choices)
    if isinstance(run, GPTRun) and run.classifier and not (run.eval_fid or run.eval_classif):
        raise UsageError("--classifier judges at validations, which was not asked for", "add --eval-fid")
    run = with_steps_as_given(run, choices)
    folder = run.out / stage / run.name
    starts_anew = not (mode.resume or mode.force or mode.dry_run)
    if mode.resume:
        run = with_steps_as_given(resumed(choices, folder), choices)
    elif starts_anew and folder.exists() and is_first_process():
        if mode.plot:
            _plot_run(folder, mode.as_json)
            return
        raise PoseGPTError(
            f"{folder} exists already", "--resume it, --force to replace it, or give another --name"
        )

    run = _with_data(run)
    if run.debug:
        run = for_debugging(run, choices)
    with _data_folder(run) as data_folder:
        data = _open_data(run, data_folder)
        trainer = Trainer(run, data, mode.resume)
        if isinstance(run, GPTRun):
            find_checkpoint(run.classifier, "classifier")
        if mode.dry_run:
            show_plan(trainer, folder, mode.as_json)
            return
        is_imitated = run.precision == "bf16-mixed" and not has_fast_bf16(resolve_device(run.device))
        if is_imitated and is_first_process():
            warn("this machine imitates bf16, which takes many times as long: --precision auto chooses")
        with own_run(folder):
            # Only now is the old run removed: what cannot be trained leaves it as it is.
            if mode.force and is_first_process():
                remove_run(folder, run)
            result = _fit(trainer, folder, mode.plot)
    if is_first_process():
        _show_end(result, mode.as_json)
        next_step(shlex.join(["posegpt", *_next_words(stage, run, choices, data.info.labels)]))


def _plot_run(folder: Path, as_json: bool) -> None:
    """Draw the curves of a run that exists."""
    curves = str(draw_curves(folder))
    if as_json:
        show_json({"curves": curves})
    else:
        show_result(curves)


def _show_end(result: "TrainResult", as_json: bool) -> None:
    """What came out of a run, and which pictures it made."""
    curves = draw_curves(result.folder)
    if as_json:
        outcome = {"folder": str(result.folder), "step": result.step, "metrics": result.metrics}
        show_json(outcome | {"curves": str(curves)})
    else:
        show_result(str(result.folder))
    show_figures(result.metrics)
    samples = result.folder / SAMPLES
    say(f"look at: {curves}" + (f", {samples}" if samples.is_dir() else ""))


def _next_words(stage: str, run: RunConfig, choices: Choices[Any], labels: tuple[str, ...]) -> list[str]:
    """The command that follows a stage."""
    folder = run.out / stage / run.name
    if stage == "gpt":
        return ["sample", "--gpt", str(folder), "--action", labels[0], "--out", "sample.mp4"]
    # Flags that the next stage shares with this one, as far as they are not the defaults.
    words = ["--dummy-data"] if run.dummy_data else ["--data", str(run.data)]
    preset = next(name for name, values in PRESETS[stage].items() if values is choices.preset)
    if preset != PRESET_ORDER[0]:
        words += ["--preset", preset]
    if run.out != RunConfig().out:
        words += ["--out", str(run.out)]
    if stage == "vqvae":
        return ["train", "gpt", *words, "--vqvae", str(folder)]
    generator = newest_run(run.out, "gpt")
    if generator and run.data:
        return after_classifier(run.data, generator, folder)
    return ["train", "vqvae", *words]


def _with_data(run: RunConfig) -> RunConfig:
    """The run with its data set, which is asked for if it is missing."""
    from models.distributed import is_first_process

    if run.dummy_data and run.data is not None and is_first_process():
        warn(f"--dummy-data takes the place of --data {run.data}")

    # One process asks on the terminal; several cannot.
    if run.data is None and not run.dummy_data:
        # Each of several processes would ask.
        if run.devices * run.num_nodes > 1:
            raise UsageError("--data is missing", "add --data PATH")
        run = run.model_copy(update={"data": Path(ask_path("--data", "prepared data set"))})
    return run


@contextmanager
def _data_folder(run: RunConfig) -> Iterator[Path]:
    """The prepared data of a run; procedural motions live as long as the block."""
    if not run.dummy_data:
        assert run.data is not None
        yield run.data
        return
    from data.synthetic import make_store

    with temporary_folder() as folder:
        make_store(folder, force=True)
        yield folder


def _open_data(run: RunConfig, folder: Path) -> "TrainingData":
    """Windows of a run's data, with a word on what is missing in it."""
    from data.training_data import open_training_data
    from models.distributed import is_first_process

    data = open_training_data(run, folder)
    if is_first_process():
        # Data that is left out, or validated on training clips, is never used in silence.
        if data.n_short:
            shorter = f"{data.n_short} of {data.n_clips} clips are shorter"
            say(f"{shorter} than --min-seq-len {run.min_seq_len}, and left out")
        if data.val_note:
            warn(f"{data.val_note}: validating on training clips")
    return data


def _fit(trainer: "Trainer", folder: Path, plot: bool) -> "TrainResult":
    """Train, the first process showing how it goes; an interruption that was saved exits with 130 or 143."""
    from models.distributed import is_first_process
    from models.training.loop import TrainingInterrupted

    # Only the first process shows and draws; the others just train.
    if not is_first_process():
        return trainer.fit(folder)
    say_begin(trainer)
    # The observer is made before training starts, so that a judge that does not fit ends it at once.
    try:
        with (
            show_training(f"train {folder.parent.name}", by_time=bool(trainer.run.minutes)) as show,
            ValidationObserver(trainer.run, folder, trainer.data) as observer,
        ):

            def on_progress(progress: "TrainingProgress") -> None:
                show(progress)
                if progress.metrics and plot:
                    observer.draw(draw_curves, folder)

            return trainer.fit(folder, on_progress, observer)
    except TrainingInterrupted as stop:
        say(str(stop))
        again = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
        next_step(f"posegpt {shlex.join(again)} --resume")
        raise typer.Exit(stop.exit_code) from stop
