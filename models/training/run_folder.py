"""The folder of a run: its settings, its checkpoints, and what is needed to resume it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from models.checkpoint import (
    CheckpointInfo,
    link_checkpoint,
    network_settings,
    read_info,
    read_weights,
    save_checkpoint,
)
from models.distributed import is_first_process
from models.errors import PoseGPTError
from models.files import write_atomically
from models.leftovers import standing_folder, sweep
from models.ownership import refuse_foreign, sole_owner
from models.training.config import RunConfig

RUN_FILE = "config.yaml"
"""The settings of a run in its folder, in the layout of its config."""
CHECKPOINTS = "checkpoints"
STATE = "state.pt"
BEST, LAST = "best", "last"
_OURS = (
    RUN_FILE,
    "metrics.jsonl",
    "curves.png",
    "events.out.tfevents.*",
    f"{CHECKPOINTS}/*.safetensors",
    f"{CHECKPOINTS}/*/config.json",
    f"{CHECKPOINTS}/*/{STATE}",
    "samples/step_*.mp4",
    "samples/step_*.png",
    "samples/events.out.tfevents.*",
)
"""All files of a run."""
_STEP = re.compile(r"step-\d+")


def begin_run(folder: Path, run: RunConfig, resume: bool) -> None:
    """Write a run's settings into its folder, from the first process.

    Raises PoseGPTError if another run has left checkpoints there, unless it is resumed.
    """
    if not is_first_process():
        return
    if not resume and (folder / CHECKPOINTS / LAST).exists():
        raise PoseGPTError(
            f"{folder} holds a run already", "resume=True goes on with it, or use another folder", "resume"
        )
    write_atomically(folder / RUN_FILE, to_yaml(run).encode(), force=True)


def remove_run(folder: Path, following: RunConfig) -> None:
    """Remove a run so that another can take its place; nothing else, and nothing that the other one needs.

    Raises PoseGPTError if the folder holds no run, or the new run starts from something in it.
    """
    refuse_foreign(folder, RUN_FILE, _OURS, "run")
    # Such as a run that is to be fine-tuned under its own name.
    for name in ("init", "encoder", "vqvae", "classifier"):
        source = getattr(following, name, None)
        if source and source.resolve().is_relative_to(folder.resolve()):
            raise PoseGPTError(
                f"{name}={source} lies in {folder}, which would be removed", "use another folder", name
            )
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def own_run(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in this folder; those of a distributed run share it.

    Raises PoseGPTError, with who is there, if another one trains there.
    """
    if is_first_process():
        with sole_owner(folder, "training"):
            yield
    else:
        yield


def to_yaml(run: RunConfig) -> str:
    """Settings as they stand in config.yaml."""
    text: str = yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False)
    return text


@dataclass(frozen=True, eq=False)
class SavedState:
    """What a resumed run goes on from."""

    weights: dict[str, Tensor]
    """Averaged weights."""
    training: dict[str, Any]
    """What the loop put into state.pt."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run."""

    folder: Path
    """The run's `checkpoints`."""
    keep: int = 0
    """How many of the latest ones stay beside the best and the last."""

    def save_best(self, info: CheckpointInfo, weights: dict[str, Tensor], tokenizer: Path | None) -> None:
        save_checkpoint(self.folder / BEST, info, weights, tokenizer)

    def save_last(
        self,
        info: CheckpointInfo,
        weights: dict[str, Tensor],
        tokenizer: Path | None,
        training: dict[str, Any],
    ) -> None:
        """Write the last checkpoint with what resuming needs; a kept one is named after its step."""
        # A checkpoint to be kept is written under the name of its step, and `last` becomes a link to it.
        state = {STATE: lambda file: torch.save(training, file)}
        name = f"step-{info.step:06d}" if self.keep else LAST
        save_checkpoint(self.folder / name, info, weights, tokenizer, state)
        if self.keep:
            link_checkpoint(self.folder / name, self.folder / LAST)
        self._remove_older()

    def load_last(self, now: CheckpointInfo, expected: dict[str, Tensor]) -> SavedState:
        """The last checkpoint with its state.

        Args:
            now: what a checkpoint of the run that goes on would say of itself.
            expected: weights of its network, for their names and shapes.

        Raises:
            PoseGPTError: if there is none, it is damaged, or it is of other data or another network.
        """
        folder = standing_folder(self.folder / LAST)
        if not (folder / STATE).is_file():
            raise PoseGPTError(
                f"{self.folder.parent} has nothing to resume (no {STATE})",
                "begin it with resume=False",
                "resume",
            )
        info = read_info(folder)
        _refuse_change(info, now, self.folder.parent)
        try:
            training = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file makes torch raise anything, with advice of its own
            raise PoseGPTError(
                f"{folder / STATE} cannot be read: it is damaged", "begin the run again in an empty folder"
            ) from error
        return SavedState(read_weights(folder, info, expected), training)

    def clean(self) -> None:
        """Remove what killed processes left half-written or half-removed."""
        sweep(self.folder)
        self._remove_older()

    def _remove_older(self) -> None:
        """Remove all but the latest checkpoints under their steps' names."""
        # Only names that this program gives: a folder `step-backup` is the user's.
        kept = [path for path in self.folder.glob("step-*") if _STEP.fullmatch(path.name)]
        kept.sort(key=lambda path: int(path.name.removeprefix("step-")))
        for old in kept[: max(0, len(kept) - self.keep)]:
            shutil.rmtree(old, ignore_errors=True)


_FIXED = {
    "stage": "stage",
    "network": "network",
    "body_type": "body",
    "fps": "frame rate",
    "tokenizer_sha256": "tokenizer",
    "labels": "label vocabulary",
    "data_fingerprint": "data",
}
"""What a run keeps when it is resumed: fields of CheckpointInfo, and what they are called."""


def _refuse_change(then: CheckpointInfo, now: CheckpointInfo, folder: Path) -> None:
    """Raises PoseGPTError if a run would go on with other data, another body, network or tokenizer."""
    # A run of an earlier version may lack settings that have been added since.
    then = then.model_copy(update={"network": network_settings(then)})
    for name, what in _FIXED.items():
        old = getattr(then, name)
        new = getattr(now, name)
        if old == new:
            continue
        # Of two networks only the settings that differ are worth reading.
        if isinstance(old, dict):
            changed = [key for key in old | new if old.get(key) != new.get(key)]
            old, new = ({key: d.get(key) for key in changed} or None for d in (old, new))
        raise PoseGPTError(
            f"the {what} of {folder} was {_short(old)}, got {_short(new)}",
            f"resume with the {what} it began with, or begin another run under another name",
            "name",
        )


def _short(value: object) -> str:
    """A value on one line."""
    text = f"{len(value)} ({', '.join(value)})" if isinstance(value, tuple) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."
