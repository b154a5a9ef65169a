"""Damage to files, as hypothesis strategies, and what every reader must answer to it."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from models.errors import PoseGPTError

SECONDS = 10
"""No small file may keep a reader longer than this."""

fuzz = settings(
    max_examples=100, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e309", b"99999999999999999999", b"2147483648", b"{", b"}", b"{}", b"[[",
    b"null", b"\x00", b"\xff\xfe", b"\r", b"\n\n", b"\t", b"%s", b"../..", b"a" * 300,
)  # fmt: skip
"""What damaged files and careless exporters write in the place of something else."""


def survives(read: Callable[[], object]) -> None:
    """A reader either reads, or says what is wrong and what to do; it never hangs."""
    with _time_limit():
        try:
            read()
        except PoseGPTError as error:
            assert str(error.message).strip() and error.hint.strip()


@contextmanager
def _time_limit() -> Iterator[None]:
    def late(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content cut off, with bytes flipped, words replaced, pieces repeated or put in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = min(len(content), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(("cut", "flip", "replace", "insert", "repeat", "word")))
        if kind == "cut":
            content = content[:start]
        elif kind == "flip":
            flipped = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[start : start + 3])
            content = content[:start] + flipped + content[start + 3 :]
        elif kind == "repeat":
            content = content[:stop] + content[start:stop] * draw(st.integers(1, 3)) + content[stop:]
        elif kind == "word":
            content = _with_other_word(draw, content)
        else:
            put = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)))
            content = content[:start] + put + content[start if kind == "insert" else stop :]
    return content


def _with_other_word(draw: st.DrawFn, content: bytes) -> bytes:
    words = content.split(b" ")
    words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(WORDS))
    return b" ".join(words)


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
        st.sampled_from(("../../etc/passwd", "/dev/zero", "nan", "__class__", -(2**63), 10**30, 1e308)),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


@st.composite
def other_json(draw: st.DrawFn, document: Any) -> str:
    """A document one or two of whose values are others, missing, or new."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(document))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(("change", "remove", "add")))
        if what == "remove":
            del parent[key]
        elif what == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(json_values)
        else:
            parent[key] = draw(json_values)
    return json.dumps(document)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])
