"""Output files: checked before the work, and written after it."""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.console import UsageError, progress, say, show_result, warn
from posegpt_cli.output import NUMBER_SUFFIXES, RIG_SCENE_SUFFIXES, SUFFIXES, RenderOptions, save_motion
from posegpt_cli.questions import ask_text, is_interactive


def numbered(path: Path, n: int) -> list[Path]:
    """`walk.mp4` itself for one motion; `walk_00.mp4`, `walk_01.mp4`, ... for several."""
    if n == 1:
        return [path]
    digits = max(2, len(str(n - 1)))
    return [path.with_name(f"{path.stem}_{k:0{digits}d}{path.suffix}") for k in range(n)]


def ask_out(default: str, or_else: str = "") -> Path:
    """The file to write, from the person at the terminal.

    Args:
        default: what Enter alone stands for.
        or_else: what else can be done, for the hint if nobody can be asked.

    Raises UsageError if nobody can be asked.
    """
    if not is_interactive():
        raise UsageError("--out is missing", f"add --out {default}{or_else}")
    return Path(ask_text("--out", "file to write", default)).expanduser()


def check_targets(
    paths: Sequence[Path],
    force: bool,
    known: Sequence[str] = SUFFIXES,
    flag: str = "--out",
    example: str = "walk.mp4",
) -> None:
    """Raises if a path has an unknown extension, is named twice, exists, or cannot be written.

    Args:
        known: the extensions that the command writes.
        flag: option that named the paths, for messages.
        example: a path that it could have named, for messages.
    """
    # All paths are checked before the first folder is made.
    times = Counter(paths)
    for path in times:
        if path.suffix.lower() not in known:
            expected = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
            # Whoever typed no extension wants that name with one.
            wanted = example if path.suffix else f"{path}{Path(example).suffix}"
            raise UsageError(f"{flag} {path} has no known extension, expected {expected}", f"{flag} {wanted}")
        if times[path] > 1:
            raise UsageError(f"{flag} {path} is given twice", "give each output once")
        if path.is_dir():
            raise UsageError(f"{flag} {path} is a folder, expected a file", f"{flag} {path / example}")
        if os.path.lexists(path) and not force:
            raise PoseGPTError(f"{path} exists already", f"replace it with --force, or choose another {flag}")
    for folder in dict.fromkeys(path.parent for path in paths):
        _check_writable(folder)


def list_files(outs: Sequence[Path], n_motions: int) -> list[Path]:
    """The files that these outputs become for n motions."""
    return [path for out in outs for path in _files_of(out, n_motions)]


def holds_animations(path: Path, rig: str | None) -> bool:
    """Whether a file is that of a character, which holds an animation for each of several motions."""
    return rig is not None and path.suffix.lower() in (".glb", *RIG_SCENE_SUFFIXES)


def share_out(outs: Sequence[Path], motions: Sequence[Motion]) -> list[tuple[Path, Sequence[Motion]]]:
    """Which motions go into which file: pictures and scenes show all, a file of numbers holds one."""
    jobs: list[tuple[Path, Sequence[Motion]]] = []
    for out in outs:
        files = _files_of(out, len(motions))
        # One file shows all motions, also if there is only one.
        if len(files) == 1:
            jobs.append((files[0], motions))
        else:
            jobs += [(path, [motion]) for path, motion in zip(files, motions, strict=True)]
    return jobs


def preview(motions: Sequence[Motion], options: RenderOptions, is_all: bool) -> None:
    """Play motions in the terminal; `is_all`: nothing else was asked for."""
    from posegpt_cli.output.preview import preview_motions

    preview_motions(motions, options, is_all)


def save_all(jobs: Sequence[tuple[Path, Sequence[Motion]]], options: RenderOptions) -> list[Path]:
    """Write each file with its motions, and give each warning once."""
    warnings = set()
    licences = set()
    with progress("write") as on_progress:
        for path, motions in jobs:
            saved = save_motion(motions, path, options, on_progress)
            warnings.add(saved.warning)
            licences.add(saved.licence)
    for warning in sorted(warnings - {""}):
        warn(warning)
    # Files with room for it carry their licence themselves.
    for licence in sorted(licences - {""}):
        say(f"licence: {licence}")
    return [path for path, _ in jobs]


def show_files(paths: Sequence[Path]) -> None:
    """The names of the files written, one per line."""
    if paths:
        show_result("\n".join(map(str, paths)))


def _files_of(out: Path, n_motions: int) -> list[Path]:
    return numbered(out, n_motions) if out.suffix.lower() in NUMBER_SUFFIXES else [out]


def _check_writable(folder: Path) -> None:
    """Make the folder if it is missing, and try to write: permission bits alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PoseGPTError(
            f"cannot write into {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
