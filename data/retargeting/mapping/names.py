"""Joint names as people write them, brought to one form: side and part, without case or prefix."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_KNOWN_PREFIX = re.compile(r"^mixamorig\d*")
_VROID = re.compile(r"^J_Bip_(C_)?")
"""Hair and clothes, which may be most joints of a file, have other prefixes."""
_COMMON = 0.7
"""Share of the joints that begin, or end, with a word that is then no part of their names."""


_NUMBERED = 0.9
"""Share of the joints that end with a number which then counts joints; fewer number the spine's."""


class PlainName(NamedTuple):
    """A joint's name in its plain form."""

    side: str
    """left, right, or empty for joints of the middle."""
    part: str
    """What the joint is, in lower case without separators: `upleg`, `spine1`."""


def without_namespace(name: str) -> str:
    """`mixamorig7:Hips`, `Armature|Hips` and VRoid's `J_Bip_C_Hips` are `Hips`."""
    return _VROID.sub("", re.split(r"[:|]", name)[-1].strip())


def plain_names(names: Sequence[str], sided_parts: Collection[str]) -> list[PlainName]:
    """The plain form of all joint names of a file, together: a prefix is what most of them begin with.

    Args:
        names: as the file has them.
        sided_parts: parts that come in pairs, to split `lfemur` into left and femur.
    """
    words = [_split(without_namespace(name)) for name in names]

    # Prefixes first: what most names end with, such as _JNT, is seen without them too.
    words = _without_common(words, first=True)
    words = _without_common(words, first=False)
    words = _without_numbering(words)
    return [_plain(own, sided_parts) for own in words]


@cache
def plain_part(pattern: str) -> str:
    """The part of a pattern with * for the side: `*_UPPER_LEG` is upperleg."""
    return "".join(_split(pattern.replace("*", " ")))


def _split(name: str) -> list[str]:
    """`LeftUpLeg`, `left_up_leg` and `Left Up Leg` are left, up, leg; `spine_01` is spine, 1."""
    found = []
    for word in _WORD.findall(name):
        # As text: Python refuses to make a number of some thousands of digits.
        lower = (word.lstrip("0") or "0") if word.isdigit() else word.lower()
        # Glued to the name, as Collada and Unreal leave it, it is no word of its own.
        lower = _KNOWN_PREFIX.sub("", lower)
        if lower:
            found.append(lower)
    return found


def _without_common(names: list[list[str]], first: bool) -> list[list[str]]:
    """Names without the words that most of them begin (or end) with: `Robot_`, `CC_Base_`, `_JNT`."""
    index = 0 if first else -1
    while True:
        # A name of one word has none to spare.
        counts = Counter(words[index] for words in names if len(words) > 1)
        word, count = counts.most_common(1)[0] if counts else ("", 0)
        if count < _COMMON * len(names) or word in _SIDES:
            return names
        shorter = []
        for words in names:
            has_word = len(words) > 1 and words[index] == word
            rest = words[1:] if first else words[:-1]
            shorter.append(rest if has_word else words)
        names = shorter


def _without_numbering(names: list[list[str]]) -> list[list[str]]:
    """Names without the number that some converters put after every one: `LeftUpLeg_055`."""
    numbered = [len(words) > 1 and words[-1].isdigit() for words in names]
    if sum(numbered) < _NUMBERED * len(names):
        return names
    shorter = []
    for words, has_number in zip(names, numbered, strict=True):
        shorter.append(words[:-1] if has_number else words)
    return shorter


def _plain(words: list[str], sided_parts: Collection[str]) -> PlainName:
    # The side may stand anywhere: l_upleg, UpperArm_L, pelvis.L. Two marks are something else.
    marks = [word for word in words if word in _SIDES]
    if len(marks) == 1:
        rest = words.copy()
        rest.remove(marks[0])
        return PlainName(_SIDES[marks[0]], "".join(rest))

    # Written as one word: leftupleg, lfemur.
    whole = "".join(words)
    for mark, side in (("left", "left"), ("right", "right"), ("l", "left"), ("r", "right")):
        if whole.startswith(mark) and whole[len(mark) :] in sided_parts:
            return PlainName(side, whole[len(mark) :])
    return PlainName("", whole)
