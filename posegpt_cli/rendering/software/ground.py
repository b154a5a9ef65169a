"""Backdrop and floor in software, for the skeleton renderer: `FLOOR`'s recipe as arrays.

The camera never rolls, so a row of the picture sees the floor at one distance. The floor is computed a few
rows at a time: all that they need stays in the processor's cache.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.motion import Float32Array
from posegpt_cli.rendering.camera import FOV_Y, Camera, FloatArray
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Picture
from posegpt_cli.rendering.shading import FLOOR, fade_range

SHADE = 4
"""The shade on the floor is given this many times smaller than the picture."""
_PERIOD = 2 * FLOOR.tile
"""Metres after which the floor's pattern comes again."""
_TOGETHER = 20_000
"""Pixels computed together."""


class Ground:
    """Backdrop and floor of a renderer's pictures; what depends on the camera's direction is kept."""

    def __init__(self, renderer: Renderer) -> None:
        self._size = renderer.size
        width, height = renderer.size
        self._pattern = renderer.options.floor
        self._contrast = np.float32(renderer.floor_paint.contrast)
        self._backdrop = self._fall_off(height)

        # A pixel is a mixture of the floor's colour, the background's, and half a step to round by.
        behind = 255 * np.array(renderer.background)
        floor = 255 * np.array(renderer.floor_paint.color)
        self._colors = np.array([floor, behind, np.full(3, 0.5)], np.float32)
        column = (self._backdrop[..., None] * behind + 0.5).astype(np.uint8)
        self._bare = np.repeat(column, width, axis=1)

        # Memory for a few rows, used again and again.
        self._together = max(1, _TOGETHER // width)
        self._edges = np.empty((2, self._together, width), np.float32)
        self._light = np.ones((3, self._together, width), np.float32)
        self._lit = np.empty((self._together, width, 3), np.float32)
        self._aim_kept = (0.0, 0.0, 0.0)

    def _fall_off(self, height: int) -> Float32Array:
        """(H, 1) how bright the backdrop is: darker towards the lower edge, unless there is no floor."""
        if self._pattern == "none":
            return np.ones((height, 1), np.float32)
        down = np.clip((np.arange(height) + 0.5) * 2 / height - 1, 0, 1)
        return (1 - FLOOR.fall * down * down)[:, None].astype(np.float32)

    def picture(self, camera: Camera, shade: Image.Image | None) -> Picture:
        """(H, W, 3): the floor loses the light of `shade` (0..255, `SHADE` times smaller); None: no floor."""
        if shade is None:
            return self._bare.copy()
        self._aim(camera)
        canvas = np.empty_like(self._bare)
        canvas[: self._top] = self._bare[: self._top]
        waves = self._waves(camera)
        sharpness = self._sharpness / np.float32(camera.eye[1])
        shadow = _Shadow.of(shade, self._top, self._size)
        for start in range(self._top, self._size[1], self._together):
            rows = slice(start, min(start + self._together, self._size[1]))
            light = self._light[:, : rows.stop - start]
            floor, back, _ = light
            self._draw_pattern(waves[:, rows], sharpness[rows], floor)
            floor *= self._gain[rows]
            back[:] = self._back[rows]
            shadow.darken(light[:2], start)
            # One matrix product mixes the colours of all pixels.
            lit = self._lit[: rows.stop - start]
            np.matmul(light.reshape(3, -1).T, self._colors, out=lit.reshape(-1, 3))
            canvas[rows] = lit
        return canvas

    def _waves(self, camera: Camera) -> Float32Array:
        """(2, H, 2) per row: how x and z, in periods, grow across it, and what they are in its middle."""
        right = camera.rotation[0]
        middle = self._along[:, None] * (camera.eye[1] * _ahead(camera)) + camera.eye
        middle /= _PERIOD
        growth = self._per_metre[:, None] * (camera.eye[1] / _PERIOD * right)
        # Whole periods change nothing, and would cost float32 its last digits far from the origin.
        waves = np.stack((growth, middle - np.rint(middle)), axis=-1)
        return waves[:, [0, 2]].transpose(1, 0, 2).astype(np.float32)

    def _draw_pattern(self, waves: Float32Array, sharpness: Float32Array, out: Float32Array) -> None:
        """Brightness of the floor, 0 to 1, smooth over a pixel's footprint where tiles meet."""
        if self._pattern == "plain":
            out[:] = FLOOR.checker_bright - FLOOR.checker_depth * self._contrast
            return
        # Distances to the nearest edge of a tile, in periods, signed by tile.
        edges = self._edges[:, : len(out)]
        np.matmul(waves, self._across, out=edges)
        edges -= np.rint(edges)
        np.abs(edges, out=edges)
        edges -= np.float32(0.25)
        if self._pattern == "checker":
            _draw_checker(edges, sharpness, self._contrast, out)
        else:
            _draw_grid(edges, sharpness, self._contrast, out)

    def _aim(self, camera: Camera) -> None:
        """Where rays from one metre above the floor meet it, in metres, and how far the floor fades.

        That depends on how far the camera looks down, not on where to, and is kept. The floor's fading
        depends on the camera's height too, which is rounded, so that no picture depends on earlier ones.
        """
        distance = float(np.linalg.norm(camera.eye - camera.target))
        _, up, back = camera.rotation
        height_step = max(round(float(camera.eye[1]), 1), 0.1)
        aim = (round(float(back[1]), 9), round(distance, 9), height_step)
        if aim == self._aim_kept:
            return
        self._aim_kept = aim

        # The picture's plane, one metre before the camera.
        width, height = self._size
        tangent = np.tan(FOV_Y / 2)
        down = ((np.arange(height) + 0.5) * 2 / height - 1) * tangent
        across = ((np.arange(width) + 0.5) * 2 / width - 1) * tangent * width / height
        self._across = np.stack((across, np.ones(width))).astype(np.float32)

        # The first row that shows floor before it has faded.
        slope = np.maximum(up[1] * down + back[1], 1e-6)
        fade_start, fade_end = fade_range(camera)
        near = np.flatnonzero(height_step / slope < 1.6 * fade_end)
        self._top = int(near[0]) if len(near) else height

        # How far along the floor each row lies, and from there how far every pixel is from the target.
        flat = _ahead(camera)
        self._per_metre = 1 / slope
        self._along = (-(up @ flat) * down - back @ flat) / slope
        offset = (camera.target - camera.eye) @ flat / height_step
        away = height_step * np.hypot(across * self._per_metre[:, None], (self._along - offset)[:, None])
        fade = np.clip((fade_end - away) / (fade_end - fade_start), 0, 1)
        self._gain = (fade * fade * (3 - 2 * fade) * self._backdrop).astype(np.float32)
        self._back = self._backdrop - self._gain

        # A pixel's footprint on the floor says how soft edges are.
        pixel = np.maximum(np.abs(np.gradient(self._per_metre)), self._per_metre * 2 * tangent / height)
        self._sharpness = (1 / np.maximum(pixel, 1e-6))[:, None].astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Shadow:
    """What a part of the floor keeps of its light."""

    left: int
    top: int
    kept: Float32Array
    """(h, w) in 0..1, from this row and column of the picture on."""

    @classmethod
    def of(cls, shade: Image.Image, first_row: int, size: tuple[int, int]) -> "_Shadow":
        """The part of a shade that is not empty, at the picture's size; no row before the first."""
        box = shade.getbbox() or (0, 0, 0, 0)
        left = box[0] * SHADE
        right = min(box[2] * SHADE, size[0])
        top = max(box[1] * SHADE, first_row)
        bottom = min(box[3] * SHADE, size[1])
        if left >= right or top >= bottom:
            return cls(0, 0, np.empty((0, 0), np.float32))
        source = (left / SHADE, top / SHADE, right / SHADE, bottom / SHADE)
        fine = shade.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
        kept = np.asarray(fine).astype(np.float32)
        kept *= np.float32(-1 / 255)
        kept += 1
        return cls(left, top, kept)

    def darken(self, light: Float32Array, start: int) -> None:
        """Take the shade from light (..., h, W) of the rows from `start` on."""
        rows, columns = self.kept.shape
        first = max(self.top, start)
        last = min(self.top + rows, start + light.shape[-2])
        if first < last:
            part = light[..., first - start : last - start, self.left : self.left + columns]
            part *= self.kept[first - self.top : last - self.top]


def _ahead(camera: Camera) -> FloatArray:
    """(3,) unit vector along the floor, away from the camera."""
    flat = -camera.rotation[2] * (1.0, 0.0, 1.0)
    return flat / np.linalg.norm(flat)


def _draw_checker(
    edges: Float32Array, sharpness: Float32Array, contrast: np.float32, out: Float32Array
) -> None:
    """Tiles, from distances to their edges in periods (2, h, W), which are overwritten."""
    # The product of two signed distances is positive on every other tile; cut off within a pixel of an edge.
    edges *= sharpness * np.float32(1.4 * _PERIOD)
    np.clip(edges, -1, 1, out=edges)
    np.multiply(edges[0], edges[1], out=out)
    # Tiles smaller than a pixel blend into their mean.
    depth = np.float32(FLOOR.checker_depth) * contrast
    out *= depth * np.clip(sharpness * np.float32(FLOOR.tile / 2) - np.float32(0.5), 0, 1)
    out += np.float32(FLOOR.checker_bright) - depth


def _draw_grid(edges: Float32Array, sharpness: Float32Array, contrast: np.float32, out: Float32Array) -> None:
    """A line at every tile's edge, from distances to them in periods (2, h, W), which are overwritten."""
    np.abs(edges, out=edges)
    np.minimum(edges[0], edges[1], out=out)
    out *= -_PERIOD / np.maximum(np.float32(FLOOR.line_metres), 0.7 / sharpness)
    out += np.float32(1.5)
    np.clip(out, 0, 1, out=out)
    # A line that is thinner than a pixel gets weaker instead.
    thin, least = FLOOR.line_thin
    weight = np.minimum(1, np.float32(thin) * sharpness + np.float32(least))
    out *= np.float32(-FLOOR.grid_depth) * contrast * weight
    out += np.float32(FLOOR.grid_bright)
