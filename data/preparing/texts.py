"""What clips show in sentences: a table's column `text`, or a file per clip as in HumanML3D. No torch."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from data.preparing.labels import table_names
from data.store_files import LONGEST_TEXT
from models.errors import PoseGPTError
from models.files import read_text

TextFinder = Callable[[Path], tuple[str, ...]]
"""Path of a clip, relative to the data set's folder -> what it shows."""

COLUMN = "text"
_MOST_TEXTS = 100
"""Texts of one clip."""


def text_finder(labels: Path | None, folder: Path | None) -> TextFinder:
    """Texts of clips.

    Args:
        labels: the table of labels; one with a column `text` gives texts. A clip may have several rows.
        folder: of files NAME.txt, one text per line.

    Raises PoseGPTError if the folder is missing, or the table cannot be read.
    """
    if folder is not None and not folder.is_dir():
        raise PoseGPTError(f"no folder {folder}", "texts is a folder of NAME.txt, one per clip", "texts")
    table = _read_column(labels) if labels is not None and labels.suffix.lower() != ".json" else {}

    def texts(clip: Path) -> tuple[str, ...]:
        found: list[str] = []
        for name in table_names(clip):
            found += table.get(name, ())
        if folder is not None:
            found += _read_file(folder / f"{clip.stem}.txt")
        return tuple(dict.fromkeys(found))[:_MOST_TEXTS]

    return texts


def _read_column(path: Path) -> dict[str, list[str]]:
    """Texts by clip; none if the table has no such column. Faulty tables are refused with their labels."""
    rows = csv.DictReader(
        io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), skipinitialspace=True
    )
    # Columns in any order and case, as in the reader of labels.
    names = {name.strip().lower(): name for name in rows.fieldnames or () if name}
    table: dict[str, list[str]] = {}
    if not {"clip", COLUMN} <= names.keys():
        return table
    for row in rows:
        clip = (row[names["clip"]] or "").strip()
        text = (row[names[COLUMN]] or "").strip()
        if clip and text:
            table.setdefault(clip, []).append(text[:LONGEST_TEXT])
    return table


def _read_file(path: Path) -> list[str]:
    """Texts of one clip: the lines of a file up to "#", after which HumanML3D has word classes and times."""
    if not path.is_file():
        return []
    texts: list[str] = []
    for line in read_text(path).splitlines():
        text, _, rest = line.partition("#")
        times = rest.split("#")[1:]
        # A text of a part of the clip says nothing of the whole.
        if text.strip() and not any(_is_time(time) for time in times):
            texts.append(text.strip()[:LONGEST_TEXT])
    return texts


def _is_time(text: str) -> bool:
    """Whether a field is a time other than zero."""
    try:
        return float(text) > 0
    except ValueError:
        return False
