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
from models.distributed import gather_rows, own_share, resolve_device
from models.errors import PoseGPTError
from models.evaluation.clips import batches, fit, label_matrix
from models.files import write_atomically
from models.motion import Motion
from models.networks.classifier import Classifier
from models.npz import read_arrays

Progress = Callable[[int, int], None]
FINGERPRINT_LENGTH = 16
BATCH_SIZE = 64
"""Motions that go through the classifier at once."""


def no_progress(done: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier with what its checkpoint says of it."""

    network: Classifier
    info: CheckpointInfo
    device: str

    @property
    def fingerprint(self) -> str:
        return self.info.weights_sha256[:FINGERPRINT_LENGTH]


def load_judge(path: Path | None = None, device: str = "auto") -> Judge:
    """The classifier of a run or checkpoint folder; None is the one in the box."""
    device = resolve_device(device)
    network, info = load_classifier(find_checkpoint(path, "classifier"), device)
    return Judge(network, info, device)


@dataclass(frozen=True, eq=False)
class Features:
    """A set of motions as the classifier sees it."""

    features: NDArray[np.float32]
    """(N, D) penultimate activations."""
    logits: NDArray[np.float32]
    """(N, L)"""
    labels: NDArray[np.bool_]
    """(N, L) true labels, in the classifier's order."""
    lengths: NDArray[np.int64]
    """(N,) frames at the classifier's rate."""
    label_names: tuple[str, ...]
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
        arrays = {name: getattr(self, name)[keep] for name in ("features", "logits", "labels", "lengths")}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        return type(self)(**arrays, **rest)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features, logits and labels in float64."""
        arrays = (self.features, self.logits, self.labels)
        features, logits, labels = (torch.from_numpy(a.astype(np.float64)) for a in arrays)
        return features, logits, labels

    def clip_labels(self, k: int) -> tuple[str, ...]:
        return tuple(self.label_names[c] for c in np.flatnonzero(self.labels[k]))


def extract(
    judge: Judge,
    label_sets: Sequence[tuple[str, ...]],
    motions_at: Callable[[list[int]], Sequence[Motion]],
    data: str,
    max_frames: int,
    n_clips: int | None = None,
    report: Progress = no_progress,
) -> Features:
    """Features of as many motions as there are label sets, in order.

    Args:
        label_sets: true labels of each motion; the classifier must know them.
        motions_at: gives the motions at some of the places; each process asks for its own share.
        data: fingerprint of the motions.
        max_frames, n_clips: how they were cut, to be kept with the result.
    """
    n, width = len(label_sets), judge.network.config.hid_dim
    labels = label_matrix(label_sets, judge.info.labels, "the classifier")
    rows = gather_rows(classify(judge, motions_at(own_share(n)), report), n).numpy()
    return Features(
        features=rows[:, :width], logits=rows[:, width:-1], labels=labels,
        lengths=rows[:, -1].astype(np.int64), label_names=judge.info.labels, fps=judge.info.fps,
        data=data, classifier=judge.fingerprint, max_frames=max_frames,
        n_clips=n if n_clips is None else n_clips,
    )  # fmt: skip


@torch.no_grad()
def classify(judge: Judge, motions: Sequence[Motion], report: Progress = no_progress) -> Tensor:
    """(N, D + L + 1) features, logits and length of motions of any frame rate and body type."""
    fitted = [fit(motion, judge.info.fps, judge.info.body_type) for motion in motions]
    rows = torch.zeros(len(fitted), judge.network.config.hid_dim + judge.network.config.n_labels + 1)
    done = 0
    for places, batch in batches(fitted, BATCH_SIZE):
        batch = batch.to(judge.device)
        said = judge.network(batch.poses, batch.trans, batch.length)
        rows[places] = torch.cat([said.features, said.logits, batch.length[:, None].float()], 1).cpu()
        done += len(places)
        report(done, len(fitted))
    return rows


def pack_features(features: Features, half: bool = False) -> bytes:
    """The content of an npz file; `half` keeps numbers in half precision, labels as bits."""
    dtype = np.float16 if half else np.float32
    content = io.BytesIO()
    np.savez_compressed(
        content,
        features=features.features.astype(dtype), logits=features.logits.astype(dtype),
        labels=np.packbits(features.labels, axis=1), lengths=features.lengths,
        label_names=np.array(features.label_names), fps=np.array(features.fps),
        data=np.array(features.data), classifier=np.array(features.classifier),
        max_frames=np.array(features.max_frames), n_clips=np.array(features.n_clips),
    )  # fmt: skip
    return content.getvalue()


def read_features(path: Path) -> Features:
    """What `pack_features` made; raises PoseGPTError where the file is missing or damaged."""
    hint = f"remove {path}, or give --data"
    file = read_arrays(path, [field.name for field in fields(Features)], hint)
    try:
        names = tuple(str(name) for name in file["label_names"])
        found = Features(
            features=file["features"].astype(np.float32), logits=file["logits"].astype(np.float32),
            labels=np.unpackbits(file["labels"], axis=1, count=len(names)).astype(bool),
            lengths=file["lengths"].astype(np.int64), label_names=names, fps=float(file["fps"]),
            data=str(file["data"]), classifier=str(file["classifier"]), max_frames=int(file["max_frames"]),
            n_clips=int(file["n_clips"]),
        )  # fmt: skip
        n, of_labels = len(found.lengths), (len(found.lengths), len(names))
        if found.features.shape[:-1] != (n,) or {found.logits.shape, found.labels.shape} != {of_labels}:
            raise ValueError("its arrays do not fit each other")
    except (KeyError, TypeError, ValueError) as error:
        raise PoseGPTError(f"{path.name} holds no features: {str(error).splitlines()[0]}", hint) from error
    return found


def cached_features(path: Path, compute: Callable[[], Features]) -> Features:
    """Features from the file at `path`, or else computed and written there, if we may."""
    if path.exists():
        return read_features(path)
    features = compute()
    with contextlib.suppress(PoseGPTError):  # what cannot be kept is computed anew next time
        write_atomically(path, pack_features(features), force=True)
    return features
