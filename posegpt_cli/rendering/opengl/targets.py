"""What the mesh renderer draws into: textures, and framebuffers around them."""

from posegpt_cli.rendering.opengl.context import GL
from posegpt_cli.rendering.scene import Picture
from posegpt_cli.rendering.shading import SHADOW_MASK, SUN_MAP


class Targets:
    """Textures that are drawn into and read again: sun's depth, floor mask, resolved bodies."""

    def __init__(self, size: tuple[int, int], fineness: int) -> None:
        self.fineness = fineness
        """Body pixels a picture's pixel, along each side."""
        color = self._color = (GL.GL_RGBA8, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        depth = self._depth = (GL.GL_DEPTH_COMPONENT24, GL.GL_DEPTH_COMPONENT, GL.GL_UNSIGNED_INT)

        # A texture that compares: the shader asks whether a place is nearer to the sun than what blocks it.
        self.sun_depth = _texture((SUN_MAP, SUN_MAP), *depth)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE)
        self.sun_framebuffer = _framebuffer(None, self.sun_depth)

        # Footprints are drawn here, blurred on the processor, and uploaded as the floor's shadow.
        self.mask_framebuffer = _framebuffer(_texture((SHADOW_MASK, SHADOW_MASK), *color))
        self.shadow = _texture((SHADOW_MASK, SHADOW_MASK), GL.GL_RG8, GL.GL_RG, GL.GL_UNSIGNED_BYTE)

        self.body_size = (0, 0)
        self.body = self._body_depth = self.body_framebuffer = 0
        self._size = size
        self.free_canvases: list[int] = []
        """Framebuffers of whole pictures that nobody waits for."""
        self._no_vertices = GL.glGenVertexArrays(1)

    def take_canvas(self) -> int:
        """A framebuffer for a whole picture, to be put back into `free_canvases`."""
        if not self.free_canvases:
            return _framebuffer(_texture(self._size, *self._color))
        return self.free_canvases.pop()

    def make_room_for_bodies(self, size: tuple[int, int]) -> None:
        """Let the bodies' own picture be at least this large, in its fine pixels.

        It is as large as the bodies of some picture were, and no larger: clearing it takes time by the pixel,
        and clearing a part of a larger one, for which software OpenGL draws a rectangle, three times as long.
        """
        if size[0] <= self.body_size[0] and size[1] <= self.body_size[1]:
            return
        if self.body_framebuffer:
            GL.glDeleteFramebuffers(1, [self.body_framebuffer])
            GL.glDeleteTextures([self.body, self._body_depth])
        # Software OpenGL works in tiles of 64 pixels; whole ones also spare the next picture a new texture.
        width, height = (-(-max(old, new) // 64) * 64 for old, new in zip(self.body_size, size, strict=True))
        self.body_size = (width, height)
        self.body = _texture(self.body_size, *self._color)
        self._body_depth = _texture(self.body_size, *self._depth)
        self.body_framebuffer = _framebuffer(self.body, self._body_depth)

    def upload_shadow(self, shade: Picture) -> None:
        """(h, w, 2) shadow and contact, into the corner of the texture."""
        height, width = shade.shape[:2]
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.shadow)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexSubImage2D(GL.GL_TEXTURE_2D, 0, 0, 0, width, height, GL.GL_RG, GL.GL_UNSIGNED_BYTE, shade)

    def draw_fullscreen(self) -> None:
        """One triangle that covers the picture; the vertex shader makes its corners from their numbers."""
        GL.glBindVertexArray(self._no_vertices)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)

    def draw_rectangle(self) -> None:
        """Four corners, which the vertex shader makes likewise."""
        GL.glBindVertexArray(self._no_vertices)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)


def _texture(size: tuple[int, int], internal: int, layout: int, kind: int) -> int:
    """An empty texture, bilinear, clamped to its edge."""
    texture = GL.glGenTextures(1)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, internal, *size, 0, layout, kind, None)
    for parameter in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, parameter, GL.GL_LINEAR)
    for parameter in (GL.GL_TEXTURE_WRAP_S, GL.GL_TEXTURE_WRAP_T):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, parameter, GL.GL_CLAMP_TO_EDGE)
    return int(texture)


def _framebuffer(color: int | None, depth: int | None = None) -> int:
    """A framebuffer that draws into these textures."""
    framebuffer = GL.glGenFramebuffers(1)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, framebuffer)
    if color is None:
        # Without a colour buffer a framebuffer is complete only if it neither draws nor reads one.
        GL.glDrawBuffer(GL.GL_NONE)
        GL.glReadBuffer(GL.GL_NONE)
    else:
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, color, 0)
    if depth is not None:
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_TEXTURE_2D, depth, 0)
    return int(framebuffer)
