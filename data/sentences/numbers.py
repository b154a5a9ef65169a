"""Durations and counts in sentences: "for two and a half seconds", "60 frames", "twice". Imports no torch."""

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS = {word: float(k) for k, word in enumerate(_ONES.split())}
NUMBERS |= {word: 10.0 * k for k, word in enumerate(_TENS, start=2)}
NUMBERS |= {"a": 1.0, "an": 1.0, "half": 0.5, "couple": 2.0, "few": 3.0, "several": 4.0, "hundred": 100.0}

_WORD = "(?:" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"
_DIGITS = r"\d+(?:[.,]\d+)?"
_AMOUNT = (
    rf"(?P<amount>{_DIGITS}|half an?|a half|an? (?:couple|few)(?: of)?|one half of an?"
    rf"|{_WORD}(?:[ -]{_WORD})?(?: point {_WORD})?)"
)
_UNIT = r"(?:(?<=\d)[ -]?|[ -])(?P<unit>frames?|seconds?|secs?|(?:(?<=\d)|(?<=\d[ -]))s|minutes?|mins?)"
_FRACTION = r"(?P<fraction> and (?:a half|a quarter|one half))?"
_ABOUT = (
    r"(?:(?:for|during|within|in|of|lasting|over|takes?|taking) )?"
    r"(?:about |around |exactly |roughly |some |the next )?"
)
DURATION = re.compile(
    rf"\b{_ABOUT}{_AMOUNT}{_FRACTION}{_UNIT}(?P<after> and (?:a half|a quarter))?(?: long)?\b"
    r"(?! time\b| step\b)"
)
_SECONDS = {"s": 1.0, "m": 60.0}
_TIMES = {"once": 1, "twice": 2, "thrice": 3}
_COUNT = re.compile(
    rf"\b(?:(?P<word>once|twice|thrice)|(?P<n>\d+|{_WORD}) times|x ?(?P<x>\d+)|(?P<y>\d+) ?x)\b"
)
_PLURAL = re.compile(
    r"^(?:(?:do|make|perform)(?:e?s)? )?(?:an? )?"
    rf"(?P<n>\d+|{_WORD}) (?P<rest>(?:[a-z-]+ ){{0,2}}[a-z-]+s\b.*)$"
)
_NOT_COUNTED = re.compile(
    r"\b(?:hands|feet|arms|legs|steps|fists|fingers|knees|elbows|eyes|times|shoulders|paces|meters|metres|miles"
    r"|sides)\b"
)
MOST_REPEATS = 20


def number(text: str) -> float:
    """The value of "2.5", "half a", "twenty five", "a couple of", "two point five".

    >>> [number(text) for text in ("2,5", "half a", "twenty-five", "a few", "one point five")]
    [2.5, 0.5, 25.0, 3.0, 1.5]
    """
    text = text.strip().replace("-", " ")
    if re.fullmatch(_DIGITS, text):
        return float(text.replace(",", "."))
    if "half" in text:
        return 0.5

    # Words add up, and "hundred" multiplies what stands before it.
    whole, _, decimals = text.partition(" point ")
    words = [word for word in whole.split() if word != "of"]
    # "a couple": the article counts only on its own.
    if len(words) > 1 and words[0] in ("a", "an"):
        words = words[1:]
    total = 0.0
    for word in words:
        total = total * 100 if word == "hundred" and total else total + NUMBERS[word]
    return total + (NUMBERS[decimals] / 10 if decimals else 0.0)


def plain_durations(text: str) -> str:
    """A text whose durations are in digits: "two and a half seconds" -> "2.5 seconds"."""
    return DURATION.sub(lambda match: f" {_amount(match):g} {match['unit']} ", text)


def _amount(match: re.Match[str]) -> float:
    amount = number(match["amount"])
    for name in ("fraction", "after"):
        if match[name]:
            amount += 0.25 if "quarter" in match[name] else 0.5
    return amount


def take_duration(text: str, fps: float) -> tuple[str, float | None]:
    """A text without its duration, and that in frames; None if it says none. Several add up."""
    frames: float | None = None
    for match in DURATION.finditer(text):
        # Frames count as they are, seconds and minutes by the frame rate.
        per_unit = 1.0 if match["unit"].startswith("f") else fps * _SECONDS[match["unit"][0]]
        frames = (frames or 0.0) + _amount(match) * per_unit
    return _squeezed(DURATION.sub(" ", text)), frames


def take_count(text: str, of_nouns: bool = True) -> tuple[str, int]:
    """A text without how often, and that: "twice", "three times"; `of_nouns`: "two front kicks", too."""
    # Said aloud ("twice", "x3"), or by a number before a plural.
    match = _COUNT.search(text)
    if match:
        given = match["n"] or match["x"] or match["y"]
        n = round(number(given)) if given else _TIMES[match["word"]]
        return _squeezed(text[: match.start()] + " " + text[match.end() :]), _bounded(n)
    match = _PLURAL.match(text) if of_nouns else None
    if match and not _NOT_COUNTED.search(match["rest"]):
        n = _bounded(round(number(match["n"])))
        if n > 1:
            return match["rest"], n
    return text, 1


def _bounded(n: int) -> int:
    return min(max(n, 1), MOST_REPEATS)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" ,-")
