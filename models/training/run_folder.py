"""The folder of a run: its checkpoints, what --resume needs, and its log of figures."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from models.checkpoint import (
    CheckpointInfo,
    link_checkpoint,
    read_info,
    read_weights,
    save_checkpoint,
)
from models.errors import PoseGPTError
from models.files import standing_folder, sweep, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from models.training.train import Progress

STATE = "state.pt"
BEST, LAST = "best", "last"
_STEP = re.compile(r"step-\d+")


@dataclass(frozen=True, eq=False)
class SavedState:
    """What --resume goes on from."""

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
        """Write the last checkpoint with what --resume needs; to be kept, under its step's name first."""
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

        Raises PoseGPTError where there is none, it is damaged, or it is of other data or another network.
        """
        folder = standing_folder(self.folder / LAST)
        if not (folder / STATE).is_file():
            raise PoseGPTError(
                f"{self.folder.parent} has nothing to resume (no {STATE})", "leave out `resume`", "resume"
            )
        info = read_info(folder)
        _refuse_change(info, now, self.folder.parent)
        try:
            training = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise PoseGPTError(
                f"{folder / STATE} cannot be read: {error}", "start again with force=True", "force"
            ) from error
        return SavedState(read_weights(folder, info, expected), training)

    def clean(self) -> None:
        """Remove what killed processes left half-written or half-removed."""
        sweep(self.folder)
        self._remove_older()

    def _remove_older(self) -> None:
        """Remove all but the latest checkpoints under their steps' names."""
        kept = [path for path in self.folder.glob("step-*") if _STEP.fullmatch(path.name)]
        for old in sorted(kept, key=lambda path: int(path.name[5:]))[: max(0, len(kept) - self.keep)]:
            shutil.rmtree(old, ignore_errors=True)


def _refuse_change(then: CheckpointInfo, now: CheckpointInfo, folder: Path) -> None:
    """Raises PoseGPTError where a run would go on with other data, another body, network or tokenizer."""
    for name, what in (
        ("stage", "stage"), ("network", "network"), ("body_type", "body"), ("fps", "frame rate"),
        ("tokenizer_sha256", "tokenizer"), ("labels", "label vocabulary"), ("data_fingerprint", "data"),
    ):  # fmt: skip
        old, new = getattr(then, name), getattr(now, name)
        if isinstance(old, dict):
            changed = [key for key in old | new if old.get(key) != new.get(key)]
            old, new = ({key: d.get(key) for key in changed} or None for d in (old, new))
        if old != new:
            raise PoseGPTError(
                f"the {what} of {folder} was {_short(old)}, got {_short(new)}",
                f"resume with the {what} it began with, or begin another run with another `name`",
                "name",
            )


def _short(value: object) -> str:
    """A value in one line."""
    text = f"{len(value)} ({', '.join(value)})" if isinstance(value, tuple) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


class FigureLog:
    """metrics.jsonl and TensorBoard events of a run.

    Args:
        step: where the run begins or goes on; what an interrupted run logged after it is dropped.
        writes: whether this process is the one that writes.
    """

    EVERY = 20
    """Steps between two lines; validations have theirs in any case."""

    board: "SummaryWriter"

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        self.folder, self.step, self.writes = folder, step, writes

    def __enter__(self) -> Self:
        if self.writes:
            from torch.utils.tensorboard import SummaryWriter

            with self._explained():
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / "metrics.jsonl"
                _drop_after(path, self.step)
                self.lines = path.open("a", buffering=1)
                self.board = SummaryWriter(str(self.folder), purge_step=self.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        if self.writes:
            with suppress(OSError):  # all but what `write` has raised for is on disk
                self.lines.close()
            with suppress(OSError):
                self.board.close()

    def write(self, line: "Progress") -> None:
        if not self.writes or (line.step % self.EVERY and not line.metrics):
            return
        with self._explained():
            self.lines.write(json.dumps(asdict(line)) + "\n")
            for prefix, values in (("loss", line.terms), ("val", line.metrics)):
                for name, value in values.items():
                    self.board.add_scalar(f"{prefix}/{name}", value, line.step)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make a full disk a PoseGPTError."""
        try:
            yield
        except OSError as error:
            raise PoseGPTError(
                f"cannot write the figures in {self.folder}: {error.strerror or error}; "
                "the last checkpoint stays as it was",
                "make room, then go on with resume=True",
                "resume",
            ) from error


def _drop_after(path: Path, step: int) -> None:
    """Keep the whole lines of metrics.jsonl up to a step."""
    if not path.is_file():
        return
    kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
    write_atomically(path, "".join(f"{line}\n" for line in kept).encode(), force=True)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the process was killed while it wrote this
        return float("inf")
