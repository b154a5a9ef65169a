"""A character's textures in OpenGL's memory."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posegpt_cli.rendering.opengl.context import GL

if TYPE_CHECKING:
    from data.rigs.materials import Texture


def upload_texture(texture: "Texture") -> int:
    """OpenGL's number of a texture, with smaller copies for what is far away."""
    wraps = {"repeat": GL.GL_REPEAT, "clamp": GL.GL_CLAMP_TO_EDGE, "mirror": GL.GL_MIRRORED_REPEAT}
    # The first row of a picture is its upper one, and glTF's coordinates count from there: no flip.
    number = _upload(texture.picture)
    across, down = texture.wraps
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_WRAP_S, wraps[across])
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_WRAP_T, wraps[down])
    return number


def plain_texture() -> int:
    """A white one, for parts without a texture beside parts with one."""
    return _upload(np.full((1, 1, 4), 255, np.uint8))


def _upload(picture: NDArray[np.uint8]) -> int:
    number = int(GL.glGenTextures(1))
    height, width = picture.shape[:2]
    GL.glBindTexture(GL.GL_TEXTURE_2D, number)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    content = np.ascontiguousarray(picture)
    GL.glTexImage2D(
        GL.GL_TEXTURE_2D, 0, GL.GL_RGBA8, width, height, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, content
    )
    GL.glGenerateMipmap(GL.GL_TEXTURE_2D)
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR_MIPMAP_LINEAR)
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR)
    return number
