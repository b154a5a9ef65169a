"""Draws bodies with pyrender offscreen: one renderer, vertex buffers updated in place, our own lean shaders.

A picture takes four passes: the bodies' footprint on the floor (blurred into a soft shadow), the sun's depth
map (shadows on themselves), the bodies, multisampled only where they are, and backdrop and floor under them.
In this order, because the processor blurs while OpenGL's threads still draw the bodies.
"""

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from models.motion import Float32Array
from posegpt_cli.rendering.camera import FOV_Y, Camera, FloatArray, look_rotation
from posegpt_cli.rendering.gl import import_pyrender, open_context
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Figure, Picture, Shot

if TYPE_CHECKING:
    from models.body.body import Body

SHADERS = Path(__file__).parent / "shaders"
Box = tuple[int, int, int, int]
"""x, y, width and height of a part of the picture, in pixels."""
PATTERNS = {"plain": 0.0, "checker": 1.0, "grid": 2.0}
DEFAULT_COLOR = (0.66, 0.69, 0.74)
"""Of a body without colours of its own."""

_SUN_MAP = 512
_MASK = 512
_MASK_METRES = 0.012
SHADOW_BLUR = (0.008, 0.032, 0.075, 0.024)
"""Metres by which the shadows of low, middle and high blockers and the contact shadow are blurred."""
_PROXY_CELL = 0.035
PROXY_REACH = 0.07
_NEAR, _FAR = 0.1, 200.0


@dataclass(frozen=True, eq=False)
class _Mask:
    """The floor's shadow picture: which rectangle of the floor it covers."""

    corner: FloatArray
    """(2,) x and z, metres."""
    extent: FloatArray
    """(2,) width and depth, metres."""
    pixels: tuple[int, int]

    @property
    def rect(self) -> FloatArray:
        return np.concatenate((self.corner, 1 / self.extent))


class Normals:
    """Smooth vertex normals of one topology: areas' directions summed over a sparse face-to-vertex matrix."""

    def __init__(self, faces: NDArray[np.integer], n_vertices: int) -> None:
        from scipy.sparse import csr_matrix

        self._faces = np.ascontiguousarray(faces.T)
        columns = np.tile(np.arange(len(faces)), 3)
        ones = np.ones(faces.size, np.float32)
        self._sum = csr_matrix((ones, (self._faces.ravel(), columns)), shape=(n_vertices, len(faces)))

    def __call__(self, vertices: Float32Array) -> Float32Array:
        """(V, 3) positions to (V, 3) unit normals."""
        a, b, c = (vertices.take(corner, axis=0) for corner in self._faces)
        b -= a
        c -= a
        cross = np.empty_like(a)
        for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
            cross[:, k] = b[:, i] * c[:, j] - b[:, j] * c[:, i]
        normals = self._sum @ cross
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        return normals / np.maximum(length, 1e-12)[:, None]


class Proxy:
    """A coarse twin of a body for its shadows: some of its vertices, and triangles between them.

    Drawing costs mostly by the triangle, and a soft shadow needs few.
    """

    def __init__(self, rest_vertices: Float32Array, faces: NDArray[np.integer]) -> None:
        cells = np.floor(rest_vertices / _PROXY_CELL).astype(np.int64)
        _, first, cell_of = np.unique(cells, axis=0, return_index=True, return_inverse=True)
        coarse = first[cell_of.reshape(-1)[faces]]
        whole = (coarse != np.roll(coarse, 1, axis=1)).all(axis=1)
        self.faces = np.ascontiguousarray(coarse[whole], np.uint32)
        """(f, 3) corners, numbered as the body's own vertices."""
        self.vertices = np.sort(first)
        """(v,) numbers of the vertices in use; every other one is within `PROXY_REACH` of one at rest."""


class _FigureMesh:
    """One figure's pyrender primitive, whose vertex buffer is overwritten for every picture."""

    def __init__(self, topology: "_Topology") -> None:
        from OpenGL import GL

        self._topology = topology
        self._interleaved = np.ones((len(topology.colors), 10), np.float32)
        self._interleaved[:, 6:9] = topology.colors
        self._primitive = import_pyrender("primitive").Primitive(
            positions=self._interleaved[:, :3],
            normals=self._interleaved[:, 3:6],
            color_0=self._interleaved[:, 6:],
            indices=topology.faces,
        )
        self._primitive._add_to_context()
        GL.glBindVertexArray(0)
        self._proxy_array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._proxy_array)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._primitive._buffers[0])
        GL.glVertexAttribPointer(0, 3, GL.GL_FLOAT, False, 40, ctypes.c_void_p(0))
        GL.glEnableVertexAttribArray(0)
        faces = topology.proxy.faces
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, GL.glGenBuffers(1))
        GL.glBufferData(GL.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, GL.GL_STATIC_DRAW)

    def upload(self, vertices: Float32Array) -> None:
        """Take the pose whose vertices (V, 3) these are."""
        from OpenGL import GL

        self._interleaved[:, :3] = vertices
        self._interleaved[:, 3:6] = self._topology.normals(vertices)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._primitive._buffers[0])
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, self._interleaved.nbytes, self._interleaved)

    @property
    def proxy_points(self) -> Float32Array:
        """(v, 3) metres."""
        return self._interleaved[self._topology.proxy.vertices, :3]

    def draw(self) -> None:
        from OpenGL import GL

        self._primitive._bind()
        GL.glDrawElements(
            GL.GL_TRIANGLES, self._primitive.indices.size, GL.GL_UNSIGNED_INT, ctypes.c_void_p(0)
        )

    def draw_proxy(self) -> None:
        from OpenGL import GL

        GL.glBindVertexArray(self._proxy_array)
        GL.glDrawElements(
            GL.GL_TRIANGLES, self._topology.proxy.faces.size, GL.GL_UNSIGNED_INT, ctypes.c_void_p(0)
        )


class _Topology:
    """What all figures of one body share, and their meshes."""

    def __init__(self, body: "Body") -> None:
        import torch

        n_joints = len(body.rest_joints)
        with torch.inference_mode():
            rest = body.vertices(torch.zeros(1, n_joints, 3), torch.zeros(1, 3))[0].numpy()
        self.faces = body.faces
        self.normals = Normals(body.faces, len(rest))
        self.proxy = Proxy(rest, body.faces)
        self.meshes: list[_FigureMesh] = []
        if body.vertex_colors is None:
            colors = np.full(rest.shape, DEFAULT_COLOR)
        else:
            colors = body.vertex_colors / 255
        self.colors: Float32Array = colors.astype(np.float32)


class MeshRenderer(Renderer):
    """Draws by OpenGL; one context for as long as it lives.

    Raises PoseGPTError where no OpenGL context can be had.
    """

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        super().__init__(options, size)
        self._context = open_context(self.size)
        self._programs = _Programs()
        self._targets = _Targets(self.size, 2 if options.samples > 1 else 1)
        self._topologies: dict[int, _Topology] = {}

    def draw(self, shot: Shot) -> Picture:
        """The shot's picture, (H, W, 3) sRGB."""
        from OpenGL import GL

        self._context.make_current()
        meshes = self._upload(shot.figures)
        points = np.concatenate([mesh.proxy_points for mesh in meshes])
        box, sun_matrix = _screen_box(shot.camera, points, PROXY_REACH), sun_view(points, shot.sun)
        mask = _mask_around(points, shot.sun) if self.options.floor != "none" else None
        GL.glDisable(GL.GL_BLEND)
        if mask:
            self._draw_footprints(meshes, shot, mask)
        self._clear_bodies(box)
        for layer in shot.layers:
            self._draw_sun_depth([meshes[k] for k in layer], sun_matrix)
            self._draw_bodies([(meshes[k], shot.figures[k]) for k in layer], shot, sun_matrix, box)
        if mask:
            self._targets.upload_shadow(_blur_footprint(self._read_footprints(mask), mask))
        self._draw_ground(shot.camera)
        if mask:
            self._shade_ground(shot.camera, mask)
        self._compose(box)
        return self._read()

    def close(self) -> None:
        """Free the context and all that lives in it."""
        self._context.make_current()
        self._programs.clear()
        self._context.close()

    def _upload(self, figures: Sequence[Figure]) -> list[_FigureMesh]:
        """A mesh for each figure, holding its vertices; meshes of earlier pictures are used again."""
        used: Counter[int] = Counter()
        chosen = []
        for figure in figures:
            body = figure.performer.body
            if id(body) not in self._topologies:
                self._topologies[id(body)] = _Topology(body)
            topology = self._topologies[id(body)]
            if used[id(body)] == len(topology.meshes):
                topology.meshes.append(_FigureMesh(topology))
            mesh = topology.meshes[used[id(body)]]
            used[id(body)] += 1
            mesh.upload(figure.vertices)
            chosen.append(mesh)
        return chosen

    def _draw_sun_depth(self, meshes: Sequence[_FigureMesh], sun_matrix: FloatArray) -> None:
        """Far sides only: the lit sides cannot shadow themselves then."""
        from OpenGL import GL

        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.sun_framebuffer)
        GL.glViewport(0, 0, _SUN_MAP, _SUN_MAP)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glFrontFace(GL.GL_CW)
        program = self._programs.use("depth.vert", "depth.frag")
        program.set_uniform("sun_matrix", sun_matrix)
        for mesh in meshes:
            mesh.draw_proxy()
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)

    def _draw_footprints(self, meshes: Sequence[_FigureMesh], shot: Shot, mask: _Mask) -> None:
        """Footprints along the sun (red, green, blue) and straight down (alpha)."""
        from OpenGL import GL

        width, height = mask.pixels
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.mask_framebuffer)
        GL.glViewport(0, 0, width, height)
        GL.glClearColor(0, 0, 0, 0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendEquation(GL.GL_MAX)
        program = self._programs.use("footprint.vert", "footprint.frag")
        program.set_uniform("mask_rect", mask.rect)
        to_sun = shot.sun / shot.sun[1]
        for along, channels in (
            (to_sun, (True, True, True, False)),
            (np.zeros(3), (False, False, False, True)),
        ):
            program.set_uniform("along", along)
            GL.glColorMask(*channels)
            for mesh, figure in zip(meshes, shot.figures, strict=True):
                program.set_uniform("strength", 1.0 - figure.fade)
                mesh.draw_proxy()
        GL.glColorMask(True, True, True, True)
        GL.glBlendEquation(GL.GL_FUNC_ADD)
        GL.glDisable(GL.GL_BLEND)

    def _read_footprints(self, mask: _Mask) -> Picture:
        """(h, w, 4)."""
        from OpenGL import GL

        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.mask_framebuffer)
        footprint = np.empty((mask.pixels[1], mask.pixels[0], 4), np.uint8)
        GL.glReadPixels(0, 0, *mask.pixels, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, footprint)
        return footprint

    def _draw_ground(self, camera: Camera) -> None:
        """Background everywhere, floor below the row in which it has faded."""
        from OpenGL import GL

        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.main_framebuffer)
        GL.glViewport(0, 0, *self.size)
        GL.glClearColor(*self.background, 1)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        if self.options.floor == "none":
            return
        fade_start, fade_end = fade_range(camera)
        horizon = _first_row_within(camera, float(np.linalg.norm(camera.eye - camera.target)) + fade_end)
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(0, horizon, self.size[0], self.size[1] - horizon)
        program = self._programs.use("fullscreen.vert", "ground.frag")
        program.set_uniform("eye", camera.eye)
        program.set_uniform("rays", _upside_down_rays(camera))
        program.set_uniform("target", camera.target[[0, 2]])
        program.set_uniform("background", np.array(self.background))
        program.set_uniform("floor_color", np.array(self.floor_paint.color))
        program.set_uniform("contrast", self.floor_paint.contrast)
        program.set_uniform("pattern", PATTERNS[self.options.floor])
        program.set_uniform("fade", np.array([fade_start, 1 / (fade_end - fade_start)]))
        self._targets.draw_fullscreen()
        GL.glDisable(GL.GL_SCISSOR_TEST)

    def _shade_ground(self, camera: Camera, mask: _Mask) -> None:
        """Multiply the floor by its shadow: a rectangle that lies there."""
        from OpenGL import GL

        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_DST_COLOR, GL.GL_ZERO)
        GL.glActiveTexture(GL.GL_TEXTURE0)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.shadow)
        program = self._programs.use("shade.vert", "shade.frag")
        program.set_uniform("view_matrix", _view_matrix(camera))
        program.set_uniform("shadow_mask", 0)
        program.set_uniform("mask_rect", np.concatenate((mask.corner, mask.extent)))
        program.set_uniform("mask_share", np.array(mask.pixels) / _MASK)
        self._targets.draw_rectangle()
        GL.glDisable(GL.GL_BLEND)

    def _clear_bodies(self, box: Box) -> None:
        from OpenGL import GL

        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.body_framebuffer)
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(*_grown(box, 2, self._targets.fineness))
        GL.glClearColor(0, 0, 0, 0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        GL.glDisable(GL.GL_SCISSOR_TEST)

    def _draw_bodies(
        self,
        bodies: Sequence[tuple[_FigureMesh, Figure]],
        shot: Shot,
        sun_matrix: FloatArray,
        box: Box,
    ) -> None:
        """One layer into the bodies' own picture, transparent around them, finer than the final one."""
        from OpenGL import GL

        fine = self._targets.fineness
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.body_framebuffer)
        GL.glViewport(0, 0, self.size[0] * fine, self.size[1] * fine)
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(*_grown(box, 2, fine))
        for switch in (GL.GL_DEPTH_TEST, GL.GL_CULL_FACE, GL.GL_CLIP_DISTANCE0):
            GL.glEnable(switch)
        GL.glFrontFace(GL.GL_CW)  # the picture is upside down
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
        program = self._programs.use("body.vert", "body.frag")
        self._set_light(program, shot, sun_matrix)
        for mesh, figure in bodies:
            color = figure.color or (0.0, 0.0, 0.0)
            program.set_uniform("body_color", np.array([*color, figure.color is not None], np.float32))
            program.set_uniform("fade", np.array([*self.background, figure.fade]))
            mesh.draw()
        for switch in (GL.GL_SCISSOR_TEST, GL.GL_DEPTH_TEST, GL.GL_CULL_FACE, GL.GL_CLIP_DISTANCE0):
            GL.glDisable(switch)

    def _set_light(self, program: Any, shot: Shot, sun_matrix: FloatArray) -> None:
        from OpenGL import GL

        GL.glActiveTexture(GL.GL_TEXTURE0)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.sun_depth)
        program.set_uniform("view_matrix", _view_matrix(shot.camera))
        program.set_uniform("sun_matrix", sun_matrix)
        program.set_uniform("floor_clip", 0.0 if self.options.floor == "none" else 1.0)
        program.set_uniform("eye", shot.camera.eye)
        program.set_uniform("sun", shot.sun)
        program.set_uniform("sun_depth", 0)
        program.set_uniform("sun_blur", 2.0 / _SUN_MAP)

    def _compose(self, box: Box) -> None:
        """Average the bodies' samples and lay them over the floor."""
        from OpenGL import GL

        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(*box)
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.body)
        program = self._programs.use("fullscreen.vert", "compose.frag")
        program.set_uniform("body", 0)
        program.set_uniform("fineness", float(self._targets.fineness))
        self._targets.draw_fullscreen()
        GL.glDisable(GL.GL_BLEND)
        GL.glDisable(GL.GL_SCISSOR_TEST)

    def _read(self) -> Picture:
        from OpenGL import GL

        picture = np.empty((self.size[1], self.size[0], 3), np.uint8)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glReadPixels(0, 0, *self.size, GL.GL_RGB, GL.GL_UNSIGNED_BYTE, picture)
        return picture


class _Programs:
    """Our shaders in pyrender's cache."""

    def __init__(self) -> None:
        self._cache = import_pyrender("shader_program").ShaderProgramCache(shader_dir=str(SHADERS))

    def use(self, vertex_shader: str, fragment_shader: str) -> Any:
        """The program, compiled at its first use, bound."""
        program = self._cache.get_program(vertex_shader, fragment_shader)
        if not program._in_context():
            program._add_to_context()
        program._bind()
        return program

    def clear(self) -> None:
        self._cache.clear()


class _Targets:
    """Textures that are drawn into and read again: sun's depth, floor mask, resolved bodies."""

    def __init__(self, size: tuple[int, int], fineness: int) -> None:
        from OpenGL import GL

        self.fineness = fineness
        """Body pixels a picture's pixel, along each side."""
        color = (GL.GL_RGBA8, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        depth = (GL.GL_DEPTH_COMPONENT24, GL.GL_DEPTH_COMPONENT, GL.GL_UNSIGNED_INT)
        fine_size = (size[0] * fineness, size[1] * fineness)
        self.sun_depth = _texture((_SUN_MAP, _SUN_MAP), *depth)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE)
        self.sun_framebuffer = _framebuffer(None, self.sun_depth)
        self.mask_framebuffer = _framebuffer(_texture((_MASK, _MASK), *color))
        self.shadow = _texture((_MASK, _MASK), GL.GL_RG8, GL.GL_RG, GL.GL_UNSIGNED_BYTE)
        self.body = _texture(fine_size, *color)
        self.body_framebuffer = _framebuffer(self.body, _texture(fine_size, *depth))
        self.main_framebuffer = _framebuffer(_texture(size, *color))
        self._no_vertices = GL.glGenVertexArrays(1)

    def upload_shadow(self, shade: Picture) -> None:
        """(h, w, 2) shadow and contact, into the corner of the texture."""
        from OpenGL import GL

        GL.glBindTexture(GL.GL_TEXTURE_2D, self.shadow)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexSubImage2D(
            GL.GL_TEXTURE_2D, 0, 0, 0, shade.shape[1], shade.shape[0], GL.GL_RG, GL.GL_UNSIGNED_BYTE, shade
        )

    def draw_fullscreen(self) -> None:
        from OpenGL import GL

        GL.glBindVertexArray(self._no_vertices)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)

    def draw_rectangle(self) -> None:
        from OpenGL import GL

        GL.glBindVertexArray(self._no_vertices)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)


def _texture(size: tuple[int, int], internal: int, layout: int, kind: int) -> int:
    """An empty texture, bilinear, clamped to its edge."""
    from OpenGL import GL

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
    from OpenGL import GL

    framebuffer = GL.glGenFramebuffers(1)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, framebuffer)
    if color is None:
        GL.glDrawBuffer(GL.GL_NONE)
        GL.glReadBuffer(GL.GL_NONE)
    else:
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, color, 0)
    if depth is not None:
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_TEXTURE_2D, depth, 0)
    return int(framebuffer)


def fade_range(camera: Camera) -> tuple[float, float]:
    """Distances from the target (m) at which the floor begins to fade and has faded."""
    distance = float(np.linalg.norm(camera.eye - camera.target))
    return 0.35 * distance, 1.5 * distance


def _upside_down_rays(camera: Camera) -> FloatArray:
    """(3, 3) columns right, up and forward: rays of the picture's corners, rows running as pictures' rows do.

    OpenGL reads rows from the bottom: everything is drawn upside down instead of flipping every picture.
    """
    tangent = np.tan(FOV_Y / 2)
    right, up, back = camera.rotation
    return np.stack((right * tangent * camera.size[0] / camera.size[1], -up * tangent, -back), axis=1)


def _first_row_within(camera: Camera, reach: float) -> int:
    """The highest row of the picture that shows floor nearer than `reach` (m); the height where none does."""
    height = camera.size[1]
    down = ((np.arange(height) + 0.5) * 2 / height - 1) * np.tan(FOV_Y / 2)
    _, up, back = camera.rotation
    slope = up[1] * down + back[1]  # how far a row's middle ray falls on its way
    near = np.flatnonzero(slope * reach > camera.eye[1])
    return int(near[0]) if len(near) else height - 1


def _view_matrix(camera: Camera) -> FloatArray:
    """(4, 4) world to the picture, row 0 at the bottom, where OpenGL's reading starts."""
    scale = 1 / np.tan(FOV_Y / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0] = scale * camera.size[1] / camera.size[0]
    matrix[1, 1] = -scale
    matrix[2, 2] = -(_FAR + _NEAR) / (_FAR - _NEAR)
    matrix[2, 3] = -2 * _FAR * _NEAR / (_FAR - _NEAR)
    matrix[3, 2] = -1
    return matrix @ np.linalg.inv(camera.pose)


def sun_view(points: Float32Array, sun: FloatArray) -> FloatArray:
    """(4, 4) world to the sun's parallel view, just around the points."""
    axes = look_rotation(sun)
    local = points @ axes.T.astype(np.float32)
    low, high = local.min(axis=0) - 0.05, local.max(axis=0) + 0.05
    half = (high - low) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = axes / half[:, None]
    matrix[:3, 3] = -(low + high) / 2 / half
    matrix[2] *= -1  # nearer to the sun is less deep
    return matrix


def _mask_around(points: Float32Array, sun: FloatArray) -> _Mask:
    """The part of the floor that shadow and contact fall on, with room for the blur."""
    heights = np.maximum(points[:, 1], 0)[:, None]
    straight = points[:, [0, 2]]
    along = straight - (sun[[0, 2]] / sun[1]).astype(np.float32) * heights
    room = 3 * max(SHADOW_BLUR)
    low = np.minimum(straight.min(axis=0), along.min(axis=0)) - room
    high = np.maximum(straight.max(axis=0), along.max(axis=0)) + room
    metres = max(_MASK_METRES, float((high - low).max()) / _MASK)
    pixels = np.minimum(np.ceil((high - low) / metres), _MASK).astype(int)
    return _Mask(low.astype(np.float64), pixels * metres, (int(pixels[0]), int(pixels[1])))


def _blur_footprint(footprint: Picture, mask: _Mask) -> Picture:
    """(h, w, 4) blockers to (h, w, 2) shadow and contact: what blocks from higher up blurs more."""
    metres = float(mask.extent[0]) / mask.pixels[0]
    layers = []
    for channel, width in enumerate(SHADOW_BLUR):
        radius = width / metres
        coarse = max(1, int(radius / 2.5))  # a wide blur of a smaller picture looks the same and is faster
        image = Image.fromarray(np.ascontiguousarray(footprint[..., channel]))
        image = image.reduce(coarse).filter(ImageFilter.GaussianBlur(radius / coarse))
        layers.append(image.resize(mask.pixels, Image.Resampling.BILINEAR) if coarse > 1 else image)
    low, middle, high, contact = layers
    shadow = ImageChops.screen(ImageChops.screen(low, middle), high)
    return np.stack((np.asarray(shadow), np.asarray(contact)), axis=-1)


def _grown(box: Box, room: int, scale: int) -> Box:
    """The box with room on all sides, in pixels `scale` times as fine: filters read a clean border."""
    x, y, width, height = box
    left, low = max(0, x - room), max(0, y - room)
    return left * scale, low * scale, (x + width + room - left) * scale, (y + height + room - low) * scale


def _screen_box(camera: Camera, points: NDArray[np.floating], reach: float) -> Box:
    """x, y, width, height of the picture's part that holds balls of a radius (m) around points (..., 3)."""
    pixels = camera.project(points)
    room = 2 + reach * camera.focal / np.maximum(pixels[:, 2:], _NEAR)
    low = np.floor((pixels[:, :2] - room).min(axis=0)).astype(int)
    high = np.ceil((pixels[:, :2] + room).max(axis=0)).astype(int)
    low = np.clip(low, 0, np.subtract(camera.size, 1))
    high = np.clip(high, low + 1, camera.size)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
