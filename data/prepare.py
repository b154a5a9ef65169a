"""Motion-capture files to training data: read, retarget, resample, label, split, store. Imports no torch.

In constant memory: each clip is written to a spool as it comes, then copied to its split's store. Nothing
appears in the output folder until all of it is whole.
"""

import multiprocessing
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data.actions import order_labels
from data.bvh import read_bvh
from data.files import folder_atomically, refuse_existing
from data.labels import Labeller, default_labels, pattern_labeller, table_labeller
from data.retarget import retarget
from data.splits import assign_splits, frame_hashes, shared_groups, shuffled
from data.store import SPLITS, StoreWriter
from models.config import Config, Positive, Share
from models.errors import PoseGPTError
from models.motion import Motion

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the name of the last one."""


class PrepareSettings(Config):
    """`posegpt prepare` from motion-capture files."""

    bvh: Path
    """Folder of .bvh files, searched with its subfolders."""
    out: Path
    """Folder for the prepared data; the stores become OUT/smpl/mocap/{train,val,test}."""
    fps: Annotated[float, Field(gt=0, le=1000)] = 30.0
    """Frames a second of the prepared motion."""
    labels: Path | None = None
    """Labels of clips: CSV (columns clip,labels; several separated by | or ;) or JSON {clip: [labels]}."""
    label_pattern: str | None = None
    """Regular expression over file names with a group `action` and, optionally, `style`."""
    val_share: Share = 0.1
    """Share of each label's clips for validation."""
    test_share: Share = 0.1
    """Share of each label's clips for testing."""
    seed: int = 0
    """Seed of the split."""
    jobs: Positive = 1
    """Processes that read files."""
    force: bool = False
    """Replace prepared data of an earlier run."""


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds."""

    clips: int = 0
    frames: int = 0
    fps: float = 30.0

    @property
    def hours(self) -> float:
        return self.frames / self.fps / 3600

    def plus(self, frames: int) -> "SplitSummary":
        return SplitSummary(self.clips + 1, self.frames + frames, self.fps)


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare_mocap` did."""

    splits: dict[str, SplitSummary]
    """Split -> clips, frames, hours."""
    labels: dict[str, dict[str, SplitSummary]]
    """Label -> split -> clips, frames, hours, in the vocabulary's order."""
    skipped: tuple[tuple[str, str], ...]
    """(file, reason) of every file that was left out."""
    shared: tuple[tuple[str, ...], ...]
    """Groups of clips that have frames in common and therefore share a split."""
    folders: dict[str, Path] = field(default_factory=dict)
    """Split -> its store."""


@dataclass(frozen=True, eq=False)
class _Converted:
    """What a worker makes of one file: a motion, or the reason why not."""

    motion: Motion | None
    hashes: NDArray[np.uint64] | None
    reason: str = ""


def prepare_mocap(settings: PrepareSettings, report: Progress | None = None) -> PrepareReport:
    """Make training data of a folder of BVH files.

    Args:
        settings: what to read and where to write.
        report: called after every file.

    Raises PoseGPTError where nothing can be read or the target cannot be written; single damaged files are
    skipped and listed in the report.
    """
    target = settings.out / "smpl" / "mocap"
    refuse_existing(target, settings.force)
    files = find_files(settings.bvh, ".bvh")
    labeller = make_labeller(settings)
    with folder_atomically(target, settings.force) as partial:
        spool = _Spool(partial / "spool")
        skipped = _convert_all(files, settings, labeller, spool, report or _silent)
        if not spool.names:
            raise PoseGPTError(
                f"none of the {len(files)} files in {settings.bvh} could be used; "
                f"the first: {skipped[0][0]}: {skipped[0][1]}",
                "look at the files",
            )
        groups = shared_groups(spool.hashes)
        splits = assign_splits(
            spool.names,
            [labels[0] if labels else "" for labels in spool.labels],
            groups,
            settings.val_share,
            settings.test_share,
            settings.seed,
        )
        _write_splits(partial, spool, splits, settings)
        spool.remove()
    return _summary(settings, spool, splits, groups, skipped, target)


def find_files(folder: Path, suffix: str) -> list[Path]:
    """Files with a suffix (any case) at or below a folder, sorted.

    Raises PoseGPTError where the folder is missing, cannot be read, or holds none.
    """
    if not folder.is_dir():
        raise PoseGPTError(f"no folder {folder}", "give the folder that holds the motion files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PoseGPTError(f"cannot read folder {folder}", "check its permissions")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() == suffix and p.is_file())
    if not files:
        raise PoseGPTError(f"no {suffix} file in {folder}", "give the folder that holds the motion files")
    return files


def make_labeller(settings: PrepareSettings) -> Labeller:
    """How clips get their labels. Raises PoseGPTError where both ways are given, or one is faulty."""
    if settings.labels and settings.label_pattern:
        raise PoseGPTError(
            "labels are given twice, by a file and by a pattern", "use --labels or --label-pattern"
        )
    if settings.labels:
        return table_labeller(settings.labels)
    if settings.label_pattern:
        return pattern_labeller(settings.label_pattern)
    root_name = settings.bvh.resolve().name
    return lambda clip: default_labels(clip) or (root_name,)


def convert(path: Path, fps: float) -> _Converted:
    """Read, retarget and resample one file; what is wrong with it comes back as a reason."""
    try:
        motion = retarget(read_bvh(path))
        return _Converted(motion.resample(fps), frame_hashes(motion))
    except PoseGPTError as error:
        return _Converted(None, None, error.message)


class _Spool:
    """Clips of known length and unknown split, on disk; their names, labels and hashes in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.names: list[str] = []
        self.sources: list[str] = []
        self.labels: list[tuple[str, ...]] = []
        self.frames: list[int] = []
        self.hashes: list[NDArray[np.uint64]] = []

    def add(self, name: str, source: str, labels: tuple[str, ...], converted: _Converted) -> None:
        motion, hashes = converted.motion, converted.hashes
        assert motion is not None and hashes is not None
        np.savez(self.folder / f"{len(self.names)}.npz", poses=motion.poses, trans=motion.trans)
        self.names.append(name)
        self.sources.append(source)
        self.labels.append(labels)
        self.frames.append(motion.n_frames)
        self.hashes.append(hashes)

    def motion(self, k: int, fps: float) -> Motion:
        with np.load(self.folder / f"{k}.npz", allow_pickle=False) as arrays:
            return Motion(arrays["poses"], arrays["trans"], fps, labels=self.labels[k], name=self.names[k])

    def remove(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


def _convert_all(
    files: Sequence[Path], settings: PrepareSettings, labeller: Labeller, spool: _Spool, report: Progress
) -> list[tuple[str, str]]:
    """Fill the spool; returns (file, reason) of what was left out."""
    skipped: list[tuple[str, str]] = []
    relative = {path: path.relative_to(settings.bvh) for path in files}
    labels = {path: labeller(relative[path]) for path in files}
    labelled = [path for path in files if labels[path] is not None]
    where = settings.labels.name if settings.labels else "the pattern"
    skipped += [(relative[path].as_posix(), f"no label by {where}") for path in files if labels[path] is None]
    stems = _unique_names([relative[path] for path in labelled])
    results = _convert_in_order(labelled, settings.fps, settings.jobs)
    for done, (path, stem, converted) in enumerate(zip(labelled, stems, results, strict=True), start=1):
        source = relative[path].as_posix()
        if converted.motion is None:
            skipped.append((source, converted.reason))
        else:
            spool.add(stem, source, labels[path] or (), converted)
        report(done, len(labelled), source)
    return skipped


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """The files' stems where these are unique, else their paths without suffix."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [path.with_suffix("").as_posix() for path in paths]


def _convert_in_order(files: Sequence[Path], fps: float, jobs: int) -> Iterator[_Converted]:
    """Results in the order of the files, a bounded number of them in memory."""
    if jobs == 1 or len(files) < 2:
        yield from (convert(path, fps) for path in files)
        return
    # spawn: workers start clean, whatever threads the caller has
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(files)), mp_context=context, initializer=_start_worker)
    try:
        waiting: list[Future[_Converted]] = []
        upcoming = iter(files)
        for path in upcoming:
            waiting.append(pool.submit(convert, path, fps))
            if len(waiting) >= 8 * jobs:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_splits(folder: Path, spool: _Spool, splits: Sequence[str], settings: PrepareSettings) -> None:
    vocabulary = order_labels(name for labels in spool.labels for name in labels)
    order = shuffled(spool.names, settings.seed)
    for split in SPLITS:
        with StoreWriter(
            folder / split,
            split=split,
            body_type="smpl",
            fps=settings.fps,
            label_names=vocabulary,
            settings=_recorded(settings),
        ) as writer:
            for k in order:
                if splits[k] == split:
                    writer.add(spool.motion(k, settings.fps), spool.sources[k])


def _recorded(settings: PrepareSettings) -> dict[str, Any]:
    """What the manifest keeps of the settings: what decides the content, not where or how fast."""
    kept = settings.model_dump(mode="json", exclude={"out", "jobs", "force", "bvh", "labels"})
    return {"kind": "bvh", "source": settings.bvh.resolve().name, **kept}


def _summary(
    settings: PrepareSettings,
    spool: _Spool,
    splits: Sequence[str],
    groups: Sequence[int],
    skipped: Sequence[tuple[str, str]],
    target: Path,
) -> PrepareReport:
    totals = {split: SplitSummary(fps=settings.fps) for split in SPLITS}
    vocabulary = order_labels(name for labels in spool.labels for name in labels)
    by_label = {name: dict(totals) for name in vocabulary}
    members: dict[int, list[str]] = defaultdict(list)
    for name, labels, frames, split, group in zip(
        spool.names, spool.labels, spool.frames, splits, groups, strict=True
    ):
        totals[split] = totals[split].plus(frames)
        for label in labels:
            by_label[label][split] = by_label[label][split].plus(frames)
        members[group].append(name)
    return PrepareReport(
        splits=totals,
        labels=by_label,
        skipped=tuple(skipped),
        shared=tuple(tuple(names) for names in members.values() if len(names) > 1),
        folders={split: target / split for split in SPLITS},
    )


def _silent(done: int, total: int, name: str) -> None:
    pass
