"""`posegpt doctor`: what is installed, what works, and how to repair what does not."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import typer

from models.checkpoint import TOKENIZER, find_checkpoint, read_info
from models.errors import PoseGPTError
from posegpt_cli.console import next_step, say, show_json, show_table
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.shared import JsonSettings
from posegpt_cli.packages import describe_foreign, foreign_packages
from posegpt_cli.settings import read_settings

FREE_GB = 2
"""Disk space below which a training run may not find room for its checkpoints."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    state: Literal["ok", "warning", "broken"]
    found: str
    fix: str = ""
    """What to do; empty if there is nothing to do."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    app.command(
        "doctor",
        help=f"{summary}\n\nExits with 1 if something that is needed does not work.",
        epilog=examples("posegpt doctor", "posegpt doctor --json"),
        rich_help_panel=panel,
    )(doctor)


@with_options()
def doctor(shown: JsonSettings) -> None:
    # All checks are run before anything is shown: the table needs all widths.
    checks = list(run_checks())
    broken = [check for check in checks if check.state == "broken"]
    if shown.as_json:
        show_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        show_table(("", "check", "found"), [(_MARKS[c.state], c.name, c.found) for c in checks])
    for check in checks:
        if check.fix:
            say(f"{check.state}: {check.name}: {check.fix}", "bold red" if check in broken else "yellow")
    if broken:
        raise typer.Exit(1)
    next_step("posegpt sample --action walk --out walk.mp4")


_MARKS = {"ok": "ok", "warning": "!", "broken": "X"}


def run_checks() -> Iterator[Check]:
    """All checks, one after the other; a check that fails in an unforeseen way counts as broken."""
    for name, check in _CHECKS.items():
        try:
            yield check(name)
        except Exception as error:  # a broken installation raises anything
            hint = error.hint if isinstance(error, PoseGPTError) else "install posegpt again"
            message = error.message if isinstance(error, PoseGPTError) else f"{type(error).__name__}: {error}"
            yield Check(name, "broken", message, hint)


def _check_python(name: str) -> Check:
    wanted = metadata("posegpt")["Requires-Python"]
    found = platform.python_version()
    inside = all(_satisfies(found, bound) for bound in wanted.split(","))
    return Check(name, "ok", found) if inside else Check(name, "broken", found, f"use a Python {wanted}")


def _satisfies(found: str, bound: str) -> bool:
    """Whether a version is at least (`>=3.11`) or below (`<3.14`) a bound."""
    operator, text = re.fullmatch(r"\s*(>=|<)\s*([\d.]+)\s*", bound).groups()  # type: ignore[union-attr]
    # Compared number by number, as far as the bound goes: 3.11.4 satisfies >=3.11.
    limit = tuple(int(part) for part in text.split("."))
    have = tuple(int(part) for part in found.split(".")[: len(limit)])
    return have >= limit if operator == ">=" else have < limit


def _check_own_packages(name: str) -> Check:
    home = Path(__file__).parents[2]
    if foreign := foreign_packages(home):
        return Check(name, "broken", *describe_foreign(foreign))
    return Check(name, "ok", str(home))


def _check_libraries(name: str) -> Check:
    """Everything that posegpt requires is there, and the old pyrender is not beside the maintained one."""
    found, missing = [], []
    for requirement in requires("posegpt") or []:
        # Extras are optional.
        if "extra ==" in requirement:
            continue
        package = re.match(r"[\w.-]+", requirement).group()  # type: ignore[union-attr]
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Check(name, "broken", f"without {', '.join(missing)}", f"pip install {' '.join(missing)}")
    # Both distributions install the same module; whichever came last wins.
    if _is_installed("pyrender"):
        fix = "pip uninstall -y pyrender && pip install --force-reinstall --no-deps pyrender-maintained"
        return Check(name, "broken", "pyrender lies over pyrender-maintained", fix)
    return Check(name, "ok", ", ".join(found))


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _check_device(name: str) -> Check:
    import torch

    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.get_device_name()})"
    elif torch.backends.mps.is_available():
        device = "mps"
    else:
        device = "cpu"
    return Check(name, "ok", f"{device}, {os.cpu_count()} cores, torch {torch.__version__}")


def _check_opengl(name: str) -> Check:
    from posegpt_cli.rendering.opengl.context import GL_HINT, check_gl

    status = check_gl()
    if status.platform:
        return Check(name, "ok", f"{status.platform}, {status.renderer}")
    return Check(name, "warning", "; ".join(status.reasons), f"meshes cannot be drawn: {GL_HINT}")


def _check_torch3d(name: str) -> Check:
    """Nobody needs it; if it is there, it should work."""
    if find_spec("pytorch3d") is None:
        return Check(name, "ok", "not installed, only --renderer pytorch3d needs it")
    from posegpt_cli.rendering.torch3d.raster import check_package, find_device

    try:
        check_package()
    except PoseGPTError as error:
        return Check(name, "warning", error.message, error.hint)
    try:
        device = find_device()
    except PoseGPTError as error:
        return Check(name, "warning", f"loads; {error.message}", error.hint)
    import pytorch3d

    return Check(name, "ok", f"{pytorch3d.__version__}, draws on {device}")


def _check_body(name: str) -> Check:
    from models.body.body import load_body

    folder = read_settings().body_models
    body = load_body(model_dir=folder)
    return Check(name, "ok", f"{folder or 'the bundled body'}, {body.n_vertices} vertices")


def _check_checkpoint(name: str) -> Check:
    from models.checkpoint import load_gpt, load_vqvae

    # Loading reads every weight and compares checksums.
    folder = find_checkpoint(None, "gpt")
    try:
        info = read_info(folder)
        load_gpt(folder)
        load_vqvae(folder / TOKENIZER)
    except PoseGPTError as error:
        return Check(name, "broken", error.message, "install posegpt again: the bundled generator is damaged")
    return Check(
        name, "ok", f"{len(info.labels)} labels, {info.body_type}, {info.fps:g} fps, step {info.step}"
    )


def _check_ffmpeg(name: str) -> Check:
    import imageio_ffmpeg

    executable = imageio_ffmpeg.get_ffmpeg_exe()
    # Some builds of ffmpeg come without the encoder of our videos.
    encoders = subprocess.run(
        [executable, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True
    ).stdout
    if "libx264" not in encoders:
        return Check(
            name, "broken", f"{executable} has no libx264", "unset IMAGEIO_FFMPEG_EXE, or install ffmpeg"
        )
    return Check(name, "ok", f"{imageio_ffmpeg.get_ffmpeg_version()}, {executable}")


def _check_disk(name: str) -> Check:
    # Runs are written below the working folder, if --out says nothing else.
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    if free < FREE_GB:
        return Check(name, "warning", f"{free:.1f} GB free here", "free some space before training")
    return Check(name, "ok", f"{free:.0f} GB free here")


_CHECKS: dict[str, Callable[[str], Check]] = {
    "python": _check_python,
    "packages": _check_own_packages,
    "libraries": _check_libraries,
    "device": _check_device,
    "opengl": _check_opengl,
    "pytorch3d": _check_torch3d,
    "body": _check_body,
    "checkpoint": _check_checkpoint,
    "ffmpeg": _check_ffmpeg,
    "disk": _check_disk,
}
