"""Writes a store (see data/store.py) clip by clip. Imports no torch."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from data.actions import STYLE_PREFIX
from data.store import FORMAT_VERSION, Manifest, StoreHeader
from data.store_files import CLIPS, MANIFEST, STORE_FILES, ArrayInfo, joined_texts, sha256_of
from models import __version__
from models.body.skeleton import n_joints
from models.errors import PoseGPTError
from models.files import as_written, atomic_folder
from models.motion import Motion
from models.ownership import refuse_foreign


@dataclass(frozen=True)
class ClipWindow:
    """Frames of a motion that become a clip of its own, with their own labels and name."""

    start: int
    stop: int
    """Exclusive."""
    labels: tuple[str, ...]
    name: str
    texts: tuple[str, ...] = ()
    """What the clip shows, in sentences."""


class StoreWriter:
    """Writes a store clip by clip, in constant memory; the store appears when the `with` block ends well.

    Args:
        path: the folder to make.
        header: split, body type, frame rate and label vocabulary of every clip.
        force: replace an existing store.
        from_zero: clips are windows whose translation starts at zero; their heights are kept beside.
        per_frame: labels are given for every frame.
    """

    def __init__(
        self,
        path: Path | str,
        header: StoreHeader,
        force: bool = False,
        from_zero: bool = False,
        per_frame: bool = False,
    ) -> None:
        self.path = Path(path)
        self.header = header
        self.force = force
        self.from_zero = from_zero
        self.per_frame = per_frame
        self._columns = {name: k for k, name in enumerate(header.label_names)}
        self._lengths: list[int] = []
        self._heights: list[float] = []
        self._labels: list[list[int]] = []
        self._clips: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        if self.force:
            refuse_foreign(self.path, MANIFEST, STORE_FILES, "data set")
        # Clips are appended to a temporary folder, which takes its name when everything is written.
        self._folder = atomic_folder(self.path, self.force)
        self._partial = self._folder.__enter__()
        columns = {"poses.npy": n_joints(self.header.body_type) * 3, "trans.npy": 3}
        self._arrays = {name: _ArrayWriter(self._partial / name, n, "<f4") for name, n in columns.items()}
        if self.per_frame:
            name = "frame_labels.npy"
            self._arrays[name] = _ArrayWriter(self._partial / name, len(self.header.label_names), "|b1")
        return self

    def add(
        self,
        motion: Motion,
        source: str = "",
        frame_labels: NDArray[np.bool_] | None = None,
        window: ClipWindow | None = None,
        texts: Sequence[str] = (),
    ) -> None:
        """Append a clip; its labels must be in the vocabulary.

        Args:
            motion: the clip.
            source: the file that it comes from.
            frame_labels: (T, L) k-hot labels, required if the writer was made with per_frame.
            window: the part of the motion that is the clip (None: all of it, under its own name).
            texts: what it shows, in sentences, if there is no window that says it.

        Raises:
            PoseGPTError: if body type, frame rate or labels differ from the store's.
        """
        if window is None:
            window = ClipWindow(0, motion.n_frames, motion.labels, motion.name, tuple(texts))
        self._check(motion, window)
        trans = motion.trans[window.start : window.stop]
        n_frames = len(trans)
        with as_written(self.path):
            self._arrays["poses.npy"].append(motion.poses[window.start : window.stop].reshape(n_frames, -1))
            self._arrays["trans.npy"].append(trans - trans[0] if self.from_zero else trans)
            if self.per_frame:
                assert frame_labels is not None
                assert len(frame_labels) == n_frames
                self._arrays["frame_labels.npy"].append(frame_labels)
        self._heights.append(float(trans[0, 1]))
        self._lengths.append(n_frames)
        self._labels.append([self._columns[label] for label in window.labels])
        clip = {"name": window.name, "source": source}
        if window.labels and not window.labels[0].startswith(STYLE_PREFIX):
            clip["label"] = window.labels[0]
        if window.texts:
            clip["texts"] = joined_texts(window.texts)
        self._clips.append(clip)

    def _check(self, motion: Motion, window: ClipWindow) -> None:
        expected = self.header
        if motion.body_type != expected.body_type or abs(motion.fps - expected.fps) > 1e-6:
            raise PoseGPTError(
                f"clip {window.name} is {motion.body_type} at {motion.fps:g} fps, "
                f"expected {expected.body_type} at {expected.fps:g} fps",
                "convert it first",
            )
        unknown = [label for label in window.labels if label not in self._columns]
        if unknown:
            raise PoseGPTError(
                f"clip {window.name} has labels outside the vocabulary: {unknown}", "add them to it"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for array in self._arrays.values():
                # The partial store is removed anyway, so a full disk is no news here.
                with contextlib.suppress(OSError):
                    array.close()
            self._folder.__exit__(kind, error, trace)
            return

        # What fails now must remove the temporary folder, too.
        try:
            with as_written(self.path):
                for array in self._arrays.values():
                    array.close()
                self._write_tables()
        except BaseException as failure:
            self._folder.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._folder.__exit__(None, None, None)

    def _write_tables(self) -> None:
        lengths = np.array(self._lengths, np.int64)
        labels = np.zeros((len(lengths), len(self.header.label_names)), bool)
        for k, columns in enumerate(self._labels):
            labels[k, columns] = True
        np.save(self._partial / "starts.npy", np.cumsum(lengths) - lengths)
        np.save(self._partial / "lengths.npy", lengths)
        np.save(self._partial / "labels.npy", labels)
        if self.from_zero:
            np.save(self._partial / "heights.npy", np.array(self._heights, np.float32))
        (self._partial / CLIPS).write_text(_one_line_each(self._clips), encoding="utf-8")
        manifest = self._manifest(int(lengths.sum()))
        (self._partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")

    def _manifest(self, n_frames: int) -> Manifest:
        names = ["poses.npy", "trans.npy", "starts.npy", "lengths.npy", "labels.npy", CLIPS]
        if self.from_zero:
            names.append("heights.npy")
        if self.per_frame:
            names.append("frame_labels.npy")
        files = {name: _array_info(self._partial / name) for name in names}

        # What makes two stores the same data: not how they were prepared, nor by which version.
        header = self.header
        checksums = {name: info.sha256 for name, info in files.items()}
        identity = [header.split, header.body_type, header.fps, header.label_names, checksums]
        return Manifest(
            **header.model_dump(),
            format_version=FORMAT_VERSION if self.from_zero or self.per_frame else 1,
            n_clips=len(self._lengths),
            n_frames=n_frames,
            files=files,
            fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
            tool_version=__version__,
        )


def _one_line_each(clips: Sequence[dict[str, str]]) -> str:
    """What json.dumps(clips, indent=0) writes; without indent, json is ten times as fast."""
    if not clips:
        return "[]"
    entries = []
    for clip in clips:
        pairs = [f'"{key}": {json.dumps(value)}' for key, value in clip.items()]
        entries.append("{\n" + ",\n".join(pairs) + "\n}")
    return "[\n" + ",\n".join(entries) + "\n]"


class _ArrayWriter:
    """A .npy that grows row by row; its header is corrected at the end."""

    def __init__(self, path: Path, columns: int, dtype: str) -> None:
        self.columns = columns
        self.dtype = dtype
        self.rows = 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()
        self._data_start = self._file.tell()

    def append(self, rows: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def close(self) -> None:
        if self._file.closed:
            return
        # Closed even if the disk is full, as Windows removes no open file.
        with self._file:
            # Only now is the number of rows known.
            self._file.seek(0)
            self._write_header()
            # numpy pads headers so that the first axis can grow in place.
            assert self._file.tell() == self._data_start

    def _write_header(self) -> None:
        header = {"descr": self.dtype, "fortran_order": False, "shape": (self.rows, self.columns)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _array_info(path: Path) -> ArrayInfo:
    size = path.stat().st_size
    checksum = sha256_of(path)
    if path.suffix != ".npy":
        return ArrayInfo(bytes=size, sha256=checksum)
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return ArrayInfo(bytes=size, sha256=checksum, dtype=dtype.str, shape=shape)
