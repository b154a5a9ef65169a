"""Figures in OpenGL's memory: vertex buffers that are overwritten for every picture."""

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from models.motion import Float32Array
from posegpt_cli.rendering.look import Look, LookPart
from posegpt_cli.rendering.opengl.context import GL, import_pyrender
from posegpt_cli.rendering.opengl.programs import Program
from posegpt_cli.rendering.opengl.textures import plain_texture, upload_texture
from posegpt_cli.rendering.shading import Normals, Proxy

if TYPE_CHECKING:
    from data.rigs.materials import Texture

_UV_LOCATION = 7
"""Of body.vert; pyrender's own attributes come before it."""


class Topology:
    """What all figures of one look share, and their meshes."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.normals = Normals(look.faces, look.n_vertices)
        self.proxy = Proxy(look.rest_vertices, look.faces)
        self.is_textured = look.uvs is not None
        self.meshes: list[FigureMesh] = []
        self._textures: dict[int, int] = {}

    def texture(self, texture: "Texture | None") -> int:
        """OpenGL's number of a texture, uploaded at its first use; a white one for None."""
        if id(texture) not in self._textures:
            self._textures[id(texture)] = plain_texture() if texture is None else upload_texture(texture)
        return self._textures[id(texture)]


class FigureMesh:
    """One figure's pyrender primitive."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.is_textured = topology.is_textured
        # A row for each vertex: position, normal, colour.
        self._interleaved = np.ones((topology.look.n_vertices, 10), np.float32)
        self._interleaved[:, 6:] = topology.look.colors
        self._primitive = import_pyrender("primitive").Primitive(
            positions=self._interleaved[:, :3],
            normals=self._interleaved[:, 3:6],
            color_0=self._interleaved[:, 6:],
            indices=topology.look.faces,
        )
        # Kept in OpenGL's memory as long as the renderer lives; poses are written over it.
        self._primitive._add_to_context()
        if topology.look.uvs is not None:
            self._add_uvs(topology.look.uvs)
        self._proxy_array = self._add_proxy()

    def _add_uvs(self, uvs: Float32Array) -> None:
        """Texture coordinates beside what pyrender has put into the vertex array: they never change."""
        content = np.ascontiguousarray(uvs, np.float32)
        GL.glBindVertexArray(self._primitive._vaid)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, GL.glGenBuffers(1))
        GL.glBufferData(GL.GL_ARRAY_BUFFER, content.nbytes, content, GL.GL_STATIC_DRAW)
        GL.glVertexAttribPointer(_UV_LOCATION, 2, GL.GL_FLOAT, False, 0, ctypes.c_void_p(0))
        GL.glEnableVertexAttribArray(_UV_LOCATION)

    def _add_proxy(self) -> int:
        """A second vertex array over the same buffer, with the coarse twin's triangles."""
        GL.glBindVertexArray(0)
        array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(array)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._primitive._buffers[0])
        row_bytes = self._interleaved.strides[0]
        GL.glVertexAttribPointer(0, 3, GL.GL_FLOAT, False, row_bytes, ctypes.c_void_p(0))
        GL.glEnableVertexAttribArray(0)
        faces = self._topology.proxy.faces
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, GL.glGenBuffers(1))
        GL.glBufferData(GL.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, GL.GL_STATIC_DRAW)
        return int(array)

    def upload(self, vertices: Float32Array, normals: Float32Array | None) -> None:
        """Take the pose whose vertices (V, 3) these are; None: normals are those of the triangles."""
        self._interleaved[:, :3] = vertices
        self._interleaved[:, 3:6] = self._topology.normals(vertices) if normals is None else normals
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._primitive._buffers[0])
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, self._interleaved.nbytes, self._interleaved)

    @property
    def proxy_points(self) -> Float32Array:
        """(v, 3) metres."""
        return self._interleaved[self._topology.proxy.vertices, :3]

    def draw(self, program: Program) -> None:
        """The figure itself, with the program that is bound."""
        self._primitive._bind()
        if not self.is_textured:
            _draw_triangles(self._topology.look.faces.size)
            return
        for part in self._topology.look.parts:
            self._draw_part(program, part)

    def _draw_part(self, program: Program, part: LookPart) -> None:
        """One run of faces, with its texture."""
        # The sun's depth map stays where it is, on the first unit.
        GL.glActiveTexture(GL.GL_TEXTURE1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._topology.texture(part.texture))
        GL.glActiveTexture(GL.GL_TEXTURE0)
        program.set_uniform("surface", 1)
        program.set_uniform("cutoff", part.alpha_cutoff)
        program.set_uniform("blend", float(part.is_blended))
        (GL.glDisable if part.is_double_sided else GL.glEnable)(GL.GL_CULL_FACE)
        if part.is_blended:
            # Colours are multiplied by their coverage already.
            GL.glEnable(GL.GL_BLEND)
            GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        _draw_triangles((part.faces.stop - part.faces.start) * 3, part.faces.start * 3)
        GL.glDisable(GL.GL_BLEND)
        GL.glEnable(GL.GL_CULL_FACE)

    def draw_proxy(self) -> None:
        """Its coarse twin, with the program that is bound."""
        GL.glBindVertexArray(self._proxy_array)
        _draw_triangles(self._topology.proxy.faces.size)


def _draw_triangles(n_corners: int, first: int = 0) -> None:
    offset = ctypes.c_void_p(4 * first)
    GL.glDrawElements(GL.GL_TRIANGLES, n_corners, GL.GL_UNSIGNED_INT, offset)
