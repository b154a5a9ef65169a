"""Drawing settings as commands take them: checked against the files to be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posegpt_cli.console import UsageError
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.output import RIG_SCENE_SUFFIXES
from posegpt_cli.rendering.options import BodyOptions, RenderOptions
from posegpt_cli.settings import read_settings


def complete_options(picture: RenderOptions, outs: Sequence[Path], **more: Any) -> RenderOptions:
    """The drawing settings for these files.

    Args:
        picture: what was given on the command line.
        outs: files to write.
        more: fields that the command decides.

    Raises UsageError if something cannot be drawn like this, or would not be drawn at all.
    """
    # What depends on the files cannot be checked by RenderOptions itself.
    _check_stills(picture, outs)
    _check_even(picture.size, outs)
    check_rigs(picture, outs)
    return picture.replaced(body_model=body_files(picture), **more)


def check_rigs(body: BodyOptions, outs: Sequence[Path]) -> None:
    """Raises PoseGPTError if there is no such rig, or an output needs another one."""
    needing = [path for path in outs if path.suffix.lower() in RIG_SCENE_SUFFIXES]
    if body.rig is None and not needing:
        return
    # Whatever a rig lacks is said before a network is loaded.
    from posegpt_cli.output.rigged import check_rig

    for path in outs or (Path(),):
        check_rig(path, body.rig)


def body_files(body: BodyOptions) -> Path | None:
    """Folder of official body files: the option's, or else the environment's."""
    return body.body_model or read_settings().body_models


def _check_stills(picture: RenderOptions, outs: Sequence[Path]) -> None:
    """Raises UsageError if a still is described, and none of the files is one."""
    flags = {"--trail": picture.trail > 0, "--sheet-frames": "sheet_frames" in picture.model_fields_set}
    refuse_together("--trail", flags["--trail"], {"--sheet-frames": flags["--sheet-frames"]})
    asked = [flag for flag, given in flags.items() if given]
    if asked and not any(path.suffix.lower() == ".png" for path in outs):
        raise UsageError(f"{asked[0]} is for a .png, and no --out is one", "add --out still.png")


def _check_even(size: tuple[int, int], outs: Sequence[Path]) -> None:
    """Raises UsageError for odd numbers if an output is a video."""
    # H.264 halves the colour planes.
    width, height = size
    is_odd = width % 2 or height % 2
    if is_odd and any(path.suffix.lower() == ".mp4" for path in outs):
        even = f"{width + width % 2}x{height + height % 2}"
        raise UsageError(f"--size must be even for .mp4, got {width}x{height}", f"--size {even}")
