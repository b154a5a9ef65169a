"""Bodies in OpenGL's memory: vertex buffers that are overwritten for every picture."""

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from models.motion import Float32Array
from posegpt_cli.rendering.opengl.context import GL, import_pyrender
from posegpt_cli.rendering.shading import Normals, Proxy, body_colors

if TYPE_CHECKING:
    from models.body.body import Body


class Topology:
    """What all figures of one body share, and their meshes."""

    def __init__(self, body: "Body") -> None:
        import torch

        n_joints = len(body.rest_joints)
        with torch.inference_mode():
            rest = body.vertices(torch.zeros(1, n_joints, 3), torch.zeros(1, 3))[0].numpy()
        self.faces = body.faces
        self.normals = Normals(body.faces, len(rest))
        self.proxy = Proxy(rest, body.faces)
        self.colors = body_colors(body)
        self.meshes: list[FigureMesh] = []


class FigureMesh:
    """One figure's pyrender primitive."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        # A row for each vertex: position, normal, colour.
        self._interleaved = np.ones((len(topology.colors), 10), np.float32)
        self._interleaved[:, 6:9] = topology.colors
        self._primitive = import_pyrender("primitive").Primitive(
            positions=self._interleaved[:, :3],
            normals=self._interleaved[:, 3:6],
            color_0=self._interleaved[:, 6:],
            indices=topology.faces,
        )
        self._primitive._add_to_context()
        self._proxy_array = self._add_proxy()

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

    def upload(self, vertices: Float32Array) -> None:
        """Take the pose whose vertices (V, 3) these are."""
        self._interleaved[:, :3] = vertices
        self._interleaved[:, 3:6] = self._topology.normals(vertices)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._primitive._buffers[0])
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, self._interleaved.nbytes, self._interleaved)

    @property
    def proxy_points(self) -> Float32Array:
        """(v, 3) metres."""
        return self._interleaved[self._topology.proxy.vertices, :3]

    def draw(self) -> None:
        """The body itself, with the program that is bound."""
        self._primitive._bind()
        _draw_triangles(self._primitive.indices.size)

    def draw_proxy(self) -> None:
        """Its coarse twin, likewise."""
        GL.glBindVertexArray(self._proxy_array)
        _draw_triangles(self._topology.proxy.faces.size)


def _draw_triangles(n_corners: int) -> None:
    GL.glDrawElements(GL.GL_TRIANGLES, n_corners, GL.GL_UNSIGNED_INT, ctypes.c_void_p(0))
