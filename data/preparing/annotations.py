"""BABEL's annotations (Punnakkal et al. 2021): which spans of a clip show which actions. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.store import SPLITS
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.files import parse_json, read_bytes

RELEASE_FOLDERS = ("babel_v1.0_release", "babel_v1-0_release")
"""What the released archive unpacks to."""

AMASS_FOLDER: dict[BodyType, str] = {"smplx": "smplx", "smplh": "smplh", "smpl": "smplh"}
"""Body type -> folder of AMASS that it is made from."""

SMPLX_NAMES = {
    "DFaust_67": "DFaust", "Transitions_mocap": "Transitions", "TCD_handMocap": "TCDHands",
    "SSM_synced": "SSM", "MPI_mosh": "MoSh", "MPI_HDM05": "HDM05", "MPI_Limits": "PosePrior",
    "BioMotionLab_NTroje": "BMLrub",
}  # fmt: skip
"""Data sets of the SMPL-H release -> their names in the SMPL-X release."""

_SLACK = 1e-6
"""Frames: 0.1 s at 30 fps is frame 3, though 0.1 * 30 is a little more."""


@dataclass(frozen=True)
class Span:
    """One label: from when to when it is seen, and BABEL's categories of it."""

    start: float
    """Seconds."""
    stop: float
    """Seconds (exclusive); infinite: to the clip's end."""
    categories: tuple[str, ...]
    """act_cat; empty if BABEL has none."""
    texts: tuple[str, ...] = ()
    """raw_label and proc_label: what the annotator wrote, and the same made plain."""


@dataclass(frozen=True)
class Record:
    """One annotated clip."""

    sid: str
    """babel_sid."""
    feat_p: str
    """The clip's path as BABEL gives it."""
    spans: tuple[Span, ...] | None
    """Its labels; None if it has no annotation at all (test.json)."""


@dataclass(frozen=True)
class LabelledSegment:
    """Frames start to stop (exclusive) of a clip, and their labels."""

    start: int
    stop: int
    labels: tuple[str, ...]
    texts: tuple[str, ...] = ()


def find_babel(folder: Path) -> Path:
    """The folder that holds train.json, val.json, test.json: `folder`, or the release folder in it.

    Raises PoseGPTError if none does.
    """
    for candidate in (folder, *(folder / name for name in RELEASE_FOLDERS)):
        for split in SPLITS:
            if (candidate / f"{split}.json").is_file():
                return candidate
    raise PoseGPTError(
        f"no train.json, val.json or test.json in {folder}",
        f"babel is the folder of BABEL's release ({RELEASE_FOLDERS[0]})",
        parameter="babel",
    )


def read_babel(path: Path) -> tuple[list[Record], list[tuple[str, str]]]:
    """Records of train.json, val.json or test.json, by id, and (id, reason) of those that make no sense.

    Raises PoseGPTError if the file is missing or no BABEL file.
    """
    try:
        if not path.exists():
            raise PoseGPTError(f"no file {path}", "leave it out of split", parameter="split")
        entries = parse_json(read_bytes(path))
    except ValueError as error:
        raise PoseGPTError(f"{path} cannot be read: {error}", "download BABEL again") from None
    if not isinstance(entries, dict):
        raise PoseGPTError(f"{path} is no BABEL file: expected records by id", "give BABEL's release")
    records = []
    faulty = []
    for key, entry in entries.items():
        try:
            records.append(_record(key, entry))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            faulty.append((f"{path.name}:{key}", f"faulty record: {_reason(error)}"))
    return records, faulty


def _reason(error: Exception) -> str:
    """Why a record makes no sense."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return str(error) if isinstance(error, ValueError) else "a part is of another kind"


def amass_path(feat_p: str, body_type: BodyType) -> str:
    """Path of a clip below the AMASS folder, e.g. `smplx/BMLrub/rub001/0000_treadmill_norm_stageii.npz`.

    feat_p loses its first component; the SMPL-X release has other file and data set names.
    """
    # BABEL's paths begin with the data set's name twice.
    parts = PurePosixPath(feat_p).parts[1:]
    if body_type == "smplx":
        name = parts[-1]
        if name.endswith("poses.npz"):
            name = name.removesuffix("poses.npz") + "stageii.npz"
        parts = (SMPLX_NAMES.get(parts[0], parts[0]), *parts[1:-1], name)
        parts = tuple(part.replace(" ", "_") for part in parts)
    return "/".join((AMASS_FOLDER[body_type], *parts))


def segments(
    spans: Sequence[Span] | None, n_frames: int, fps: float, columns: Mapping[str, int]
) -> list[LabelledSegment]:
    """One segment for each span that has a chosen category: the frames k with start <= k / fps < stop.

    Args:
        spans: of the record; None (no annotation) gives the whole clip without labels.
        n_frames: of the clip, which bounds the spans.
        fps: of the clip.
        columns: chosen categories.
    """
    if spans is None:
        return [LabelledSegment(0, n_frames, ())]
    chosen = []
    for span in spans:
        labels = tuple(dict.fromkeys(name for name in span.categories if name in columns))
        start = _first_frame(span.start, fps, n_frames)
        stop = _first_frame(span.stop, fps, n_frames)
        if labels and start < stop:
            chosen.append(LabelledSegment(start, stop, labels, span.texts))
    return chosen


def frame_labels(
    segments: Sequence[LabelledSegment], n_frames: int, columns: Mapping[str, int]
) -> NDArray[np.bool_]:
    """(n_frames, L) k-hot labels of every frame."""
    labels = np.zeros((n_frames, len(columns)), bool)
    for segment in segments:
        for name in segment.labels:
            labels[segment.start : segment.stop, columns[name]] = True
    return labels


def cut_windows(start: int, stop: int, seq_len: int, overlap: int, min_seq_len: int) -> list[tuple[int, int]]:
    """Windows (start, stop) of seq_len frames; a remainder of min_seq_len frames or more is one too."""
    windows = []
    for first in range(start, stop, seq_len - overlap):
        # With an overlap, what remains may lie wholly in the window before.
        if first > start and stop - first <= overlap:
            break
        last = min(first + seq_len, stop)
        if last - first >= min(min_seq_len, seq_len):
            windows.append((first, last))
    return windows


def _first_frame(time: float, fps: float, n_frames: int) -> int:
    """First frame at or after a time, at most n_frames."""
    if time * fps >= n_frames:  # infinity too, which has no ceiling
        return n_frames
    if time <= 0:  # minus infinity too
        return 0
    return max(0, math.ceil(time * fps - _SLACK))


def _record(key: str, entry: dict[str, Any]) -> Record:
    feat_p = entry["feat_p"]
    # A path out of the folder would read any file there is.
    parts = PurePosixPath(feat_p).parts
    if len(parts) < 2 or ".." in parts or parts[0] == "/":
        raise ValueError(f"feat_p {feat_p!r} is no path below AMASS")
    timed = (entry.get("frame_ann") or {}).get("labels")
    whole = (entry.get("seq_ann") or {}).get("labels")
    spans: tuple[Span, ...] | None = None
    if timed:
        # BABEL's rule: labels with times say more than those of the whole sequence.
        spans = tuple(_span(label, float(label["start_t"]), float(label["end_t"])) for label in timed)
    elif whole:
        spans = tuple(_span(label, 0.0, math.inf) for label in whole)
    return Record(str(entry.get("babel_sid", key)), feat_p, spans)


def _span(label: dict[str, Any], start: float, stop: float) -> Span:
    categories = label.get("act_cat") or ()
    if not math.isfinite(start) or math.isnan(stop):
        raise ValueError("a label's time is not a number")
    if isinstance(categories, str) or not all(isinstance(name, str) for name in categories):
        raise TypeError(f"act_cat {categories!r} is no list of names")
    given = [label.get(key) for key in ("raw_label", "proc_label")]
    texts = tuple(dict.fromkeys(text for text in given if isinstance(text, str) and text.strip()))
    return Span(start, stop, tuple(categories), texts)
