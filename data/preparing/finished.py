"""Whether the same command has made its stores already: told by what they were made of. Imports no torch."""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.preparing.annotations import cut_windows
from data.preparing.conversion import SourceFile
from data.preparing.report import PrepareReport, Tally
from data.preparing.settings import SOURCES_KEY, PrepareSettings
from data.store import Manifest, Store, open_store, read_manifest
from data.store_files import MANIFEST
from models.errors import PoseGPTError


def digest_of(clips: Iterable[tuple[SourceFile, object]]) -> str:
    """Of files as they are now, how they are converted, and what is said of each; empty if one is gone.

    Args:
        clips: each file, and its labels, actor or annotations.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        for source, said in clips:
            digest.update(repr((source.key(source.state()), said)).encode())
    except OSError:
        return ""
    return digest.hexdigest()


def recorded_settings(settings: PrepareSettings, digest: str) -> dict[str, Any]:
    """What a manifest keeps of a run."""
    return settings.recorded() | {SOURCES_KEY: digest}


def finished_report(settings: PrepareSettings, planned: Sequence[Path], digest: str) -> PrepareReport | None:
    """The report of an earlier run of the same command, of the same files; None if there was none.

    It was killed between its last store and its end, or is simply repeated.
    """
    # A run that has not ended keeps its work folder, and goes on from there.
    is_repeated = not (settings.shard or settings.force or settings.work_folder.is_dir())
    if not digest or not is_repeated:
        return None
    # A body type that no file could give has no stores; those that are there must all be ours.
    recorded = recorded_settings(settings, digest)
    manifests: dict[Path, Manifest] = {}
    for path in planned:
        if (path / MANIFEST).is_file():
            with contextlib.suppress(PoseGPTError):
                manifests[path] = read_manifest(path)
            if path not in manifests or manifests[path].settings != recorded:
                return None
    if not manifests:
        return None

    # A store that is damaged inside is not a finished one.
    with contextlib.suppress(PoseGPTError):
        return _report(settings, manifests)
    return None


def _report(settings: PrepareSettings, manifests: Mapping[Path, Manifest]) -> PrepareReport:
    """What the stores hold. Raises PoseGPTError if one is damaged."""
    is_alone = len({manifest.body_type for manifest in manifests.values()}) == 1
    folders = {}
    for path, manifest in manifests.items():
        key = manifest.split if is_alone else f"{manifest.body_type} {manifest.split}"
        folders[key] = path
    tally = Tally(folders, settings.fps)
    for key, path in folders.items():
        _count(tally, key, open_store(path), settings)
    return PrepareReport(tally.splits, tally.by_label(), (), folders=folders, is_earlier=True)


def _count(tally: Tally, key: str, store: Store, settings: PrepareSettings) -> None:
    for k, clip in enumerate(store.clips):
        n_frames = int(store.lengths[k])
        labels: Sequence[str] | Mapping[str, int] = store.clip_labels(k)
        if store.frame_labels is not None:
            start = int(store.starts[k])
            counts = store.frame_labels[start : start + n_frames].sum(axis=0)
            labels = {store.label_names[column]: int(counts[column]) for column in np.flatnonzero(counts)}

        # BABEL's clips are windows of its recordings already.
        if settings.babel:
            tally.add(key, clip["source"], labels, 1, n_frames)
        else:
            windows = cut_windows(0, n_frames, settings.seq_len, 0, settings.min_seq_len)
            tally.add(key, clip["name"], labels, len(windows), n_frames)
