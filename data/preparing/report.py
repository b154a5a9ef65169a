"""What `posegpt prepare` reports: what is in every split and action, and what was left out. No torch."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.actions import order_labels


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds."""

    clips: int = 0
    """Recordings of which there is something."""
    windows: int = 0
    """Windows of seq_len frames, and remainders of at least min_seq_len."""
    frames: int = 0
    fps: float = 30.0

    @property
    def hours(self) -> float:
        return self.frames / self.fps / 3600


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did. A split's name has the body type before it if there are several."""

    splits: dict[str, SplitSummary]
    """Split -> clips, windows, frames, hours."""
    labels: dict[str, dict[str, SplitSummary]]
    """Label -> split -> the same, in the vocabulary's order."""
    skipped: tuple[tuple[str, str], ...]
    """(file, reason) of every file that was left out."""
    unmatched: tuple[tuple[str, str], ...] = ()
    """(table, row) of every row in a table of labels or splits that names no file."""
    missing: tuple[str, ...] = ()
    """Files that BABEL names and AMASS lacks."""
    outside: dict[str, int] = field(default_factory=dict)
    """BABEL's categories that were not chosen -> labels that have them, the most frequent first."""
    unlabelled: int = 0
    """BABEL's labels without a category."""
    short: int = 0
    """Segments that are shorter than the shortest window."""
    shared: tuple[tuple[str, ...], ...] = ()
    """Groups of clips that have frames in common and therefore share a split."""
    torn: tuple[tuple[str, ...], ...] = ()
    """Groups of clips that have frames in common and that the given list puts into several splits."""
    glitches: tuple[tuple[str, int], ...] = ()
    """(file, steps in which a joint turns by more than 60 degrees per frame) of recordings that have some."""
    notes: tuple[tuple[str, str], ...] = ()
    """(file, note) of what was found out or put right while a file was read."""
    folders: dict[str, Path] = field(default_factory=dict)
    """Split -> its store."""
    converted: int = 0
    """Files that are usable; a shard makes no store of them yet."""
    is_earlier: bool = False
    """The stores are those of an earlier run of the same command: nothing was read or written."""


@dataclass(frozen=True)
class LeftOut:
    """Files that were left out for one kind of reason."""

    reason: str
    """The first file's reason, which calls that file "it"."""
    files: tuple[str, ...]


def group_reasons(skipped: Iterable[tuple[str, str]]) -> list[LeftOut]:
    """(file, reason) pairs by kind of reason, the most frequent first.

    Reasons are of one kind if they differ only in the file's name and in numbers.
    """
    # Numbers differ from file to file: joints, frames, millimetres.
    first_reasons: dict[str, str] = {}
    files: dict[str, list[str]] = {}
    for file, reason in skipped:
        reason = _without_name(reason, file)
        kind = re.sub(r"\d+(\.\d+)?", "#", reason)
        first_reasons.setdefault(kind, reason)
        files.setdefault(kind, []).append(file)
    groups = [LeftOut(first_reasons[kind], tuple(names)) for kind, names in files.items()]
    return sorted(groups, key=lambda group: -len(group.files))


def _without_name(reason: str, file: str) -> str:
    """A reason that says "it" for the file's path or name."""
    path = Path(file)
    for name in (file, path.name, path.stem):
        # Not in the midst of another path or word.
        said, n_found = re.subn(rf"(?<![\w/.-])(\S*/)?{re.escape(name)}(?![\w/-])", "it", reason)
        if n_found:
            return said
    return reason


class Tally:
    """Counts clips, windows and frames, in all and by label, while stores are written."""

    def __init__(self, splits: Iterable[str], fps: float) -> None:
        self._splits = tuple(splits)
        self._fps = fps
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def add(
        self, split: str, clip: str, labels: Iterable[str] | Mapping[str, int], windows: int, n_frames: int
    ) -> None:
        """Count windows of a clip; a clip counts once however often it comes.

        Args:
            split: where it is.
            clip: its name.
            labels: its labels; a mapping gives the frames that show each, if these are not all.
            windows: of it.
            n_frames: of it.
        """
        if not isinstance(labels, Mapping):
            labels = dict.fromkeys(labels, n_frames)
        # All labels together are counted under the empty name.
        for label, frames in {"": n_frames, **labels}.items():
            counts = self._counts.setdefault((label, split), [0, 0, 0])
            # A clip comes once for each of its windows.
            if (split, clip, label) not in self._seen:
                self._seen.add((split, clip, label))
                counts[0] += 1
            counts[1] += windows
            counts[2] += frames

    @property
    def splits(self) -> dict[str, SplitSummary]:
        """Split -> summary of all labels."""
        return {split: self._summary("", split) for split in self._splits}

    def by_label(self) -> dict[str, dict[str, SplitSummary]]:
        """Label -> split -> summary, every split named, labels in the vocabulary's order."""
        labels = order_labels(label for label, _ in self._counts if label)
        return {label: {split: self._summary(label, split) for split in self._splits} for label in labels}

    def _summary(self, label: str, split: str) -> SplitSummary:
        clips, windows, frames = self._counts.get((label, split), [0, 0, 0])
        return SplitSummary(clips, windows, frames, self._fps)


def most_frequent_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
