"""Recordings to training data: the one entry for all kinds of sources, its dry run, and a check. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.preparing.babel import plan_babel, prepare_babel
from data.preparing.mocap import plan_mocap, prepare_mocap
from data.preparing.report import PrepareReport
from data.preparing.settings import PrepareSettings
from data.preparing.work import Progress, Work, silent
from data.store import open_store, stores_below
from models.errors import PoseGPTError
from models.motion import Motion


@dataclass(frozen=True)
class Plan:
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


def prepare(settings: PrepareSettings, report: Progress = silent) -> PrepareReport:
    """Make training data of BABEL and AMASS, or of any folders of motion capture.

    Each file is converted into a work folder, then copied to its split's store, all in constant memory.
    Nothing appears under a store's name until all of it is whole. After an interruption the same call goes
    on where it stopped.
    With `settings.shard` only a share of the files is converted, and no store is made.

    Args:
        settings: what to read and where to write.
        report: called after every file.

    Raises PoseGPTError where nothing can be read or the target cannot be written; single damaged files are
    skipped and listed in the report.
    """
    return (prepare_babel if settings.babel else prepare_mocap)(settings, report)


def plan(settings: PrepareSettings) -> Plan:
    """What `prepare` would do, without doing it. Raises PoseGPTError as `prepare` does."""
    work = Work(settings.work_folder)
    unmatched: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    if settings.babel:
        babel = plan_babel(settings)
        tasks, stores = [clip.task for clip in babel.clips], babel.stores
        labelled = sum(record.spans is not None for clip in babel.clips for _, record in clip.uses)
        names, skipped, missing = babel.label_names, babel.faulty, babel.missing
    else:
        mocap = plan_mocap(settings)
        tasks, stores = [clip.task for clip in mocap.clips], mocap.stores
        labelled = sum(bool(clip.labels) for clip in mocap.clips)
        names, skipped, unmatched = mocap.label_names, mocap.skipped, mocap.unmatched
    finished = sum(work.finished(task) is not None for task in tasks)
    return Plan(len(tasks), finished, labelled, names, skipped, unmatched, missing, stores)


def random_windows(folders: Sequence[Path], n: int, seq_len: int, seed: int = 0) -> list[Motion]:
    """Up to n windows at random places of random clips out of stores, each clip at most once."""
    stores = [store for folder in folders if len(store := open_store(folder))]
    ends = np.cumsum([0, *(len(store) for store in stores)])
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(ends[-1])[:n]
    windows = []
    for clip in chosen.tolist():
        k = int(np.searchsorted(ends, clip, side="right")) - 1
        motion = stores[k].motion(clip - int(ends[k]))
        start = int(rng.integers(max(1, motion.n_frames - seq_len + 1)))
        windows.append(motion.crop(start, start + seq_len))
    return windows


def check_stores(root: Path) -> dict[Path, str]:
    """Every store at or below a folder, read from end to end -> what is wrong with it (empty: nothing).

    Raises PoseGPTError where there is no store.
    """
    found: dict[Path, str] = {}
    for path in stores_below(root):
        try:
            open_store(path).verify()
            found[path] = ""
        except PoseGPTError as error:
            found[path] = error.message
    if not found:
        raise PoseGPTError(f"no prepared data in {root}", "make it with posegpt prepare")
    return found
