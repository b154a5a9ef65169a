"""Draws bodies with pyrender offscreen: one renderer, vertex buffers updated in place, our own lean shaders.

A picture takes four passes: the sun's depth map (bodies' shadows on themselves), their footprint on the floor
(blurred into a soft shadow), the bodies, multisampled only where they are, and backdrop and floor under them.
In this order, because the processor blurs while OpenGL's threads still draw the bodies.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from posegpt_cli.rendering.camera import Camera, FloatArray
from posegpt_cli.rendering.opengl.context import GL, open_context
from posegpt_cli.rendering.opengl.figures import FigureMesh, Topology
from posegpt_cli.rendering.opengl.programs import Program, Programs
from posegpt_cli.rendering.opengl.projection import (
    Box,
    first_row_within,
    grown,
    screen_box,
    upside_down_rays,
    view_matrix,
)
from posegpt_cli.rendering.opengl.targets import Targets
from posegpt_cli.rendering.options import Color, FloorName, RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Figure, Picture, Scene
from posegpt_cli.rendering.shading import (
    CONTACT_DARK,
    FLOOR,
    PATTERNS,
    PROXY_REACH,
    SHADOW_MASK,
    SHADOW_TINT,
    SUN_MAP,
    FloorPaint,
    ShadowMask,
    fade_range,
    sun_view,
)

_SHADE = {
    "TINT_RED": SHADOW_TINT[0],
    "TINT_GREEN": SHADOW_TINT[1],
    "TINT_BLUE": SHADOW_TINT[2],
    "CONTACT_DARK": CONTACT_DARK,
}
"""The shadow's constants for its shader."""
_TAP = 0.7
"""Fine pixels from a pixel's middle to the four places where the bodies are sampled."""


class MeshRenderer(Renderer):
    """Draws by OpenGL; one context for as long as it lives.

    Raises PoseGPTError if no OpenGL context can be had.
    """

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        super().__init__(options, size)
        self._context = open_context(self.size)
        self._programs = Programs()
        self._targets = Targets(self.size, 2 if options.samples > 1 else 1)
        self._topologies: dict[int, Topology] = {}
        self._floor = _floor_constants(options.floor, self.background, self.floor_paint)

    def draw(self, scene: Scene) -> Picture:
        """The scene's picture, (H, W, 3) sRGB."""
        return next(self.draw_all([scene]))

    def draw_all(self, scenes: Iterable[Scene]) -> Iterator[Picture]:
        """The scenes' pictures, each read when the next has been ordered.

        OpenGL's threads thus still draw one while the processor poses, shades and orders another.
        """
        ordered: deque[int] = deque()
        try:
            for scene in scenes:
                ordered.append(self._targets.take_canvas())
                self._order(scene, ordered[-1])
                if len(ordered) > 1:
                    yield self._read(ordered.popleft())
            if ordered:
                yield self._read(ordered.popleft())
        finally:
            # Whoever stops in between never reads the last one.
            self._targets.free_canvases.extend(ordered)

    def _order(self, scene: Scene, canvas: int) -> None:
        """Tell OpenGL to draw a scene; this returns before it has."""
        self._context.make_current()
        meshes = self._upload(scene.figures)
        points = np.concatenate([mesh.proxy_points for mesh in meshes])
        box = screen_box(scene.camera, points, PROXY_REACH)
        room = grown(box, 2)
        sun_matrix = sun_view(points, scene.sun)
        mask = ShadowMask.around(points, scene.sun) if self.options.floor != "none" else None

        # The processor computes the bodies' vertices, for which it waits for the sun's depth; it has the
        # footprints to do until then.
        GL.glDisable(GL.GL_BLEND)
        for number, layer in enumerate(scene.layers):
            self._draw_sun_depth([meshes[k] for k in layer], sun_matrix)
            if number == 0:
                if mask:
                    self._draw_footprints(meshes, scene, mask)
                self._clear_bodies(room)
            self._draw_bodies([(meshes[k], scene.figures[k]) for k in layer], scene, sun_matrix, room)
        # OpenGL's threads still draw the bodies while this blurs.
        if mask:
            self._targets.upload_shadow(mask.blur(self._read_footprints(mask)))

        self._draw_ground(scene.camera, canvas)
        if mask:
            self._shade_ground(scene.camera, mask)
        self._compose(box, room)

    def close(self) -> None:
        """Free the context and all that lives in it."""
        self._context.make_current()
        self._programs.clear()
        self._context.close()

    def _upload(self, figures: Sequence[Figure]) -> list[FigureMesh]:
        """A mesh for each figure, holding its vertices; meshes of earlier pictures are used again."""
        used: Counter[int] = Counter()
        chosen = []
        for figure in figures:
            look = figure.person.look
            if id(look) not in self._topologies:
                self._topologies[id(look)] = Topology(look)
            topology = self._topologies[id(look)]
            # The second figure of a look takes its second mesh, and so on.
            if used[id(look)] == len(topology.meshes):
                topology.meshes.append(FigureMesh(topology))
            mesh = topology.meshes[used[id(look)]]
            used[id(look)] += 1
            mesh.upload(figure.vertices, figure.normals)
            chosen.append(mesh)
        return chosen

    def _draw_footprints(self, meshes: Sequence[FigureMesh], scene: Scene, mask: ShadowMask) -> None:
        """Footprints along the sun (red, green, blue) and straight down (alpha)."""
        width, height = mask.pixels
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.mask_framebuffer)
        GL.glViewport(0, 0, width, height)
        GL.glClearColor(0, 0, 0, 0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)

        # Where triangles overlap, the strongest blocker counts, whatever is drawn first.
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendEquation(GL.GL_MAX)
        program = self._programs.use("footprint.vert", "footprint.frag")
        program.set_uniform("mask_rect", mask.rect)
        to_sun = scene.sun / scene.sun[1]
        straight_up = np.zeros(3)
        for along, channels in (
            (to_sun, (True, True, True, False)),
            (straight_up, (False, False, False, True)),
        ):
            program.set_uniform("along", along)
            GL.glColorMask(*channels)
            for mesh, figure in zip(meshes, scene.figures, strict=True):
                program.set_uniform("strength", 1.0 - figure.fade)
                mesh.draw_proxy()

        GL.glColorMask(True, True, True, True)
        GL.glBlendEquation(GL.GL_FUNC_ADD)
        GL.glDisable(GL.GL_BLEND)

    def _read_footprints(self, mask: ShadowMask) -> Picture:
        """(h, w, 4)."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.mask_framebuffer)
        footprint = np.empty((mask.pixels[1], mask.pixels[0], 4), np.uint8)
        GL.glReadPixels(0, 0, *mask.pixels, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, footprint)
        return footprint

    def _draw_sun_depth(self, meshes: Sequence[FigureMesh], sun_matrix: FloatArray) -> None:
        """Far sides only: the lit sides cannot shadow themselves then."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.sun_framebuffer)
        GL.glViewport(0, 0, SUN_MAP, SUN_MAP)
        with _enabled(GL.GL_DEPTH_TEST, GL.GL_CULL_FACE):
            GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
            GL.glFrontFace(GL.GL_CW)
            program = self._programs.use("depth.vert", "depth.frag")
            program.set_uniform("sun_matrix", sun_matrix)
            for mesh in meshes:
                mesh.draw_proxy()

    def _clear_bodies(self, room: Box) -> None:
        """An empty picture for the bodies, which is no larger than the part of the picture that they take."""
        fine = self._targets.fineness
        self._targets.make_room_for_bodies((room[2] * fine, room[3] * fine))
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.body_framebuffer)
        GL.glClearColor(0, 0, 0, 0)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)

    def _draw_bodies(
        self, bodies: Sequence[tuple[FigureMesh, Figure]], scene: Scene, sun_matrix: FloatArray, room: Box
    ) -> None:
        """One layer into the bodies' own picture, transparent around them, finer than the final one."""
        fine = self._targets.fineness
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._targets.body_framebuffer)
        # The whole picture's place, of which the framebuffer is a part.
        GL.glViewport(-room[0] * fine, -room[1] * fine, self.size[0] * fine, self.size[1] * fine)
        GL.glFrontFace(GL.GL_CW)  # the picture is upside down
        with _enabled(GL.GL_DEPTH_TEST, GL.GL_CULL_FACE, GL.GL_CLIP_DISTANCE0):
            # A fresh depth buffer: this layer covers the lower ones wherever it is.
            GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
            for is_textured in (False, True):
                # Bodies take the lean shader: software OpenGL pays for textures by the pixel.
                drawn = [body for body in bodies if body[0].is_textured == is_textured]
                if drawn:
                    fragments = "textured.frag" if is_textured else "body.frag"
                    program = self._programs.use("body.vert", fragments, {"IS_TEXTURED": int(is_textured)})
                    self._set_light(program, scene, sun_matrix)
                    for mesh, figure in drawn:
                        self._draw_body(program, mesh, figure)

    def _draw_body(self, program: Program, mesh: FigureMesh, figure: Figure) -> None:
        color = figure.color or (0.0, 0.0, 0.0)
        program.set_uniform("body_color", np.array([*color, figure.color is not None], np.float32))
        program.set_uniform("fade", np.array([*self.background, figure.fade]))
        mesh.draw(program)

    def _set_light(self, program: Program, scene: Scene, sun_matrix: FloatArray) -> None:
        GL.glActiveTexture(GL.GL_TEXTURE0)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.sun_depth)
        program.set_uniform("view_matrix", view_matrix(scene.camera))
        program.set_uniform("sun_matrix", sun_matrix)
        program.set_uniform("floor_clip", 0.0 if self.options.floor == "none" else 1.0)
        program.set_uniform("eye", scene.camera.eye)
        program.set_uniform("sun", scene.sun)
        program.set_uniform("sun_depth", 0)
        program.set_uniform("sun_blur", 2.0 / SUN_MAP)

    def _draw_ground(self, camera: Camera, canvas: int) -> None:
        """Background everywhere, floor below the row in which it has faded."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, canvas)
        GL.glViewport(0, 0, *self.size)
        GL.glClearColor(*self.background, 1)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        if self.options.floor == "none":
            return

        # Rows above the floor's far end need no shader, which software OpenGL pays for by the pixel.
        fade_start, fade_end = fade_range(camera)
        horizon = first_row_within(camera, float(np.linalg.norm(camera.eye - camera.target)) + fade_end)
        GL.glScissor(0, horizon, self.size[0], self.size[1] - horizon)
        with _enabled(GL.GL_SCISSOR_TEST):
            program = self._programs.use("ground.vert", "ground.frag", self._floor)
            program.set_uniform("eye", camera.eye)
            program.set_uniform("rays", upside_down_rays(camera))
            program.set_uniform("target", camera.target[[0, 2]])
            program.set_uniform("fade", np.array([fade_start, 1 / (fade_end - fade_start)]))
            self._targets.draw_fullscreen()

    def _shade_ground(self, camera: Camera, mask: ShadowMask) -> None:
        """Multiply the floor by its shadow: a rectangle that lies there."""
        # What is there, times what the shader says remains.
        GL.glBlendFunc(GL.GL_DST_COLOR, GL.GL_ZERO)
        GL.glActiveTexture(GL.GL_TEXTURE0)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.shadow)
        with _enabled(GL.GL_BLEND):
            program = self._programs.use("shade.vert", "shade.frag", _SHADE)
            program.set_uniform("view_matrix", view_matrix(camera))
            program.set_uniform("shadow_mask", 0)
            program.set_uniform("mask_rect", np.concatenate((mask.corner, mask.extent)))
            share = np.array(mask.pixels) / SHADOW_MASK
            program.set_uniform("mask_share", share)
            program.set_uniform("furthest", share - 0.5 / SHADOW_MASK)
            self._targets.draw_rectangle()

    def _compose(self, box: Box, room: Box) -> None:
        """Average the bodies' samples and lay them over the floor."""
        GL.glScissor(*box)
        # Colours are multiplied by their coverage already.
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._targets.body)
        with _enabled(GL.GL_SCISSOR_TEST, GL.GL_BLEND):
            program = self._programs.use("compose.vert", "compose.frag")
            program.set_uniform("body", 0)
            # Pixels of the bodies' picture, counted from its corner, as shares of its size.
            texel = 1 / np.array(self._targets.body_size)
            half = np.array(self.size) / 2
            fine = self._targets.fineness
            place = np.concatenate((half - room[:2], half)) * fine * np.tile(texel, 2)
            program.set_uniform("place", place)
            program.set_uniform("tap", (fine - 1) * _TAP * texel)
            self._targets.draw_fullscreen()

    def _read(self, canvas: int) -> Picture:
        """The picture on a canvas, which is free then."""
        self._context.make_current()
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, canvas)
        # Rows of a width that is no multiple of four follow each other without a gap.
        picture = np.empty((self.size[1], self.size[0], 3), np.uint8)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glReadPixels(0, 0, *self.size, GL.GL_RGB, GL.GL_UNSIGNED_BYTE, picture)
        self._targets.free_canvases.append(canvas)
        return picture


def _floor_constants(pattern: FloorName, backdrop: Color, paint: FloorPaint) -> dict[str, float | str]:
    """The floor's recipe for its shader. Compiled in: software OpenGL pays for uniforms by the pixel."""
    thin, least = FLOOR.line_thin
    return {
        "BACKDROP": _vector(backdrop),
        "FLOOR_COLOR": _vector(paint.color),
        "CONTRAST": paint.contrast,
        "PATTERN": PATTERNS.get(pattern, 0.0),
        "TILE": FLOOR.tile,
        "CHECKER_BRIGHT": FLOOR.checker_bright,
        "CHECKER_DEPTH": FLOOR.checker_depth,
        "GRID_BRIGHT": FLOOR.grid_bright,
        "GRID_DEPTH": FLOOR.grid_depth,
        "LINE_METRES": FLOOR.line_metres,
        "LINE_THIN": thin,
        "LINE_LEAST": least,
        "FALL": FLOOR.fall,
    }


def _vector(color: Color) -> str:
    """A colour as shaders write it."""
    return f"vec3{color}"


@contextmanager
def _enabled(*switches: int) -> Iterator[None]:
    """OpenGL switches that are on within the block."""
    for switch in switches:
        GL.glEnable(switch)
    try:
        yield
    finally:
        for switch in switches:
            GL.glDisable(switch)
