"""Logger of a training run: its figures in metrics.jsonl and as TensorBoard events."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from models.errors import PoseGPTError
from models.files import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingProgress:
    """One step of training, with the figures of a validation if one followed it."""

    step: int
    total: int
    """Steps this run will take, as far as can be foreseen."""
    seconds_left: float
    windows_per_second: float
    terms: dict[str, float]
    """Loss terms, weighted, of all processes; their sum is the loss."""
    metrics: dict[str, float]
    """Validation figures; empty between validations."""
    learning_rate: float
    """Of this step."""
    memory: int
    """Peak memory so far in bytes: of the GPU on CUDA, else of this process."""


class MetricsLogger:
    """Writes metrics.jsonl and TensorBoard events while its `with` block runs.

    Args:
        folder: of the run.
        step: where the run begins or goes on; what an interrupted run logged after it is dropped.
        writes: whether this process is the one that writes.
        every: steps from one row to the next; validations get a row in any case. Loss terms are means over
            the steps since the last row in which they were computed.
    """

    board: "SummaryWriter"

    def __init__(self, folder: Path, step: int, writes: bool, every: int = 20) -> None:
        self.folder = folder
        self.step = step
        self.writes = writes
        self.every = every
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self.writes:
            from torch.utils.tensorboard import SummaryWriter

            with self._explained():
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / METRICS
                # What an interrupted run logged after its last checkpoint would come twice.
                _drop_after(path, self.step)
                self.rows = path.open("a", buffering=1)
                self.board = SummaryWriter(str(self.folder), purge_step=self.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.writes:
            return
        # A row that could not be written has raised in `write` already.
        with suppress(OSError):
            self.rows.close()
        with suppress(OSError):
            self.board.close()

    def write(self, progress: TrainingProgress) -> None:
        """Take note of a step, and log a row if it is due. Raises PoseGPTError if the disk is full."""
        if not self.writes:
            return
        for name, value in progress.terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        if progress.step % self.every and not progress.metrics:
            return

        # A term that is not computed at every step is averaged over the steps at which it was.
        terms = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums.clear()
        self.counts.clear()
        with self._explained():
            self.rows.write(json.dumps(asdict(progress) | {"terms": terms}) + "\n")
            for prefix, values in (("loss", terms), ("val", progress.metrics)):
                for name, value in values.items():
                    self.board.add_scalar(f"{prefix}/{name}", value, progress.step)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a full disk into a PoseGPTError."""
        try:
            yield
        except OSError as error:
            raise PoseGPTError(
                f"cannot write the figures in {self.folder}: {error.strerror or error}; "
                "the last checkpoint stays as it was",
                "free some space, then go on with resume=True",
                parameter="resume",
            ) from error


def _drop_after(path: Path, step: int) -> None:
    """Keep the whole rows of metrics.jsonl up to a step."""
    if not path.is_file():
        return
    kept = [row for row in path.read_text().splitlines() if _step_of(row) <= step]
    write_atomically(path, "".join(f"{row}\n" for row in kept).encode(), force=True)


def _step_of(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        # The process was killed while it wrote this row.
        return float("inf")
