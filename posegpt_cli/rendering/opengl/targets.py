"""What the mesh renderer draws with and into: our shaders, compiled once, and textures to draw into."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posegpt_cli.rendering.opengl.context import GL, import_pyrender
from posegpt_cli.rendering.scene import Picture
from posegpt_cli.rendering.shading import SHADOW_MASK, SUN_MAP

SHADERS = Path(__file__).parent / "shaders"


class Programs:
    """Our shaders in pyrender's cache."""

    def __init__(self) -> None:
        self._cache = import_pyrender("shader_program").ShaderProgramCache(shader_dir=str(SHADERS))

    def use(
        self, vertex_shader: str, fragment_shader: str, constants: Mapping[str, float] | None = None
    ) -> Any:
        """The program, compiled at its first use with these constants, bound."""
        program = self._cache.get_program(vertex_shader, fragment_shader, defines=constants)
        if not program._in_context():
            program._add_to_context()
        program._bind()
        return program

    def clear(self) -> None:
        """Free all programs."""
        self._cache.clear()


class Targets:
    """Textures that are drawn into and read again: sun's depth, floor mask, resolved bodies."""

    def __init__(self, size: tuple[int, int], fineness: int) -> None:
        self.fineness = fineness
        """Body pixels a picture's pixel, along each side."""
        color = (GL.GL_RGBA8, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        depth = (GL.GL_DEPTH_COMPONENT24, GL.GL_DEPTH_COMPONENT, GL.GL_UNSIGNED_INT)
        fine_size = (size[0] * fineness, size[1] * fineness)

        # A texture that compares: the shader asks whether a place is nearer to the sun than what blocks it.
        self.sun_depth = _texture((SUN_MAP, SUN_MAP), *depth)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE)
        self.sun_framebuffer = _framebuffer(None, self.sun_depth)

        # Footprints are drawn here, blurred on the processor, and uploaded as the floor's shadow.
        self.mask_framebuffer = _framebuffer(_texture((SHADOW_MASK, SHADOW_MASK), *color))
        self.shadow = _texture((SHADOW_MASK, SHADOW_MASK), GL.GL_RG8, GL.GL_RG, GL.GL_UNSIGNED_BYTE)

        self.body = _texture(fine_size, *color)
        self.body_framebuffer = _framebuffer(self.body, _texture(fine_size, *depth))
        self.main_framebuffer = _framebuffer(_texture(size, *color))
        self._no_vertices = GL.glGenVertexArrays(1)

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
