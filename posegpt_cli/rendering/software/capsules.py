"""Shaded, depth-tested capsules painted into a picture with numpy.

The pixels of all capsules' rectangles are shaded in one long array: numpy's cost is by the call.
"""

from collections.abc import Sequence

import numpy as np

from models.motion import Float32Array
from posegpt_cli.rendering.camera import FloatArray
from posegpt_cli.rendering.scene import Picture

Tile = tuple[slice, slice]
"""Rows and columns of the picture that a capsule may touch."""
_HALF = np.float32(0.5)


class CapsulePainter:
    """Paints capsules into pictures. Its arrays are kept: new memory costs more than what is done in it."""

    def __init__(self) -> None:
        self._kept: dict[str, Float32Array] = {}

    def paint(self, canvas: Picture, capsules: FloatArray, sun: FloatArray, focal: float) -> None:
        """Paint capsules, the farthest first, wherever each is nearest.

        Args:
            canvas: (H, W, 3), changed in place.
            capsules: (B, 11): pixel x, y, radius (pixels) and depth (m) of both ends, then red, green, blue
                in 0..255.
            sun: (3,) unit vector towards the sun: right, up, towards the camera.
            focal: pixels that a metre covers at a distance of one metre.
        """
        seen = []
        tiles = []
        for k, capsule in enumerate(capsules):
            tile = _tile(capsule, canvas.shape[1], canvas.shape[0])
            if tile:
                seen.append(k)
                tiles.append(tile)
        if not tiles:
            return
        cover, depth, light = self._shade(capsules[seen], tiles, sun, focal)

        # Blending works on planes of one colour each, and only where capsules are: contiguous memory is fast.
        top = min(rows.start for rows, _ in tiles)
        bottom = max(rows.stop for rows, _ in tiles)
        left = min(columns.start for _, columns in tiles)
        right = max(columns.stop for _, columns in tiles)
        region = canvas[top:bottom, left:right]
        planes = self._array("planes", 4, *region.shape[:2])
        for channel in range(3):
            planes[channel] = region[..., channel]
        planes[3] = np.inf

        # Capsule after capsule takes its part of the long arrays.
        colors = capsules[seen, 8:].astype(np.float32)
        start = 0
        for (rows, columns), color in zip(tiles, colors, strict=True):
            window = planes[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            shape = window.shape[1:]
            part = slice(start, start + shape[0] * shape[1])
            start = part.stop
            _blend(
                window,
                color,
                cover[part].reshape(shape),
                depth[part].reshape(shape),
                light[part].reshape(shape),
            )
        for channel in range(3):
            np.add(planes[channel], _HALF, out=region[..., channel], casting="unsafe")

    def _array(self, name: str, *shape: int) -> Float32Array:
        """Memory for an array, not cleared."""
        size = int(np.prod(shape))
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = np.empty(size, np.float32)
        return self._kept[name][:size].reshape(shape)

    def _shade(
        self, capsules: FloatArray, tiles: Sequence[Tile], sun: FloatArray, focal: float
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Coverage, depth (m) and brightness (N,) of all tiles' pixels, each capsule in its own frame."""
        x0, y0, r0, z0, x1, y1, r1, z1 = capsules[:, :8].T
        length = np.maximum(np.hypot(x1 - x0, y1 - y0), 1e-6)
        ux = (x1 - x0) / length
        uy = (y1 - y0) / length
        ux[ux**2 + uy**2 < 0.5] = 1.0  # a ball has no direction: any will do

        # Where each pixel is along and across its capsule's axis.
        sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in tiles]
        pixels = self._array("pixels", 4, sum(sizes))
        _fill_places(pixels[:2], tiles, np.stack((x0, y0)), np.stack((ux, uy)))

        # What is the same all over a capsule: its axis, and the sun and the sky in its own frame.
        axis = (length, (r1 - r0) / length, r0, (z1 - z0) / length, z0)
        to_sun = (ux * sun[0] - uy * sun[1], -uy * sun[0] - ux * sun[1])
        to_sky = (-uy, -ux)
        table = self._spread((*axis, *to_sun, *to_sky), sizes)
        cover, depth = _bulge(pixels, table[:5], focal)

        # The surface's normal is (along, across, near); its products with sun and sky are the light.
        along, across, near, _ = pixels
        sun_along, sun_across, sky_along, sky_across = table[5:]
        for part, other in ((sun_along, sun_across), (sky_along, sky_across)):
            part *= along
            other *= across
            part += other
        near *= np.float32(sun[2])
        sun_along += near
        return cover, depth, _light(sun_along, sky_along, spare=along)

    def _spread(self, values: Sequence[FloatArray], sizes: Sequence[int]) -> Float32Array:
        """(V, N): each capsule's values at all pixels of its tile."""
        table = self._array("values", len(values), sum(sizes))
        columns = np.array(values, np.float32)
        start = 0
        for k, size in enumerate(sizes):
            table[:, start : start + size] = columns[:, k : k + 1]
            start += size
        return table


def _tile(capsule: FloatArray, width: int, height: int) -> Tile | None:
    """None for a capsule behind the camera or outside the picture."""
    x0, y0, r0, z0, x1, y1, r1, z1 = capsule[:8].tolist()
    if min(z0, z1) < 0.05:
        return None
    left = max(0, int(min(x0 - r0, x1 - r1)) - 1)
    right = min(width, int(max(x0 + r0, x1 + r1)) + 2)
    top = max(0, int(min(y0 - r0, y1 - r1)) - 1)
    bottom = min(height, int(max(y0 + r0, y1 + r1)) + 2)
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)


def _fill_places(
    places: Float32Array, tiles: Sequence[Tile], origins: FloatArray, directions: FloatArray
) -> None:
    """Pixels (2, N) of all tiles along and across directions (2, B) from origins (2, B), in pixels.

    A pixel's place is the sum of what its row and its column add: products of two narrow matrices.
    """
    n_rows = []
    n_columns = []
    for rows, columns in tiles:
        n_rows.append(rows.stop - rows.start)
        n_columns.append(columns.stop - columns.start)
    y = np.concatenate([np.arange(rows.start, rows.stop) + 0.5 for rows, _ in tiles])
    x = np.concatenate([np.arange(columns.start, columns.stop) + 0.5 for _, columns in tiles])
    x -= np.repeat(origins[0], n_columns)
    y -= np.repeat(origins[1], n_rows)

    # (y, 1) times (1, x): what a row adds and what a column adds, along and across.
    turn = np.stack((directions, directions[::-1] * [[-1], [1]]))  # along and across, of x and y
    of_column = np.ones((2, 2, len(x)), np.float32)
    of_column[:, 1] = x * np.repeat(turn[:, 0], n_columns, axis=1)
    of_row = np.ones((2, len(y), 2), np.float32)
    of_row[:, :, 0] = y * np.repeat(turn[:, 1], n_rows, axis=1)
    row = column = start = 0
    for height, width in zip(n_rows, n_columns, strict=True):
        tile = places[:, start : start + height * width].reshape(2, height, width)
        np.matmul(of_row[:, row : row + height], of_column[:, :, column : column + width], out=tile)
        row += height
        column += width
        start += height * width


def _bulge(pixels: Float32Array, axis: Float32Array, focal: float) -> tuple[Float32Array, Float32Array]:
    """Coverage and depth (m) of a capsule's surface.

    Args:
        pixels: (4, N) along and across (pixels), which become parts of the radius, counted from the nearest
            point of the axis; then how far the surface stands out towards the camera; the last becomes the
            coverage.
        axis: (5, N) its length (pixels), its radius' growth and start, its depth's growth and start.
        focal: pixels that a metre covers at a distance of one metre.
    """
    along, across, near, cover = pixels
    length, radius_growth, radius, depth_growth, depth = axis
    # Before its start and past its end the capsule is a ball: only what sticks out counts as along.
    np.clip(along, 0, length, out=near)
    along -= near
    # Radius and depth of the axis at the nearest point.
    radius_growth *= near
    radius += radius_growth
    depth_growth *= near
    depth += depth_growth
    # Distance from the axis in radii, and from it how much of the pixel is covered.
    pixels[:2] /= radius
    np.multiply(along, along, out=near)
    np.multiply(across, across, out=cover)
    near += cover
    np.sqrt(near, out=cover)
    np.subtract(1, cover, out=cover)
    cover *= radius
    cover += _HALF
    np.clip(cover, 0, 1, out=cover)
    # A sphere stands out by the root of one minus the squared distance; that brings its surface nearer.
    np.subtract(1, near, out=near)
    np.maximum(near, 0, out=near)
    np.sqrt(near, out=near)
    radius *= near
    radius *= depth
    radius *= np.float32(1 / focal)
    depth -= radius
    return cover, depth


def _light(toward_sun: Float32Array, up: Float32Array, spare: Float32Array) -> Float32Array:
    """Brightness by the normal's parts towards the sun and upwards: sky, sun and a little sheen."""
    # The sun reaches a little around the edge.
    toward_sun += np.float32(0.15)
    direct = np.maximum(toward_sun, 0, out=toward_sun)
    # The sheen is its eighth power.
    shine = np.multiply(direct, direct, out=spare)
    shine *= shine
    shine *= shine
    shine *= np.float32(0.10)
    direct *= np.float32(0.42)
    up *= np.float32(0.12)
    direct += shine
    direct += up
    direct += np.float32(0.56)
    return direct


def _blend(
    window: Float32Array, color: Float32Array, cover: Float32Array, depth: Float32Array, light: Float32Array
) -> None:
    """Lay a capsule over what is farther away in a window (4, h, w): red, green, blue and depth."""
    colors = window[:3]
    behind = window[3]
    cover *= depth < behind
    # Pixels along an outline keep the depth of what they mostly show.
    np.copyto(behind, depth, where=cover > _HALF)
    # Brighter than white would change the hue.
    np.minimum(light, 255 / color.max(), out=light)
    light *= cover
    np.subtract(1, cover, out=cover)
    colors *= cover
    colors += light * color[:, None, None]
