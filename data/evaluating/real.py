"""Real motion for evaluation: splits of a data set, cut into pieces, and what a classifier says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    motions = list[Motion]()
    clips = list[int]()
    around = list[tuple[int, int]]()
    for k in range(len(store)):
        if labelled and not store.labels[k].any():
            continue

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
    held_out = [real_features(store, judge, max_frames, on_progress) for judge in judges]
    train = real_features(open_split(data, "train"), judges[0], max_frames, on_progress)
    return RealSets(JudgedSet(*held_out), train)


def real_features(
    store: Store, judge: Judge, max_frames: int, on_progress: OnProgress = no_progress
) -> Features:
    """Features of all labelled motion of a store; its clips are cut without a remainder."""
    manifest = store.manifest
    name = f"{manifest.split}-{manifest.fingerprint}-{judge.fingerprint}-{max_frames}-2.npz"

    def compute() -> Features:
        pieces = real_pieces(store, max_frames, labelled=True)
        labels = [piece.labels for piece in pieces.motions]
        about = SetInfo(manifest.fingerprint, max_frames, len(store), tuple(pieces.clips))
        return extract(judge, labels, lambda at: [pieces.motions[k] for k in at], about, on_progress)

    return cached_features(store.path.parent / CACHE / name, compute)
