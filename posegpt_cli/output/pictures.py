"""Stills to files and back, by imageio."""

from pathlib import Path

import numpy as np

from models.files import as_written, atomic_path
from posegpt_cli.rendering.scene import Picture


def write_png(path: Path, picture: Picture, licence: str = "") -> None:
    """Write a picture (H, W, 3), with its licence, if it has one, as the PNG text "Copyright".

    Raises PoseGPTError if the file cannot be written; nothing is left behind then.
    """
    import imageio.v3 as iio
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    if licence:
        texts.add_itxt("Copyright", licence)
    with atomic_path(path, force=True) as partial, as_written(path):
        iio.imwrite(partial, picture, extension=".png", pnginfo=texts)


def read_picture(path: Path) -> Picture:
    """(H, W, 3) sRGB of a picture file."""
    import imageio.v3 as iio

    return np.asarray(iio.imread(path, mode="RGB"))
