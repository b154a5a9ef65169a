"""Where the labels of motion-capture clips come from: a table, the file name, or the folder. No torch."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data.actions import bandai_labels, clip_labels
from models.errors import PoseGPTError
from models.files import parse_json, read_bytes

Labeller = Callable[[Path], tuple[str, ...] | None]
"""Path of a clip, relative to the data set's folder -> its labels, or None if it has none."""


@dataclass(frozen=True)
class LabelTable:
    """Labels by a table; its rows name a clip by its file's stem, or its path with or without suffix."""

    rows: dict[str, tuple[str, ...]]

    def __call__(self, clip: Path) -> tuple[str, ...] | None:
        for name in table_names(clip):
            if name in self.rows:
                return self.rows[name]
        return None

    def unmatched(self, clips: Iterable[Path]) -> tuple[str, ...]:
        """Rows that name none of the clips."""
        named: set[str] = set()
        for clip in clips:
            named.update(table_names(clip))
        return tuple(row for row in self.rows if row not in named)


def table_labeller(path: Path, column: str = "labels", parameter: str = "labels") -> LabelTable:
    """Labels from a CSV (columns clip,labels; several separated by | or ;) or JSON ({clip: label or labels}).

    Args:
        path: the table.
        column: the CSV's column.
        parameter: the setting that named it, for messages.

    Raises PoseGPTError if the table cannot be read or holds nothing.
    """
    # Tables from spreadsheets begin with a byte order mark.
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except PoseGPTError as error:
        raise PoseGPTError(error.message, f"check the path of {parameter}", parameter=parameter) from None
    except UnicodeDecodeError:
        raise PoseGPTError(
            f"{path} is no text file", f"{parameter} is a CSV or JSON file", parameter=parameter
        ) from None
    if path.suffix.lower() == ".json":
        table = _read_json(text, path)
    else:
        table = _read_csv(text, path, column)
    if not table:
        raise PoseGPTError(
            f"{path} holds no {column}", f"give a CSV with columns clip,{column} or JSON {{clip: {column}}}"
        )
    return LabelTable(table)


def pattern_labeller(pattern: str) -> Labeller:
    """Labels from file names by a regular expression with groups `action` and, optionally, `style`.

    Raises PoseGPTError if the pattern is no regular expression or lacks the group.
    """
    regex = _with_group(
        pattern, "action", "label_pattern", r"e.g. label_pattern=(?P<action>[a-z]+)_(?P<style>[a-z]+)_\d+"
    )

    def labels(clip: Path) -> tuple[str, ...] | None:
        match = regex.search(clip.stem)
        if match is None or not match["action"]:
            return None
        style = match["style"] if "style" in regex.groupindex else None
        return clip_labels(match["action"], style)

    return labels


def default_labels(clip: Path) -> tuple[str, ...] | None:
    """Bandai's file names by themselves; otherwise the name of the folder the clip lies in."""
    labels = bandai_labels(clip.stem)
    if labels:
        return labels
    if clip.parent.name:
        return (clip.parent.name,)
    return ()


def actor_finder(pattern: str) -> Callable[[Path], str | None]:
    """Who a clip shows, by a regular expression over its path with a group `actor`; None without a match.

    Raises PoseGPTError if the pattern is no regular expression or lacks the group.
    """
    regex = _with_group(pattern, "actor", "actor_pattern", r"e.g. actor_pattern=(?P<actor>\w+)/[^/]+$")

    def actor(clip: Path) -> str | None:
        match = regex.search(clip.as_posix())
        return match["actor"] if match else None

    return actor


def table_names(clip: Path) -> tuple[str, ...]:
    """What a table may call a clip."""
    return clip.as_posix(), clip.with_suffix("").as_posix(), clip.name, clip.stem


def _with_group(pattern: str, group: str, parameter: str, hint: str) -> re.Pattern[str]:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise PoseGPTError(f"{pattern!r} is no regular expression: {error}", hint, parameter) from None
    if group not in regex.groupindex:
        raise PoseGPTError(f"the pattern {pattern!r} has no group named {group}", hint, parameter)
    return regex


def _read_json(text: str, path: Path) -> dict[str, tuple[str, ...]]:
    try:
        entries = parse_json(text)
    except ValueError as error:
        raise PoseGPTError(f"{path} is no JSON: {error}", "give {clip: label or [labels]}") from None
    wrong = PoseGPTError(f"{path} does not map clips to labels", "give {clip: label or [labels]}")
    if not isinstance(entries, dict):
        raise wrong
    table: dict[str, tuple[str, ...]] = {}
    for clip, labels in entries.items():
        if isinstance(labels, str):
            labels = [labels]
        if not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
            raise wrong
        table[clip] = _clean(labels)
    return table


def _read_csv(text: str, path: Path, column: str) -> dict[str, tuple[str, ...]]:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise PoseGPTError(f"{path} is no CSV: {error}", f"give columns clip,{column}") from None
    columns = [name.strip().lower() for name in (rows[0] if rows else ())]
    # The first row names the columns, in any order and case.
    if not {"clip", column} <= set(columns):
        raise PoseGPTError(
            f"{path} needs columns clip and {column}, got {', '.join(columns) or 'none'}",
            f"let its first line be clip,{column}",
        )
    clip_column = columns.index("clip")
    labels_column = columns.index(column)
    table: dict[str, tuple[str, ...]] = {}
    for row in rows[1:]:
        # A short row is a blank line or one that was cut off.
        if len(row) > max(clip_column, labels_column) and row[clip_column].strip():
            table[row[clip_column].strip()] = _clean(re.split(r"[|;]", row[labels_column]))
    return table


def _clean(labels: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in labels if name.strip()))
