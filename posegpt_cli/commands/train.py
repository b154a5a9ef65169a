"""`posegpt train vqvae|gpt|classifier`: resolve the run's config, open the data, train with a live line."""

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

from data.actions import STYLE_PREFIX
from models.errors import PoseGPTError
from models.files import write_atomically
from models.training.config import PRESETS, ClassifierRun, GPTRun, RunConfig, VQVAERun
from posegpt_cli.console import (
    UsageError,
    ask_path,
    next_step,
    say,
    show_json,
    show_result,
    warn,
)
from posegpt_cli.options.config_file import dashed_words, read_config_file, switch_words
from posegpt_cli.options.fields import config_fields
from posegpt_cli.options.flags import BEHAVIOUR
from posegpt_cli.options.from_config import Choices, OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import PlanSettings
from posegpt_cli.training.curves import draw_curves
from posegpt_cli.training.live import show_figures, show_size, show_training
from posegpt_cli.training.visits import SAMPLES, Visits

if TYPE_CHECKING:
    from data.store import Store
    from models.training.stages import DataInfo, TrainStage
    from models.training.train import Progress, TrainResult, Windows

SET_BY_DATA = {
    "vqvae": ("body_type",),
    "gpt": ("n_codebook", "codes_per_book", "n_labels", "label_changes"),
    "classifier": ("body_type", "n_labels", "names", "styles"),
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
    **dict.fromkeys(
        ("train_batch_size", "accumulate", "learning_rate", "iter", "minutes", "warmup", "ab1", "ab2",
         "weight_decay", "grad_clip", "ema", "eos_force"), "Optimisation",
    ),
    **dict.fromkeys(
        ("seq_len", "min_seq_len", "balance", "start_share", "join_share", "mirror", "rotate", "token_copies",
         "dummy_data"),
        "Data",
    ),
    **dict.fromkeys(
        ("eval_every", "eval_batches", "n_visu_to_save", "keep", "eval_fid", "eval_classif", "classifier"),
        "Validation",
    ),
    **dict.fromkeys(
        ("device", "devices", "num_nodes", "strategy", "precision", "compile", "num_workers",
         "prefetch_factor"), "Machine",
    ),
    **dict.fromkeys(("network", "encoder", "init"), "Network"),
    **dict.fromkeys(("losses", "body_model"), "Losses"),
    **dict.fromkeys(("seed", "debug"), BEHAVIOUR),
}  # fmt: skip
"""Help panel of a field, or of a part of the config; the help keeps this order."""

PRESET_HELP = "Settings to start from: tiny for a CPU, base for a GPU, paper for the original's architecture."
ALIASES = {"vqvae": ("--vq-ckpt",)}
"""PoseGPT's own names of fields that are called otherwise here."""
OLD_FLAGS = {"--style": "--arch"}
"""Flags of `train gpt` that have another name now."""
OF_TOKENIZER = ("--n-codebook", "--n-e", "--e-dim", "--hid-dim", "--dropout", "--model")
"""What PoseGPT's command for the generator repeats of its tokenizer."""


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


def original_spelling(words: Sequence[str]) -> list[str]:
    """The command line with PoseGPT's own `--n_e 512` as `--n-e 512`, and its `--debug 1` as `--debug`.

    Raises UsageError where the generator is told the shape of its tokenizer, which brings it along.
    """
    fields = [f for run in (VQVAERun, GPTRun, ClassifierRun) for f in config_fields(run, aliases=ALIASES)]
    if words[1:2] == ["gpt"]:
        words = [OLD_FLAGS.get(word, word) for word in words]
    words = dashed_words(words, (flag for field in fields for flag in (field.flag, *field.aliases)))
    flags = [word.partition("=")[0] for word in words]
    if words[1:2] == ["gpt"] and (repeated := [flag for flag in flags if flag in OF_TOKENIZER]):
        raise UsageError(f"{repeated[0]} is the tokenizer's, and comes with it", f"leave out {repeated[0]}")
    return switch_words(words, (field.flag for field in fields if field.type is bool))


def _command(stage: str, config: type[RunConfig]) -> Callable[..., None]:
    """`posegpt train STAGE`, with an option for every field of its config."""
    presets = {name: PRESETS[stage][name] for name in PRESET_ORDER}

    spec = OptionSpec(presets, PRESET_HELP, PANELS, SET_BY_DATA[stage], ALIASES)

    def train_stage(choices: Choices[Any], mode: TrainMode) -> None:
        _train(stage, choices, mode)

    # The run's config differs from stage to stage.
    train_stage.__annotations__["choices"] = Choices[config]  # type: ignore[valid-type]
    return with_options(spec)(train_stage)


def _train(stage: str, choices: Choices[Any], mode: TrainMode) -> None:
    from models.distributed import is_first_process

    refuse_together("--resume", mode.resume, {"--force": mode.force})
    run = choices.resolve()
    if isinstance(run, GPTRun) and run.classifier and not (run.eval_fid or run.eval_classif):
        raise UsageError("--classifier judges at validations, which was not asked for", "add --eval-fid")
    folder = run.out / stage / run.name
    if mode.resume:
        run = _resumed(choices, folder)
    elif folder.exists() and not mode.force and not mode.dry_run and is_first_process():
        if mode.plot:
            curves = str(draw_curves(folder))
            show_json({"curves": curves}) if mode.as_json else show_result(curves)
            return
        raise PoseGPTError(
            f"{folder} exists already", "--resume it, --force to replace it, or give another --name"
        )
    run = _with_data(run)
    with _data_folder(run) as data_folder:
        data = _open_data(run, data_folder)
        if mode.dry_run:
            _show_plan(run, folder, data, mode.as_json)
            return
        if is_first_process():
            if not mode.resume:
                _make_stage(run, data.info)  # what cannot be trained leaves the old run as it is
                _remove_run(folder, run)
            write_atomically(folder / RUN_FILE, _to_yaml(run).encode(), force=True)
        result = _run(run, folder, data, mode)
    if is_first_process():
        _show_end(result, mode.as_json)
        next_step(shlex.join(["posegpt", *_next_words(stage, run, choices, data.info.labels)]))


def _show_end(result: "TrainResult", as_json: bool) -> None:
    """What came out of a run, and what there is to look at."""
    curves = draw_curves(result.folder)
    if as_json:
        show_json(
            {
                "folder": str(result.folder), "step": result.step, "metrics": result.metrics,
                "curves": str(curves),
            }
        )  # fmt: skip
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
    words = ["--dummy-data"] if run.dummy_data else ["--data", str(run.data)]
    preset = next(name for name, values in PRESETS[stage].items() if values is choices.preset)
    if preset != PRESET_ORDER[0]:
        words += ["--preset", preset]
    if run.out != RunConfig().out:
        words += ["--out", str(run.out)]
    if stage == "vqvae":
        return ["train", "gpt", *words, "--vqvae", str(folder)]
    return ["train", "vqvae", *words]


def _with_data(run: RunConfig) -> RunConfig:
    """The run with its data set asked for where it is missing, and cut short by --debug."""
    from models.distributed import is_first_process

    if run.dummy_data and run.data is not None and is_first_process():
        warn(f"--dummy-data takes the place of --data {run.data}")
    if run.data is None and not run.dummy_data:
        if run.devices * run.num_nodes > 1:  # each process would ask
            raise UsageError("--data is missing", "add --data PATH")
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


def _remove_run(folder: Path, following: RunConfig) -> None:
    """Remove a run for --force; nothing else that may lie in its place, nor what the following one needs."""
    if not folder.exists():
        return
    if not (folder / RUN_FILE).is_file():
        raise PoseGPTError(
            f"{folder} is no run (it has no {RUN_FILE}), so --force leaves it", "give another --name"
        )
    for name in ("init", "encoder", "vqvae", "classifier"):
        source = getattr(following, name, None)
        if source and source.resolve().is_relative_to(folder.resolve()):
            raise PoseGPTError(
                f"--{name} {source} lies in {folder}, which --force would remove", "give another --name"
            )
    shutil.rmtree(folder)


def _make_stage(run: RunConfig, info: "DataInfo") -> "TrainStage":
    """What would be trained; raises PoseGPTError where settings, data and checkpoints do not fit together."""
    from models.checkpoint import find_checkpoint
    from models.training.fine_tune import warm_start
    from models.training.stages import make_stage

    stage = make_stage(run, info)
    if run.init:
        warm_start(stage, run.init, info)
    if isinstance(run, GPTRun):
        find_checkpoint(run.classifier, "classifier")
    return stage


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
    """Windows of a run's data. Raises PoseGPTError where there are none, or they are damaged."""
    from data.dataset import Windows
    from data.store import find_store, open_store
    from models.distributed import is_first_process
    from models.training.stages import DataInfo

    train_store = open_store(find_store(folder, "train"))
    gpt = run if isinstance(run, GPTRun) else None
    train_windows = Windows(
        train_store, run.seq_len, run.min_seq_len, run.train_batch_size, seed=run.seed, mirror=run.mirror,
        rotate=run.rotate, start_share=run.start_share, balance=run.balance,
        per_frame=gpt is not None, join_share=gpt.join_share if gpt else 0.0,
        copies=gpt.token_copies if gpt else 0,
    )  # fmt: skip
    if train_windows.n_short_clips and is_first_process():
        shorter = f"{train_windows.n_short_clips} of {len(train_store)} clips are shorter"
        say(f"{shorter} than --min-seq-len {run.min_seq_len}, and left out")
    val_windows = _val_windows(run, folder, train_store)
    m = train_store.manifest
    changing = train_store.frame_labels is not None
    styles = tuple(name for name in m.label_names if name.startswith(STYLE_PREFIX))
    names = () if changing else train_store.own_names
    info = DataInfo(m.label_names, m.body_type, m.fps, m.fingerprint, changing, names, styles)
    return _Data(info, train_windows, val_windows)


def _val_windows(run: RunConfig, folder: Path, train_store: "Store") -> "Windows":
    """Windows to validate on: training clips where a small set has no others that are long enough."""
    from data.dataset import Windows
    from data.store import find_store, open_store

    def windows(store: "Store") -> "Windows":
        sizes = (run.seq_len, run.min_seq_len, run.train_batch_size)
        return Windows(store, *sizes, per_frame=isinstance(run, GPTRun))

    try:
        path = find_store(folder, "val")
    except PoseGPTError as error:
        reason = error.message
    else:
        store = open_store(path)  # where it is damaged, training clips are no answer
        try:
            return windows(store)
        except PoseGPTError as error:
            reason = error.message
    warn(f"{reason}: validating on training clips")
    return windows(train_store)


def _run(run: RunConfig, folder: Path, data: _Data, mode: TrainMode) -> "TrainResult":
    """Train, the first process showing how it goes; an interruption that was saved exits with 130 or 143."""
    from models.distributed import is_first_process
    from models.training.train import TrainingInterrupted, train

    windows = (data.info, data.train, data.val)
    if not is_first_process():
        return train(run, folder, *windows, resume=mode.resume)
    try:
        with (
            show_training(f"train {folder.parent.name}") as show,
            Visits(run, folder, *windows[::2]) as visits,
        ):

            def report(progress: "Progress") -> None:
                show(progress)
                if progress.metrics and mode.plot:
                    visits.draw(draw_curves, folder)

            return train(run, folder, *windows, report, mode.resume, visits)
    except TrainingInterrupted as stop:
        say(str(stop))
        again = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
        next_step(f"posegpt {shlex.join(again)} --resume")
        raise typer.Exit(stop.exit_code) from stop


def _show_plan(run: RunConfig, folder: Path, data: _Data, as_json: bool) -> None:
    """What training would do: folder, size, steps, memory, settings."""
    from models.training.memory import estimate_memory

    stage = _make_stage(run, data.info)
    memory = estimate_memory(run, stage, data.info)
    plan: dict[str, Any] = {
        "folder": str(folder),
        "parameters": sum(p.numel() for p in stage.network.parameters()),
        "steps": run.iter,
        "labels": len(data.info.labels),
    }
    if as_json:
        show_json(plan | {"memory": asdict(memory), "settings": run.model_dump(mode="json")})
        return
    for key, value in plan.items():
        show_result(f"{key}: {value}")
    parts = ", ".join(f"{name} {show_size(n_bytes)}" for name, n_bytes in asdict(memory).items())
    show_result(f"memory: about {show_size(memory.total)} a device, beside the program's own ({parts})")
    show_result(_to_yaml(run).rstrip())


def _to_yaml(run: RunConfig) -> str:
    text: str = yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False)
    return text
