"""What `posegpt eval` works on: real motion out of a data set or the box, motion files, their features."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.formats.load import read_motion
from data.preparing.labels import default_labels, table_labeller
from data.store import Store, find_store, open_store
from models.checkpoint import find_checkpoint
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.console import UsageError, progress

if TYPE_CHECKING:
    from models.evaluation.judge import Features, Judge

CACHE = "eval-features"
"""Folder beside the stores in which features are kept."""
SUFFIXES = (".npz", ".bvh")


@dataclass(frozen=True, eq=False)
class RealSets:
    """Features of the held-out motion and of what was trained on."""

    held_out: "Features"
    train: "Features"


def shipped_sets(max_frames: int) -> RealSets:
    """Features that came with the classifier in the box."""
    from models.evaluation.judge import read_features

    folder = find_checkpoint(None, "classifier")
    sets = RealSets(read_features(folder / "real_val.npz"), read_features(folder / "real_train.npz"))
    if sets.held_out.max_frames != max_frames:
        raise PoseGPTError(
            f"the real features in the box are of up to {sets.held_out.max_frames} frames, not {max_frames}",
            "give --data to compute them, or leave out --max-frames",
        )
    return sets


def real_sets(data: Path, split: str, judge: "Judge", max_frames: int) -> RealSets:
    """Features of a split and of the training split, computed once and kept beside them."""
    return RealSets(*(real_features(open_split(data, name), judge, max_frames) for name in (split, "train")))


def open_split(data: Path, split: str) -> Store:
    return open_store(find_store(data, split))


def real_features(store: Store, judge: "Judge", max_frames: int) -> "Features":
    """Features of all motion of a store; its clips are cut without a remainder."""
    from models.evaluation.judge import cached_features, extract

    manifest = store.manifest
    name = f"{manifest.split}-{manifest.fingerprint}-{judge.fingerprint}-{max_frames}.npz"

    def compute() -> "Features":
        pieces = real_motions(store, max_frames, labelled=True)
        with progress(f"features of {manifest.split}") as report:
            return extract(
                judge, [piece.labels for piece in pieces], lambda places: [pieces[k] for k in places],
                manifest.fingerprint, max_frames, len(store), report,
            )  # fmt: skip

    return cached_features(store.path.parent / CACHE / name, compute)


def real_motions(store: Store, max_frames: int, labelled: bool = False) -> list[Motion]:
    """All motion of a store (or only that with labels), its clips cut without a remainder."""
    from models.evaluation.clips import cut_all

    clips = [k for k in range(len(store)) if store.labels[k].any() or not labelled]
    return cut_all([store.motion(k) for k in clips], max_frames)


@dataclass(frozen=True, eq=False)
class Found:
    """Motion files of another system."""

    motions: list[Motion]
    fingerprint: str
    """Of the files' contents and labels."""


def read_folder(folder: Path, labels: Path | None = None, needs_labels: bool = True) -> Found:
    """All .npz and .bvh files at or below a folder, with labels where they are needed.

    Labels are those of the table, or those in the file, or else the name of the folder the file lies in.

    Raises PoseGPTError where there is no file, one cannot be read, or one has no label: none is left out.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise PoseGPTError(
            f"no .npz or .bvh files in {folder}", "give a folder of motion files to --generated"
        )
    labeller = table_labeller(labels) if labels else None
    digest, motions = hashlib.sha256(), []
    with progress("read") as report:
        for k, path in enumerate(files):
            motion = read_motion(path)
            relative = path.relative_to(folder)
            names = labeller(relative) if labeller else motion.labels or default_labels(relative)
            if not names and needs_labels:
                raise PoseGPTError(
                    f"{path} has no label", "give --labels FILE: a CSV with the columns clip,labels"
                )
            motions.append(_labelled(motion, names or (), str(relative)))
            digest.update(f"{relative.as_posix()}\0{names}\0".encode() + path.read_bytes())
            report(k + 1, len(files), relative.name)
    return Found(motions, digest.hexdigest()[:16])


def folder_features(found: Found, judge: "Judge", max_frames: int) -> "Features":
    """Features of motion files, cut as real clips are."""
    from models.evaluation.clips import cut_all
    from models.evaluation.judge import extract

    pieces = cut_all(found.motions, max_frames)
    with progress("features") as report:
        return extract(
            judge, [piece.labels for piece in pieces], lambda places: [pieces[k] for k in places],
            found.fingerprint, max_frames, len(found.motions), report,
        )  # fmt: skip


@contextmanager
def processes(shared: bool) -> Iterator[bool]:
    """Joins the other processes where torchrun started several; yields whether this one shall speak.

    Raises UsageError where several were started for work that cannot be shared.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield True
        return
    if not shared:
        raise UsageError("this evaluation runs in one process, got several", "start it without torchrun")
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()


def _labelled(motion: Motion, labels: Sequence[str], name: str) -> Motion:
    return replace(motion, labels=tuple(labels), name=name)
