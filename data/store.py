"""The store: prepared motion as plain memory-mapped .npy arrays beside a manifest. Imports no torch.

A store is one folder: poses.npy (N, J*3) float32, trans.npy (N, 3) float32, starts.npy and lengths.npy
(clips,) int64, labels.npy (clips, L) bool, clips.json (names and sources), manifest.json. Windows cut out of
clips, whose translation starts at zero, have heights.npy (clips,) float32 too; labels per frame are
frame_labels.npy (N, L) bool. It is written under a temporary name and renamed, so a folder that holds a
manifest is whole.
"""

import os
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data.actions import own_label
from data.store_files import (
    CLIPS,
    LARGEST_JSON,
    MANIFEST,
    PREPARE_AGAIN,
    STORE_FILES,
    ArrayInfo,
    Size,
    open_array,
    read_clips,
    sha256_of,
)
from models.body.skeleton import BodyType, n_joints
from models.config import Config
from models.errors import PoseGPTError, SettingsError, one_line
from models.files import parse_json, read_bytes
from models.leftovers import standing_folder
from models.motion import Motion

SPLITS = ("train", "val", "test")
FORMAT_VERSION = 2
"""1: without heights and frame labels. Stores that have neither are still written as 1."""

MIN_NAMED = 5
"""Clips that a label must be the own name of, to be one of those that a classifier tells apart."""
_DEPTH = 6
"""Levels of folders below the root that find_store searches."""
_PATIENCE = 10.0
"""Seconds in which a store is opened anew that is replaced meanwhile."""


class StoreHeader(Config):
    """What holds for all clips of a store."""

    split: str
    """train, val or test."""
    body_type: BodyType
    """Body whose joints the poses hold."""
    fps: Annotated[float, Field(gt=0, le=100_000)]
    """Frames per second."""
    label_names: tuple[str, ...]
    """The label vocabulary, the same for all splits: column k of labels.npy is label_names[k]."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What it was prepared with (JSON values)."""


class Manifest(StoreHeader):
    """What a store holds."""

    format: Literal["posegpt-store"] = "posegpt-store"
    """Tells this manifest from other programs' files."""
    format_version: int = FORMAT_VERSION
    """Raised when the layout changes."""
    n_clips: Size
    """Clips."""
    n_frames: Size
    """Frames in all clips."""
    files: dict[str, ArrayInfo]
    """File name -> size, checksum, dtype and shape."""
    fingerprint: str
    """Changes whenever motion, labels, split, body type or frame rate change."""
    tool_version: str
    """posegpt's version that wrote it."""


class Store:
    """A store opened for reading, arrays as read-only memory maps. Pickles by path: workers map it anew."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.poses: NDArray[np.float32] = self._open("poses.npy")
        """(N, J*3) rotation vectors of all clips, one after the other."""
        self.trans: NDArray[np.float32] = self._open("trans.npy")
        """(N, 3) metres."""
        self.starts: NDArray[np.int64] = self._open("starts.npy")
        """(clips,) first frame of each clip."""
        self.lengths: NDArray[np.int64] = self._open("lengths.npy")
        """(clips,) frames of each clip."""
        self.labels: NDArray[np.bool_] = self._open("labels.npy")
        """(clips, L) k-hot labels."""
        self.heights: NDArray[np.float32] | None = self._open_if_there("heights.npy")
        """(clips,) metres to add to the y of trans, if translations start at zero."""
        self.frame_labels: NDArray[np.bool_] | None = self._open_if_there("frame_labels.npy")
        """(N, L) k-hot labels of every frame, if the store has them; `labels` are those of whole clips."""

    def __len__(self) -> int:
        return self.manifest.n_clips

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes map the arrays anew instead of getting them copied.
        return open_store, (self.path,)

    def __repr__(self) -> str:
        m = self.manifest
        return f"Store({str(self.path)!r}, {m.split}, {m.n_clips} clips, {m.n_frames} frames, {m.body_type})"

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.manifest.label_names

    @cached_property
    def clips(self) -> list[dict[str, str]]:
        """Name and source of each clip."""
        return read_clips(self.path / CLIPS, len(self))

    @cached_property
    def sets(self) -> list[str]:
        """What each clip belongs to: its top folder in what was prepared, e.g. KIT or CMU of AMASS."""
        return [clip["source"].partition("/")[0] for clip in self.clips]

    @cached_property
    def texts(self) -> list[tuple[str, ...]]:
        """What each clip shows, in sentences; none for clips of which nobody said."""
        return [tuple(filter(None, clip.get("texts", "").split("\n"))) for clip in self.clips]

    @cached_property
    def own_labels(self) -> NDArray[np.int64]:
        """(clips,) column of the label that is each clip's own name; -1 for clips without labels.

        Stores of earlier versions do not say which it is: then it is the most particular label.
        """
        columns = {name: k for k, name in enumerate(self.label_names)}
        own = np.full(len(self), -1, np.int64)
        for k, clip in enumerate(self.clips):
            label = clip.get("label") or own_label(self._labels_of(k))
            own[k] = columns.get(label or "", -1)
        return own

    def clip_labels(self, k: int) -> tuple[str, ...]:
        """Labels of clip k: its own name first, the others in the vocabulary's order."""
        labels = self._labels_of(k)
        own = int(self.own_labels[k])
        if own < 0:
            return labels
        first = self.label_names[own]
        return (first, *(label for label in labels if label != first))

    @property
    def own_names(self) -> tuple[str, ...]:
        """Labels that are the own name of at least MIN_NAMED clips, in the vocabulary's order."""
        columns, counts = np.unique(self.own_labels, return_counts=True)
        kept = (columns >= 0) & (counts >= MIN_NAMED)
        return tuple(self.label_names[k] for k in columns[kept])

    def _labels_of(self, k: int) -> tuple[str, ...]:
        """Labels of clip k in the vocabulary's order."""
        return tuple(self.label_names[c] for c in np.flatnonzero(self.labels[k]))

    def motion(self, k: int) -> Motion:
        """Clip k as a Motion."""
        frames = slice(int(self.starts[k]), int(self.starts[k] + self.lengths[k]))
        body_type = self.manifest.body_type
        height = 0.0 if self.heights is None else self.heights[k]
        return Motion(
            poses=self.poses[frames].reshape(-1, n_joints(body_type), 3),
            trans=self.trans[frames] + np.array([0.0, height, 0.0], np.float32),
            fps=self.manifest.fps,
            body_type=body_type,
            labels=self.clip_labels(k),
            name=self.clips[k]["name"],
        )

    def verify(self) -> None:
        """Read everything and check it; raises PoseGPTError if anything is damaged."""
        for name, info in self.manifest.files.items():
            if name not in STORE_FILES:
                raise PoseGPTError(f"{self.path / MANIFEST} names {name}, which no store has", PREPARE_AGAIN)
            if sha256_of(self.path / name) != info.sha256:
                raise PoseGPTError(f"{self.path / name} is damaged: its checksum does not fit", PREPARE_AGAIN)

        # Each clip begins where the one before it ends, and the last one ends with the last frame.
        ends = np.cumsum(self.lengths)
        starts = np.concatenate([[0], ends])[: len(self)]
        is_complete = len(self) == 0 or ends[-1] == self.manifest.n_frames
        if not (np.array_equal(self.starts, starts) and is_complete):
            raise PoseGPTError(f"{self.path}: its clips do not tile its frames", PREPARE_AGAIN)

        # In pieces, because a store may be larger than the memory.
        for first in range(0, self.manifest.n_frames, 65536):
            for array in (self.poses, self.trans):
                if not np.isfinite(array[first : first + 65536]).all():
                    raise PoseGPTError(f"{self.path} holds NaN or infinite values", PREPARE_AGAIN)

    def _open_if_there(self, name: str) -> NDArray[Any] | None:
        return self._open(name) if name in self.manifest.files else None

    def _open(self, name: str) -> NDArray[Any]:
        info = self.manifest.files.get(name)
        if info is None:
            raise PoseGPTError(f"{self.path / MANIFEST} names no {name}", PREPARE_AGAIN)
        return open_array(self.path / name, info)


def open_store(path: Path | str) -> Store:
    """Open a store; sizes, shapes and types are checked here, contents only by `Store.verify`.

    Raises PoseGPTError if there is no store, or it is damaged or of a newer version.
    """
    path = Path(path).resolve()
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE:
        path = standing_folder(path)
        before = _identity(path)
        try:
            store = Store(path, read_manifest(path))
            _check_shapes(store)
            _check_clips(store)
        except PoseGPTError:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return store
        # Another process replaced the store while its files were opened, one by one: begin again.
    raise PoseGPTError(f"{path} is being replaced again and again", "wait until that is done")


def _identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from another one that has come to its place."""
    try:
        about = folder.stat()
    except OSError:
        return 0, 0
    # The number of a deleted folder is given out again: the time of the renaming tells the two apart.
    return about.st_ino, about.st_ctime_ns


def _check_shapes(store: Store) -> None:
    """Raises PoseGPTError if an array has another shape than the manifest's numbers ask for."""
    manifest = store.manifest
    expected = {
        "poses": (manifest.n_frames, n_joints(manifest.body_type) * 3),
        "trans": (manifest.n_frames, 3),
        "starts": (manifest.n_clips,),
        "lengths": (manifest.n_clips,),
        "labels": (manifest.n_clips, len(manifest.label_names)),
    }
    if store.heights is not None:
        expected["heights"] = (manifest.n_clips,)
    if store.frame_labels is not None:
        expected["frame_labels"] = (manifest.n_frames, len(manifest.label_names))
    # A manifest that contradicts itself would end in an index error much later.
    for name, shape in expected.items():
        found = getattr(store, name).shape
        if found != shape:
            raise PoseGPTError(f"{store.path}: {name} has shape {found}, expected {shape}", PREPARE_AGAIN)


def _check_clips(store: Store) -> None:
    """Raises PoseGPTError if a clip reaches beyond the frames."""
    if len(store) == 0:
        return
    n = store.manifest.n_frames
    # Each alone first: the sum of two large numbers may come out negative.
    is_inside = store.starts.min() >= 0 and store.starts.max() <= n
    is_inside = is_inside and store.lengths.min() >= 1 and store.lengths.max() <= n
    if not is_inside or (store.starts + store.lengths).max() > n:
        raise PoseGPTError(f"{store.path}: its clips reach beyond its {n} frames", PREPARE_AGAIN)


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store at `path`. Raises PoseGPTError if there is none or it cannot be read."""
    file = path / MANIFEST
    if not file.exists():
        raise PoseGPTError(f"no prepared data in {path}", "make it with posegpt prepare --bvh DIR --out DIR")
    try:
        found = parse_json(read_bytes(file, LARGEST_JSON))
        if isinstance(found, dict) and found.get("format_version", FORMAT_VERSION) > FORMAT_VERSION:
            raise PoseGPTError(
                f"{path} has store format {found['format_version']}, expected at most {FORMAT_VERSION}",
                "update posegpt",
            )
        return Manifest.model_validate(found)
    except (ValueError, TypeError, SettingsError) as error:
        raise PoseGPTError(f"{file} is no store's manifest: {one_line(error, 160)}", PREPARE_AGAIN) from None


def find_store(root: Path | str, split: str, body_type: BodyType | None = None) -> Path:
    """The one store of a split (and body type) at or below `root`.

    If `root` is a store of BABEL itself, its other splits are those prepared with the same settings.

    Raises PoseGPTError if there is none or several.
    """
    root = Path(root)
    if not root.is_dir():
        raise PoseGPTError(f"no folder {root}", "make it with posegpt prepare --bvh DIR --out DIR")
    stores = {path: read_manifest(path) for path in stores_below(root)}
    if root in stores and stores[root].split != split:
        stores |= {path: read_manifest(path) for path in _twin(root.resolve(), stores[root].split, split)}
    found = []
    for path, manifest in stores.items():
        if manifest.split == split and body_type in (None, manifest.body_type):
            found.append(path)
    if len(found) == 1:
        return found[0]

    # Anything else is an error that says what there is instead.
    kind = f"{body_type} " if body_type else ""
    if found:
        listing = ", ".join(str(p.relative_to(root)) for p in found)
        raise PoseGPTError(
            f"{root} holds {len(found)} prepared {kind}data sets with split {split}: {listing}",
            f"name the folder of one of them, e.g. {found[0]}",
        )
    if stores:
        there = ", ".join(sorted({f"{m.body_type} {m.split}" for m in stores.values()}))
        raise PoseGPTError(
            f"no prepared {kind}data with split {split!r} in {root}, only {there}", "name another folder"
        )
    raise PoseGPTError(f"no prepared data in {root}", "make it with posegpt prepare --bvh DIR --out DIR")


def _twin(store: Path, split: str, other: str) -> list[Path]:
    """The store of another split beside one of BABEL's: train_60/seqLen64... and val_60/seqLen64...."""
    name = store.parent.name
    twin = store.parent.with_name(other + name.removeprefix(split)) / store.name
    return [twin] if name.startswith(f"{split}_") and (twin / MANIFEST).is_file() else []


def stores_below(folder: Path, depth: int = _DEPTH) -> Iterable[Path]:
    """Folders with a manifest of ours, sorted; hidden folders are left out."""
    if (folder / MANIFEST).is_file() and not _is_foreign(folder / MANIFEST):
        yield folder
        return
    if depth == 0:
        return
    # Hidden folders are left out: unfinished stores are among them.
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return
    entries = [name for name in entries if not name.startswith(".")]
    for name in entries:
        yield from stores_below(folder / name, depth - 1)


def _is_foreign(manifest: Path) -> bool:
    """Whether a manifest.json is another program's; one that cannot be read may be ours."""
    try:
        found = parse_json(read_bytes(manifest, LARGEST_JSON))
    except (PoseGPTError, ValueError):
        return False
    return not (isinstance(found, dict) and found.get("format") == Manifest.model_fields["format"].default)
