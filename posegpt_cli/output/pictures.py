"""Stills to files and back, by imageio."""

from pathlib import Path

import numpy as np

from models.files import write_atomically
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
    # In memory first: on a full disk imageio, closing its file once more, puts a traceback on stderr.
    write_atomically(path, iio.imwrite("<bytes>", picture, extension=".png", pnginfo=texts), force=True)


def read_picture(path: Path) -> Picture:
    """(H, W, 3) sRGB of a picture file."""
    import imageio.v3 as iio

    return np.asarray(iio.imread(path, mode="RGB"))
