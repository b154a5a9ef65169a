"""A file under a temporary name that takes its own name when it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.files import as_written


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` where the block succeeds, removed where it fails.

    Raises PoseGPTError where the folder cannot be made or written to.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    with as_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    try:
        yield partial
        with as_written(path):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
