"""The settings of a training run as a command line means them: from a checkpoint, resumed, cut short."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import PoseGPTError
from models.training.config import RunConfig
from posegpt_cli.console import UsageError, warn
from posegpt_cli.options.config_file import merge, read_config_file
from posegpt_cli.options.from_config import Choices
from posegpt_cli.options.parsing import refuse_together

if TYPE_CHECKING:
    from models.checkpoint import StageName

SET_BY_DATA = {
    "vqvae": ("body_type",),
    "gpt": (
        "n_codebook",
        "text_dim",
        "text_encoder",
        "codes_per_book",
        "n_labels",
        "n_words",
        "word_dim",
        "label_changes",
    ),
    "classifier": ("body_type", "n_labels", "names", "styles"),
}
"""Fields of the networks that the data and the tokenizer decide."""

DEBUG_RUN = {
    "iter": 10,
    "eval_every": 10,
    "eval_batches": 1,
    "train_batch_size": 4,
    "warmup": 2,
    "minutes": None,
}


def for_debugging(run: RunConfig, choices: Choices[Any]) -> RunConfig:
    """The run cut short, with a word on what was asked for and is not done."""
    from models.distributed import is_first_process

    cut_short = {*DEBUG_RUN, "iters_per_epoch", "max_epochs"}
    overruled = [option.flag for option in choices.flags if option.name in cut_short]
    if overruled and is_first_process():
        warn(f"--debug overrules {', '.join(overruled)}")
    return run.replaced(**DEBUG_RUN)


def with_steps_as_given(run: RunConfig, choices: Choices[Any]) -> RunConfig:
    """The run with its length as this command line gives it: in steps, or in epochs."""
    given = {option.name for option in choices.flags}
    in_epochs = given & {"iters_per_epoch", "max_epochs"}
    if not in_epochs:
        return run
    refuse_together("--iter", "iter" in given, {"--iters-per-epoch and --max-epochs": True})
    # A preset or a stored run may count in steps.
    return run.replaced(iter=None)


def on_network_of_init(stage: "StageName", choices: Choices[Any]) -> RunConfig:
    """The run, its network that of the checkpoint it starts from, but for what is asked for by name."""
    run = choices.resolve()
    if run.init is None:
        return run
    from models.training.fine_tune import decisive_settings

    theirs = decisive_settings(run.init, stage)
    by_data = SET_BY_DATA[stage]
    network = {name: value for name, value in theirs.items() if name not in by_data}
    return replace(choices, preset=merge(choices.preset, {"network": network})).resolve()


def resumed(choices: Choices[Any], folder: Path) -> RunConfig:
    """The stored config of a run, with this command line's flags over it."""
    from models.training.run_folder import RUN_FILE

    stored = folder / RUN_FILE
    if not stored.is_file():
        raise PoseGPTError(f"there is no run to resume in {folder}", "leave out --resume, or give its --name")
    # The stored settings stand in the preset's place, so that flags still go over them.
    run = choices.resolve(instead_of_preset=stored)
    if run.network != choices.config.model_validate(read_config_file(stored, choices.config)).network:
        raise UsageError(
            f"the network of {folder} cannot be changed by --resume", "give another --name instead"
        )
    return run
