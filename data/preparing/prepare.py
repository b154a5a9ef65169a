"""Recordings to training data: the one entry for all kinds of sources, its dry run, and a check. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.preparing.babel import plan_babel, prepare_babel
from data.preparing.conversion import SourceFile, header_fault
from data.preparing.mocap import plan_mocap, prepare_mocap
from data.preparing.report import PrepareReport
from data.preparing.settings import PrepareSettings
from data.preparing.work_folder import OnProgress, WorkFolder
from data.store import open_store, stores_below
from models.errors import PoseGPTError
from models.motion import Motion


@dataclass(frozen=True)
class PreparePlan:
    """What `prepare` would do."""

    files: int
    """Files to convert."""
    finished: int
    """Those of them that an interrupted run, or shards, have converted already."""
    labelled: int
    """Clips with labels."""
    label_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    """(file, reason) of files that are known to be left out."""
    unmatched: tuple[tuple[str, str], ...]
    """(table, row) of rows in tables of labels or splits that name no file."""
    missing: tuple[str, ...]
    """Files that BABEL names and AMASS lacks."""
    stores: tuple[Path, ...]
    """What would be written."""


def prepare(settings: PrepareSettings, on_progress: OnProgress | None = None) -> PrepareReport:
    """Make training data of BABEL and AMASS, or of any folders of motion capture.

    Each file is converted into a work folder, then copied to its split's store, all in constant memory.
    Nothing appears under a store's name until all of it is whole. After an interruption the same call
    continues where it stopped.
    With `settings.shard` only a share of the files is converted, and no store is made.

    Args:
        settings: what to read and where to write.
        on_progress: called after every file.

    Raises PoseGPTError if nothing can be read or the target cannot be written; single damaged files are
    skipped and listed in the report.
    """
    if settings.babel:
        return prepare_babel(settings, on_progress)
    return prepare_mocap(settings, on_progress)


def plan(settings: PrepareSettings, on_progress: OnProgress | None = None) -> PreparePlan:
    """What `prepare` would do, without doing it: of each file, the header is read.

    Args:
        settings: as for `prepare`.
        on_progress: called after every header.

    Raises PoseGPTError as `prepare` does.
    """
    if settings.babel:
        babel = plan_babel(settings)
        sources = [clip.source for clip in babel.clips]
        annotated = [record for clip in babel.clips for _, record in clip.uses]
        return PreparePlan(
            files=len(babel.clips),
            finished=_finished(settings, sources),
            labelled=sum(record.spans is not None for record in annotated),
            label_names=babel.label_names,
            skipped=babel.faulty + _refused(sources, on_progress),
            unmatched=(),
            missing=babel.missing,
            stores=babel.stores,
        )
    mocap = plan_mocap(settings)
    sources = [clip.source for clip in mocap.clips]
    return PreparePlan(
        files=len(mocap.clips),
        finished=_finished(settings, sources),
        labelled=sum(bool(clip.labels) for clip in mocap.clips),
        label_names=mocap.label_names,
        skipped=mocap.skipped + _refused(sources, on_progress),
        unmatched=mocap.unmatched,
        missing=(),
        stores=mocap.stores,
    )


def _refused(sources: Sequence[SourceFile], on_progress: OnProgress | None) -> tuple[tuple[str, str], ...]:
    """(file, reason) of those whose header says that they cannot be used."""
    refused = []
    for n_done, source in enumerate(sources, start=1):
        reason = header_fault(source)
        if reason:
            refused.append((source.name, reason))
        if on_progress:
            on_progress(n_done, len(sources), source.name)
    return tuple(refused)


def _finished(settings: PrepareSettings, sources: Sequence[SourceFile]) -> int:
    work = WorkFolder(settings.work_folder)
    return sum(work.finished(source) is not None for source in sources)


def random_windows(folders: Sequence[Path], n: int, seq_len: int, seed: int = 0) -> list[Motion]:
    """Up to n windows at random places of random clips out of stores, each clip at most once."""
    # A split may be empty.
    stores = [store for store in map(open_store, folders) if len(store)]
    # Clips are numbered through all stores; `ends` says where each store's numbers begin and end.
    ends = np.cumsum([0, *(len(store) for store in stores)])
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(ends[-1])[:n]
    # Each clip at most once, at a random place; a clip that is shorter than the window is taken whole.
    windows = []
    for clip in chosen.tolist():
        k = int(np.searchsorted(ends, clip, side="right")) - 1
        motion = stores[k].motion(clip - int(ends[k]))
        start = int(rng.integers(max(1, motion.n_frames - seq_len + 1)))
        windows.append(motion.crop(start, start + seq_len))
    return windows


def check_stores(root: Path) -> dict[Path, str]:
    """Every store at or below a folder, read from end to end -> what is wrong with it (empty: nothing).

    Raises PoseGPTError if there is no store.
    """
    faults: dict[Path, str] = {}
    for path in stores_below(root):
        try:
            open_store(path).verify()
            faults[path] = ""
        except PoseGPTError as error:
            faults[path] = error.message
    if not faults:
        raise PoseGPTError(f"no prepared data in {root}", "make it with posegpt prepare")
    return faults
