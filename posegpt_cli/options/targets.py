"""Output files: refused before the work where they cannot be written, and written one after the other."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.console import UsageError, progress, show_result, warn
from posegpt_cli.output import SUFFIXES, RenderOptions, save_motion


def numbered(path: Path, n: int) -> list[Path]:
    """`walk.mp4` itself for one motion; `walk_00.mp4`, `walk_01.mp4`, ... for several."""
    if n == 1:
        return [path]
    digits = max(2, len(str(n - 1)))
    return [path.with_name(f"{path.stem}_{k:0{digits}d}{path.suffix}") for k in range(n)]


def check_targets(
    paths: Sequence[Path],
    force: bool,
    known: Sequence[str] = SUFFIXES,
    flag: str = "--out",
    example: str = "walk.mp4",
) -> None:
    """Raises where a path has an unknown extension, is named twice, exists, or cannot be written.

    Args:
        known: the extensions that the command writes.
        flag: what named the paths, and
        example: what it could have named, for messages.
    """
    times = Counter(paths)
    for path in times:
        if path.suffix.lower() not in known:
            expected = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
            raise UsageError(
                f"{flag} {path} has no known extension, expected {expected}", f"{flag} {example}"
            )
        if times[path] > 1:
            raise UsageError(f"{flag} {path} is given twice", "give each output once")
        if path.is_dir():
            raise UsageError(f"{flag} {path} is a folder, expected a file", f"{flag} {path / example}")
        if path.exists() and not force:
            raise PoseGPTError(f"{path} exists already", f"replace it with --force, or choose another {flag}")
    for folder in dict.fromkeys(path.parent for path in paths):
        _check_writable(folder)


def preview(motions: Sequence[Motion], options: RenderOptions, is_all: bool) -> None:
    """Play motions in the terminal; `is_all`: nothing else was asked for."""
    from posegpt_cli.output.preview import preview_motions

    preview_motions(motions, options, is_all)


def save_all(jobs: Sequence[tuple[Path, Sequence[Motion]]], options: RenderOptions) -> list[Path]:
    """Write each file with its motions, and say once whatever there is to warn of."""
    warnings = set()
    with progress("write") as report:
        for path, motions in jobs:
            warnings.add(save_motion(motions, path, options, report).warning)
    for warning in sorted(warnings - {""}):
        warn(warning)
    return [path for path, _ in jobs]


def show_files(paths: Sequence[Path]) -> None:
    """The names of the files written, one a line."""
    if paths:
        show_result("\n".join(map(str, paths)))


def _check_writable(folder: Path) -> None:
    """Make the folder where it is missing, and try it: permission bits alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PoseGPTError(
            f"cannot write into {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
