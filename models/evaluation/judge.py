"""What the classifier says of a set of motions, computed once and kept in a file."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import CheckpointInfo, find_checkpoint, load_classifier
from models.distributed import gather_rows, is_first_process, own_share, resolve_device
from models.errors import PoseGPTError
from models.evaluation.motions.clips import batches, fit, label_matrix
from models.evaluation.motions.generated import FINGERPRINT_LENGTH, OnProgress, no_progress
from models.files import write_atomically
from models.motion import Motion
from models.networks.classifier import Classifier
from models.npz import read_arrays

BATCH_SIZE = 64
"""Motions that go through the classifier at once."""
SECOND = "second"
"""Folder beside a classifier that holds another one, which was trained apart from it."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier with what its checkpoint says of it."""

    network: Classifier
    info: CheckpointInfo
    device: str

    @property
    def fingerprint(self) -> str:
        """Beginning of the weights' checksum."""
        return self.info.weights_sha256[:FINGERPRINT_LENGTH]

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of which a motion has exactly one; all labels, if the classifier learned no such group."""
        return self.network.config.names or self.info.labels


def load_judge(path: Path | None = None, device: str = "auto") -> Judge:
    """The classifier of a run or checkpoint folder; None is the bundled one."""
    device = resolve_device(device)
    network, info = load_classifier(find_checkpoint(path, "classifier"), device)
    return Judge(network, info, device)


def load_second_judge(path: Path | None = None, device: str = "auto") -> Judge | None:
    """The classifier that stands beside another one; None if there is none."""
    folder = find_checkpoint(path, "classifier") / SECOND
    return load_judge(folder, device) if folder.is_dir() else None


@dataclass(frozen=True)
class SetInfo:
    """Where a set of motions comes from."""

    data: str
    """Fingerprint of the motions."""
    max_frames: int
    """Longest piece."""
    n_clips: int
    """Clips that the motions were cut from."""
    clips: tuple[int, ...] | None = None
    """Clip of each motion (None: each is a clip of its own)."""


@dataclass(frozen=True, eq=False)
class Features:
    """A set of motions as the classifier sees it."""

    features: NDArray[np.float32]
    """(N, D) penultimate activations."""
    logits: NDArray[np.float32]
    """(N, L) one per label."""
    name_scores: NDArray[np.float32]
    """(N, M) one per name."""
    labels: NDArray[np.bool_]
    """(N, L) true labels, in the classifier's order."""
    own: NDArray[np.int64]
    """(N,) column of each motion's own name among the names; -1 if it is none of them."""
    lengths: NDArray[np.int64]
    """(N,) frames at the classifier's rate."""
    clips: NDArray[np.int64]
    """(N,) number of the clip that each motion was cut from."""
    label_names: tuple[str, ...]
    name_names: tuple[str, ...]
    style_names: tuple[str, ...]
    fps: float
    data: str
    """Fingerprint of the motions."""
    classifier: str
    """Fingerprint of the classifier."""
    max_frames: int
    """Longest piece."""
    n_clips: int
    """Clips that the N pieces were cut from."""

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, keep: Any) -> Self:
        """Some of the motions, by places or a mask."""
        arrays = {name: getattr(self, name)[keep] for name in _PER_MOTION}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        return type(self)(**arrays, **rest)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features, logits and labels in float64."""
        arrays = (self.features, self.logits, self.labels)
        features, logits, labels = (torch.from_numpy(a.astype(np.float64)) for a in arrays)
        return features, logits, labels

    def motion_labels(self, k: int) -> tuple[str, ...]:
        """Labels of motion k, its own name first."""
        names = [self.label_names[c] for c in np.flatnonzero(self.labels[k])]
        if self.own[k] < 0:
            return tuple(names)
        first = self.name_names[self.own[k]]
        return (first, *(name for name in names if name != first))


_PER_MOTION = ("features", "logits", "name_scores", "labels", "own", "lengths", "clips")
"""Fields of Features that hold a row per motion."""
_HALVED = ("features", "logits", "name_scores")
"""Arrays that are kept in half precision in the package."""
_TUPLES = ("label_names", "name_names", "style_names")


def extract(
    judge: Judge,
    label_sets: Sequence[tuple[str, ...]],
    motions_at: Callable[[list[int]], Sequence[Motion]],
    about: SetInfo,
    on_progress: OnProgress = no_progress,
) -> Features:
    """Features of as many motions as there are label sets, in order.

    Args:
        judge: the classifier.
        label_sets: true labels of each motion, its own name first; the classifier must know them.
        motions_at: gives the motions at some of the places; each process asks for its own share.
        about: where the motions come from.
        on_progress: called after each batch.
    """
    n = len(label_sets)
    labels = label_matrix(label_sets, judge.info.labels, "classifier")

    # Each process judges its own share; all of them end up with all rows, in order.
    said = gather_rows(classify(judge, motions_at(own_share(n)), on_progress), n)
    return said_features(judge, said, labels, label_sets, about)


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """A set of motions as two classifiers see it."""

    first: Features
    second: Features | None = None
    """None without a second classifier."""


def extract_twice(
    judges: Sequence[Judge],
    label_sets: Sequence[tuple[str, ...]],
    motions_at: Callable[[list[int]], Sequence[Motion]],
    about: SetInfo,
) -> JudgedSet:
    """The same motions, made once, as one or two classifiers see them; see `extract`."""
    motions = motions_at(own_share(len(label_sets)))
    found = [extract(judge, label_sets, lambda places: motions, about) for judge in judges]
    return JudgedSet(*found)


def said_features(
    judge: Judge,
    said: Tensor,
    labels: NDArray[np.bool_],
    label_sets: Sequence[tuple[str, ...]],
    about: SetInfo,
) -> Features:
    """Rows of `classify` with the labels that are true."""
    # The columns of `classify`: features, logits, scores of the names, length.
    width = judge.network.config.hid_dim
    n_labels = len(judge.info.labels)
    rows = said.numpy()
    place = {name: k for k, name in enumerate(judge.names)}
    return Features(
        features=rows[:, :width],
        logits=rows[:, width : width + n_labels],
        name_scores=rows[:, width + n_labels : -1],
        labels=labels,
        own=np.array([place.get(names[0], -1) for names in label_sets], np.int64),
        lengths=rows[:, -1].astype(np.int64),
        clips=np.arange(len(rows)) if about.clips is None else np.array(about.clips, np.int64),
        label_names=judge.info.labels,
        name_names=judge.names,
        style_names=judge.network.config.styles,
        fps=judge.info.fps,
        data=about.data,
        classifier=judge.fingerprint,
        max_frames=about.max_frames,
        n_clips=about.n_clips,
    )


@torch.no_grad()
def classify(judge: Judge, motions: Sequence[Motion], on_progress: OnProgress = no_progress) -> Tensor:
    """(N, D + L + M + 1) features, logits, scores of the names and length of motions of any rate and body."""
    fitted = [fit(motion, judge.info.fps, judge.info.body_type) for motion in motions]

    # Rows are filled out of order, because motions of like length share a batch.
    width = judge.network.config.hid_dim + len(judge.info.labels) + len(judge.names) + 1
    rows = torch.zeros(len(fitted), width)
    done = 0
    for places, batch in batches(fitted, BATCH_SIZE):
        batch = batch.to(judge.device)
        said = judge.network(batch.poses, batch.trans, batch.length)
        # A classifier of an earlier version has no scores of names alone: each label has one score.
        names = said.logits if said.names is None else said.names
        rows[places] = torch.cat([said.features, said.logits, names, batch.length[:, None].float()], 1).cpu()
        done += len(places)
        on_progress(done, len(fitted))
    return rows


def pack_features(features: Features, half: bool = False) -> bytes:
    """The content of an npz file; `half` keeps numbers in half precision, labels as bits."""
    arrays = {f.name: np.array(getattr(features, f.name)) for f in fields(features)}
    arrays["labels"] = np.packbits(features.labels, axis=1)
    if half:
        arrays |= {name: arrays[name].astype(np.float16) for name in _HALVED}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # numpy's stub knows no such names
    return content.getvalue()


def read_features(path: Path) -> Features:
    """What `pack_features` made; raises PoseGPTError if the file is missing or damaged."""
    hint = f"remove {path}, or give data=DIR"

    # Names and numbers come back in the types that they were packed from.
    file = read_arrays(path, [field.name for field in fields(Features)], hint)
    try:
        values: dict[str, Any] = {name: tuple(str(one) for one in file[name]) for name in _TUPLES}
        values |= {name: file[name].astype(np.float32) for name in _HALVED}
        n_labels = len(values["label_names"])
        found = Features(
            labels=np.unpackbits(file["labels"], axis=1, count=n_labels).astype(bool),
            own=file["own"].astype(np.int64),
            lengths=file["lengths"].astype(np.int64),
            clips=file["clips"].astype(np.int64),
            **values,
            fps=float(file["fps"]),
            data=str(file["data"]),
            classifier=str(file["classifier"]),
            max_frames=int(file["max_frames"]),
            n_clips=int(file["n_clips"]),
        )
        _check_shapes(found)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise PoseGPTError(f"{path.name} holds no features: {reason}", hint, "data") from error
    return found


def _check_shapes(found: Features) -> None:
    """Raises ValueError if the arrays of a file do not fit each other."""
    # Every array has a row per motion, and a column per label or name.
    n = len(found.lengths)
    n_labels = len(found.label_names)
    shapes = {
        "logits": (n, n_labels),
        "labels": (n, n_labels),
        "name_scores": (n, len(found.name_names)),
        "own": (n,),
        "clips": (n,),
    }
    fitting = all(getattr(found, name).shape == shape for name, shape in shapes.items())
    if not fitting or found.features.shape[:-1] != (n,):
        raise ValueError("its arrays do not fit each other")


def cached_features(path: Path, compute: Callable[[], Features]) -> Features:
    """Features from the file at `path`, or else computed and written there, if we may."""
    if path.exists():
        return read_features(path)
    features = compute()
    if is_first_process():
        # Where nothing can be kept, they are computed anew next time.
        with contextlib.suppress(PoseGPTError):
            write_atomically(path, pack_features(features), force=True)
    return features
