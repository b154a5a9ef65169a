"""Real motion for evaluation: splits of a data set, cut into pieces, and what a classifier says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.store import Store, find_store, open_store
from models.checkpoint import find_checkpoint
from models.errors import PoseGPTError
from models.evaluation.judge import (
    SECOND,
    Features,
    Judge,
    JudgedSet,
    SetInfo,
    cached_features,
    extract,
    read_features,
)
from models.evaluation.motions.clips import cut
from models.evaluation.motions.generated import OnProgress, no_progress
from models.motion import Motion

CACHE = "eval-features"
"""Folder beside the stores in which features are kept."""


@dataclass(frozen=True, eq=False)
class RealSets:
    """Features of the held-out motion and of what was trained on."""

    held_out: JudgedSet
    train: Features


@dataclass(frozen=True, eq=False)
class Pieces:
    """Motions of a split, each with the clip that it was cut from."""

    motions: list[Motion]
    clips: list[int]
    around: list[tuple[int, int]]
    """Frames of its clip before and after each motion."""


def open_split(data: Path | None, split: str) -> Store:
    """The store of a split; raises PoseGPTError if there is none."""
    if data is None:
        raise PoseGPTError("data is missing", "data=DIR, a prepared data set", "data")
    return open_store(find_store(data, split))


def real_pieces(store: Store, max_frames: int, labelled: bool = False) -> Pieces:
    """All motion of a store (or only that with labels), its clips cut without a remainder."""
    chosen = np.flatnonzero(store.labels.any(1)) if labelled else np.arange(len(store))
    return _pieces(store, chosen, max_frames)


def judged_pieces(store: Store, judges: Sequence[Judge], max_frames: int) -> Pieces:
    """All motion of a store with labels, and with none that a judge does not know, cut likewise.

    Raises PoseGPTError if there is no such clip.
    """
    chosen = np.flatnonzero(np.asarray(store.labels).any(1) & is_known(store, judges))
    if not len(chosen):
        raise PoseGPTError(
            f"the classifier does not know the labels of {store.path}",
            "train one on this data (posegpt train classifier), and give its run as classifier=RUN",
            "classifier",
        )
    return _pieces(store, chosen, max_frames)


def is_known(store: Store, judges: Sequence[Judge]) -> NDArray[np.bool_]:
    """(clips,) whether every judge knows all labels of a clip."""
    unknown = np.isin(store.label_names, _unknown_labels(store, judges))
    n_unknown: NDArray[np.int64] = np.asarray(store.labels)[:, unknown].sum(axis=1)
    return n_unknown == 0


def left_out(store: Store, judges: Sequence[Judge]) -> tuple[str, ...]:
    """A note on the clips of a store that the judges cannot judge, if there are any."""
    n = int((~is_known(store, judges)).sum())
    if not n:
        return ()
    unknown = ", ".join(_unknown_labels(store, judges))
    return (f"{n} clips are left out, whose labels the classifier does not know: {unknown}",)


def _unknown_labels(store: Store, judges: Sequence[Judge]) -> list[str]:
    """Labels of a store that one of the judges does not know."""
    return [name for name in store.label_names if not all(name in judge.info.labels for judge in judges)]


def _pieces(store: Store, chosen: NDArray[np.int64], max_frames: int) -> Pieces:
    """Clips of a store, cut without a remainder."""
    motions = list[Motion]()
    clips = list[int]()
    around = list[tuple[int, int]]()
    for k in chosen.tolist():
        # Each piece remembers its clip: pieces of one clip are no independent witnesses.
        pieces = cut(store.motion(k), max_frames)
        motions += pieces
        clips += [k] * len(pieces)
        before = 0
        for piece in pieces:
            after = int(store.lengths[k]) - before - piece.n_frames
            around.append((before, after))
            before += piece.n_frames
    return Pieces(motions, clips, around)


def bundled_sets(max_frames: int) -> RealSets:
    """Features that came with the bundled classifier."""
    folder = find_checkpoint(None, "classifier")
    held_out = read_features(folder / "real_val.npz")
    second = folder / SECOND / "real_val.npz"

    # Features of longer or shorter pieces have another distribution.
    if held_out.max_frames != max_frames:
        raise PoseGPTError(
            f"the bundled real features are of up to {held_out.max_frames} frames, not {max_frames}",
            "give data=DIR to compute them, or leave out max_frames",
            ("data", "max_frames"),
        )
    judged = JudgedSet(held_out, read_features(second) if second.exists() else None)
    return RealSets(judged, read_features(folder / "real_train.npz"))


def real_sets(
    data: Path,
    split: str,
    judges: Sequence[Judge],
    max_frames: int,
    on_progress: OnProgress = no_progress,
) -> RealSets:
    """Features of a split and of the training split, computed once and kept beside them."""
    store = open_split(data, split)

    # Every judge sees the held-out motion; copies are looked for by the first one alone.
    held_out = [real_features(store, judge, judges, max_frames, on_progress) for judge in judges]
    train = real_features(open_split(data, "train"), judges[0], judges, max_frames, on_progress)
    return RealSets(JudgedSet(*held_out), train)


def real_features(
    store: Store,
    judge: Judge,
    judges: Sequence[Judge],
    max_frames: int,
    on_progress: OnProgress = no_progress,
) -> Features:
    """Features, by one of several judges, of all motion of a store whose labels all of them know."""
    manifest = store.manifest
    # Where judges leave motion out, features of other company are of other motion.
    known = "-".join(one.fingerprint for one in judges if _unknown_labels(store, [one]))
    names = (manifest.split, manifest.fingerprint, judge.fingerprint, str(max_frames), "2", known)

    def compute() -> Features:
        pieces = judged_pieces(store, judges, max_frames)
        labels = [piece.labels for piece in pieces.motions]
        about = SetInfo(manifest.fingerprint, max_frames, len(store), tuple(pieces.clips))
        return extract(judge, labels, lambda at: [pieces.motions[k] for k in at], about, on_progress)

    return cached_features(store.path.parent / CACHE / ("-".join(filter(None, names)) + ".npz"), compute)
