"""The log of converted files: appended to by one process, readable by all, safe to cut off anywhere.

An entry is a checksum in eight hexadecimal digits, a line of JSON, and the bytes of its arrays. What was cut
off at the end, or does not fit its checksum, counts as not converted. Imports no torch.
"""

import contextlib
import json
import math
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_SUFFIX = ".log"
_CHECKSUM_DIGITS = 8

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class LogPosition:
    """Where an entry is."""

    path: Path
    """Its log."""
    start: int
    """Byte at which it begins."""


@dataclass(frozen=True)
class LogHeader:
    """What a log says of one file, without its arrays."""

    key: str
    """Of the file and the settings, from `SourceFile.key`."""
    position: LogPosition
    n_bytes: int
    """Of its arrays; 0 if the file could not be used."""


@dataclass(frozen=True)
class LogEntry:
    """A whole entry."""

    arrays: Arrays
    reason: str
    """Why the file could not be used; empty if it could."""
    notes: tuple[str, ...] = ()
    """What its reader found out or put right."""


class ConversionLog:
    """One process's log, open for appending."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._file: BinaryIO = self.path.open("xb")

    def append(self, key: str, arrays: Arrays, reason: str = "", notes: Sequence[str] = ()) -> LogPosition:
        """Write an entry. Raises OSError if it cannot be written."""
        start = self._file.tell()
        # The line of JSON says what the arrays are, so that they can follow as bare bytes.
        members = {}
        contents = []
        for name, array in arrays.items():
            members[name] = (array.dtype.str, array.shape)
            contents.append(np.ascontiguousarray(array).data.cast("B"))

        n_bytes = sum(map(len, contents))
        header = {"key": key, "reason": reason, "notes": notes, "bytes": n_bytes, "members": members}
        line = json.dumps(header).encode()
        # One checksum over line and bytes: a damaged line would point to the wrong bytes.
        checksum = zlib.crc32(line)
        for content in contents:
            checksum = zlib.crc32(content, checksum)

        # Flushed, so that others see whole entries; a process that is killed leaves at most one cut off.
        self._file.writelines([_digits(checksum), line, b"\n", *contents])
        self._file.flush()
        return LogPosition(self.path, start)

    def close(self) -> None:
        # `append` has written all that it could. After a full disk, closing tries once more: what counts is
        # the first error.
        with contextlib.suppress(OSError):
            self._file.close()


def read_headers(folder: Path) -> Iterator[LogHeader]:
    """All entries of all logs in a folder but those that were cut off.

    Checksums are left to `read_entry`: here the arrays are skipped, so that a long log is scanned quickly.
    """
    for log in sorted(folder.glob(f"*{_SUFFIX}")):
        # A log that ends in the middle of a line, or holds something else, ends here for us.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), log.open("rb") as file:
            while line := file.readline():
                start = file.tell() - len(line)
                header = json.loads(line[_CHECKSUM_DIGITS:])
                yield LogHeader(header["key"], LogPosition(log, start), header["bytes"])
                # Over the arrays to the next line.
                file.seek(header["bytes"], os.SEEK_CUR)


def read_entry(position: LogPosition) -> LogEntry:
    """An entry. Raises ValueError or OSError if it is not there or not whole.

    A machine that lost power may leave a log of which not all was written.
    """
    with position.path.open("rb") as file:
        file.seek(position.start)
        checksum = file.read(_CHECKSUM_DIGITS)
        line = file.readline()
        header = json.loads(line)
        content = file.read(header["bytes"])
    if _digits(zlib.crc32(content, zlib.crc32(line[:-1]))) != checksum:
        raise ValueError(f"an entry of {position.path.name} is damaged")

    # The arrays lie one after the other; each is a view of the bytes that were read.
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, (dtype, shape) in header["members"].items():
        array = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        arrays[name] = array
        start += array.nbytes
    return LogEntry(arrays, header["reason"], tuple(header["notes"]))


def _digits(checksum: int) -> bytes:
    return f"{checksum:0{_CHECKSUM_DIGITS}x}".encode()
