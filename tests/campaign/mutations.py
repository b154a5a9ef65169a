"""Damage that knows what it damages: words of text, values of JSON, members of archives, opcodes."""

import io
import json
import random
import struct
import zipfile
from typing import Any

WORDS = (
    b"nan", b"inf", b"-inf", b"-1", b"0", b"1_0", b"1e309", b"99999999999999999999", b"2147483648", b"{",
    b"}", b"{}", b"[[", b"null", b"true", b"\x00", b"\xff\xfe", b"\r", b"\n\n", b"\t", b"%s", b"../..",
    b"a" * 300, b":", b"#", b"\xd9\xa1", b"\x1b[31m", b"begin", b"end", b"MOTION", b"1" * 5000,
)  # fmt: skip
"""What damaged files and careless exporters write in the place of something else."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 0.5, float("nan"), float("inf"),
    -1e308, "", "x", "walk", "../../etc/passwd", "/dev/zero", "\x1b]0;x\x07", "\ud800", "a" * 5000, [], {},
    [[]], [{}], {"a": 1}, ["walk"], [1, 2, 3],
)  # fmt: skip


def damage(content: bytes, kind: str, rng: random.Random) -> bytes:
    """A file's content, damaged one to four times.

    Args:
        content: whole.
        kind: "text", "json", "lines" (of JSON), "npz", "npy", "pickle", "safetensors" or "torch".
        rng: decides what happens.
    """
    for _ in range(rng.randint(1, 4)):
        # Now and then plain damage, whatever the file is.
        if rng.random() < 0.25:
            content = _bytes(content, rng)
            continue
        try:
            content = _DAMAGE[kind](content, rng)
        except Exception:  # no structure is left
            content = _bytes(content, rng)
    return content


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut off, flip, insert, remove, repeat, or put another word in."""
    start = rng.randrange(len(content) + 1)
    stop = min(len(content), start + rng.randrange(40))
    match rng.randrange(6):
        case 0:
            return content[:start]
        case 1:
            flipped = bytes(byte ^ rng.randrange(1, 256) for byte in content[start : start + 3])
            return content[:start] + flipped + content[start + 3 :]
        case 2:
            return content[:start] + rng.choice(WORDS) + content[start:]
        case 3:
            return content[:start] + content[stop:]
        case 4:
            return content[:stop] + content[start:stop] * rng.randint(1, 3) + content[stop:]
    return content[:start] + rng.choice(WORDS) + content[stop:]


def _text(content: bytes, rng: random.Random) -> bytes:
    """Another word for a word, or lines moved, dropped, doubled."""
    lines = content.split(b"\n")
    k = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[k]
        case 1:
            lines.insert(k, lines[rng.randrange(len(lines))])
        case 2:
            lines[k : k + 1] = [lines[k]] * rng.choice((2, 50))
        case _:
            words = lines[k].split(b" ")
            words[rng.randrange(len(words))] = rng.choice(WORDS)
            lines[k] = b" ".join(words)
    return b"\n".join(lines)


def _json(content: bytes, rng: random.Random) -> bytes:
    """A value of another kind or size, a key less, a key more."""
    document = json.loads(content)
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(VALUES)).encode()
    parent, key = rng.choice(places)
    match rng.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(("x", "name", "", "n" * 500))] = rng.choice(VALUES)
        case 2 if isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] = rng.choice((-parent[key], parent[key] + 1, 0, parent[key] * 2**40))
        case _:
            parent[key] = rng.choice(VALUES)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(node: Any) -> Any:
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def _lines(content: bytes, rng: random.Random) -> bytes:
    """JSON, a document per line."""
    lines = content.splitlines()
    k = rng.randrange(len(lines))
    lines[k] = _json(lines[k], rng)
    return b"\n".join(lines)


def _npz(content: bytes, rng: random.Random) -> bytes:
    """Another header or other numbers of one array, or an array less; the archive itself stays whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    if rng.random() < 0.1:
        del members[name]
    else:
        members[name] = _npy(members[name], rng)
    return _archive(members)


_DTYPES = (
    "<f4", "<f8", ">f4", "<i8", ">i2", "|b1", "<c16", "|O", "<U5", "|S3", "<M8[s]", "|V8", "<f2", "|u1",
)  # fmt: skip
_SHAPES = (
    "()", "(0,)", "(1,)", "(-1,)", "(2, 3)", "(18446744073709551616,)", "(4294967296, 3)", "('a',)", "(1, 2",
    "(1, 2, 3, 4, 5)", "[3]", "None", "(1.5,)", "(True,)",
)  # fmt: skip


def _npy(content: bytes, rng: random.Random) -> bytes:
    """Another type, shape or order in the header, or damage to the numbers."""
    (length,) = struct.unpack("<H", content[8:10])
    header, numbers = content[10 : 10 + length], content[10 + length :]
    match rng.randrange(5):
        case 0:
            old = header[header.index(b"'descr': ") + 9 : header.index(b", 'fortran")]
            header = header.replace(old, repr(rng.choice(_DTYPES)).encode())
        case 1:
            old = header[header.index(b"'shape': ") + 9 : header.rindex(b", }")]
            header = header.replace(old, rng.choice(_SHAPES).encode())
        case 2:
            header = header.replace(b"False", b"True")
        case 3:
            header = _bytes(header, rng)
        case _:
            numbers = _bytes(numbers, rng)
    return content[:8] + struct.pack("<H", len(header)) + header + numbers


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    """Another name, type, shape or place of a tensor."""
    (length,) = struct.unpack("<Q", content[:8])
    header = _json(content[8 : 8 + length], rng)
    size = len(header) if rng.random() < 0.9 else rng.choice((0, 2**40, 2**64 - 1))
    return struct.pack("<Q", size) + header + content[8 + length :]


_OPCODES = b"().0NRQbcdeghijklopqrstu]}\x80\x81\x85\x86\x87\x8c\x93\x94"
_GLOBALS = (
    b"cos\nsystem\n(S'touch RAN'\ntR",
    b'cbuiltins\neval\n(S\'open("RAN", "w")\'\ntR',
    b"cnumpy\nndarray\n",
    b"cchumpy\nCh\n",
    b"ccopyreg\n_reconstructor\n",
    b"cscipy.sparse\ncsc_matrix\n",
    b"cbuiltins\ngetattr\n",
)
"""What a pickle may ask for; the first two would leave a file."""


def _pickle(content: bytes, rng: random.Random) -> bytes:
    """Another opcode or byte, or a global that must never be called."""
    start = rng.randrange(len(content))
    match rng.randrange(3):
        case 0:
            return content[:start] + rng.choice(_GLOBALS) + content[start:]
        case 1:
            return content[:start] + bytes([rng.choice(_OPCODES)]) + content[start:]
    return content[:start] + bytes([rng.randrange(256)]) + content[start + 1 :]


def _torch(content: bytes, rng: random.Random) -> bytes:
    """As torch.save writes it: other opcodes of its pickle, or numbers; the archive itself stays whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name in members if name.endswith(".pkl")]
    name = rng.choice(pickles if rng.random() < 0.7 else list(members))
    members[name] = (_pickle if name in pickles else _bytes)(members[name], rng)
    return _archive(members)


def _archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    return out.getvalue()


_DAMAGE = {
    "text": _text,
    "json": _json,
    "lines": _lines,
    "npz": _npz,
    "npy": _npy,
    "pickle": _pickle,
    "safetensors": _safetensors,
    "torch": _torch,
}
