"""Word lists of English in english.json. Imports no torch."""

from functools import cache
from pathlib import Path
from typing import Any

from models.files import parse_json


def word_list(name: str) -> list[str]:
    """A list of words by its name."""
    return list(_lists()[name])


def word_map(name: str) -> dict[str, str]:
    """Words that stand for others."""
    return dict(_lists()[name])


def either(name: str) -> str:
    """The words of a list as alternatives of a regular expression."""
    return "|".join(word_list(name))


@cache
def _lists() -> dict[str, Any]:
    lists: dict[str, Any] = parse_json(Path(__file__).with_name("english.json").read_bytes())
    return lists
