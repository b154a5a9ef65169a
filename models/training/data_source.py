"""What a training run needs of its data: batches to train and to validate on, and a description."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.batch import Batch
from models.body.skeleton import BodyType
from models.label_facts import LabelFacts


@dataclass(frozen=True)
class DataInfo:
    """What a run must know of its data set."""

    labels: tuple[str, ...]
    body_type: BodyType
    fps: float
    fingerprint: str
    per_frame: bool = False
    """Labels of the data change within clips."""
    names: tuple[str, ...] = ()
    """Labels that are some clip's own name."""
    styles: tuple[str, ...] = ()
    """Labels that are styles."""
    label_facts: Mapping[str, LabelFacts] = field(default_factory=dict)
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the data's texts say of labels that have no bundled phrases."""
    """How many clips have each label, and how long they are."""


class BatchSource(Protocol):
    """Batches as a function of the training step, so that a run can be resumed anywhere."""

    def batch(self, step: int) -> Batch: ...

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterable[Batch]: ...

    def eval_batches(self) -> Iterable[Batch]: ...

    def of_rank(self, rank: int, world: int) -> "BatchSource": ...


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Data of one run; `data.training_data.open_training_data` opens that of a prepared data set."""

    info: DataInfo
    train: BatchSource
    val: BatchSource
    second: BatchSource | None = None
    """Further data to validate on."""
    n_short: int = 0
    """Training clips that are left out because they are shorter than the run's min_seq_len."""
    n_clips: int = 0
    """Training clips in all."""
    val_note: str = ""
    """Why training clips are used for validation (empty if they are not)."""
