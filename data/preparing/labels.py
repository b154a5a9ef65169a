"""Where the labels of motion-capture clips come from: a table, the file name, or the folder. No torch."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data.actions import bandai_labels, clip_labels
from models.errors import PoseGPTError
from models.files import parse_json

Labeller = Callable[[Path], tuple[str, ...] | None]
"""Path of a clip, relative to the data set's folder -> its labels, or None where it has none."""


@dataclass(frozen=True)
class LabelTable:
    """Labels by a table; its rows name a clip by its file's stem, or its path with or without suffix."""

    rows: dict[str, tuple[str, ...]]

    def __call__(self, clip: Path) -> tuple[str, ...] | None:
        return next((self.rows[name] for name in _names(clip) if name in self.rows), None)

    def unmatched(self, clips: Iterable[Path]) -> tuple[str, ...]:
        """Rows that name none of the clips."""
        named = {name for clip in clips for name in _names(clip)}
        return tuple(row for row in self.rows if row not in named)


def table_labeller(path: Path, column: str = "labels", flag: str = "--labels") -> LabelTable:
    """Labels from a CSV (columns clip,labels; several separated by | or ;) or JSON ({clip: label or labels}).

    Args:
        path: the table.
        column: the CSV's column.
        flag: the option that named it, for messages.

    Raises PoseGPTError where the table cannot be read or holds nothing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PoseGPTError(
            f"cannot read {path}: {error.strerror}", f"check the path given to {flag}"
        ) from None
    except UnicodeDecodeError:
        raise PoseGPTError(f"{path} is no text file", f"{flag} takes a CSV or JSON file") from None
    table = _read_json(text, path) if path.suffix.lower() == ".json" else _read_csv(text, path, column)
    if not table:
        raise PoseGPTError(
            f"{path} holds no {column}", f"give a CSV with columns clip,{column} or JSON {{clip: {column}}}"
        )
    return LabelTable(table)


def pattern_labeller(pattern: str) -> Labeller:
    """Labels from file names by a regular expression with groups `action` and, optionally, `style`.

    Raises PoseGPTError where the pattern is no regular expression or lacks the group.
    """
    regex = _with_group(pattern, "action", r"e.g. --label-pattern '(?P<action>[a-z]+)_(?P<style>[a-z]+)_\d+'")

    def labels(clip: Path) -> tuple[str, ...] | None:
        match = regex.search(clip.stem)
        if match is None or not match["action"]:
            return None
        return clip_labels(match["action"], match["style"] if "style" in regex.groupindex else None)

    return labels


def default_labels(clip: Path) -> tuple[str, ...] | None:
    """Bandai's file names by themselves; otherwise the name of the folder the clip lies in."""
    found = bandai_labels(clip.stem)
    if found:
        return found
    return (clip.parent.name,) if clip.parent.name else ()


def actor_finder(pattern: str) -> Callable[[Path], str | None]:
    """Who a clip shows, by a regular expression over its path with a group `actor`; None where it fails.

    Raises PoseGPTError where the pattern is no regular expression or lacks the group.
    """
    regex = _with_group(pattern, "actor", r"e.g. --actor-pattern '(?P<actor>\w+)/[^/]+$'")

    def actor(clip: Path) -> str | None:
        match = regex.search(clip.as_posix())
        return match["actor"] if match else None

    return actor


def _names(clip: Path) -> tuple[str, ...]:
    """What a table may call a clip."""
    return clip.as_posix(), clip.with_suffix("").as_posix(), clip.name, clip.stem


def _with_group(pattern: str, group: str, hint: str) -> re.Pattern[str]:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise PoseGPTError(f"{pattern!r} is no regular expression: {error}", hint) from None
    if group not in regex.groupindex:
        raise PoseGPTError(f"the pattern {pattern!r} has no group named {group}", hint)
    return regex


def _read_json(text: str, path: Path) -> dict[str, tuple[str, ...]]:
    try:
        found = parse_json(text)
    except ValueError as error:
        raise PoseGPTError(f"{path} is no JSON: {error}", "give {clip: label or [labels]}") from None
    if not isinstance(found, dict):
        raise PoseGPTError(f"{path} does not map clips to labels", "give {clip: label or [labels]}")
    table: dict[str, tuple[str, ...]] = {}
    for clip, labels in found.items():
        labels = [labels] if isinstance(labels, str) else labels
        if not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
            raise PoseGPTError(f"{path} does not map clips to labels", "give {clip: label or [labels]}")
        table[clip] = _clean(labels)
    return table


def _read_csv(text: str, path: Path, column: str) -> dict[str, tuple[str, ...]]:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise PoseGPTError(f"{path} is no CSV: {error}", f"give columns clip,{column}") from None
    columns = [name.strip().lower() for name in (rows[0] if rows else ())]
    if not {"clip", column} <= set(columns):
        raise PoseGPTError(
            f"{path} needs columns clip and {column}, got {', '.join(columns) or 'none'}", "name them so"
        )
    clip, labels = columns.index("clip"), columns.index(column)
    full = [row for row in rows[1:] if len(row) > max(clip, labels) and row[clip].strip()]
    return {row[clip].strip(): _clean(re.split(r"[|;]", row[labels])) for row in full}


def _clean(labels: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in labels if name.strip()))
