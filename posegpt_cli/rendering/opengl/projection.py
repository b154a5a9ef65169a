"""From metres to OpenGL's picture. Everything is drawn upside down, as OpenGL reads rows from the bottom."""

import numpy as np
from numpy.typing import NDArray

from posegpt_cli.rendering.camera import FOV_Y, Camera, FloatArray

Box = tuple[int, int, int, int]
"""x, y, width and height of a part of the picture, in pixels."""
_NEAR, _FAR = 0.1, 200.0


def view_matrix(camera: Camera) -> FloatArray:
    """(4, 4) world to the picture, row 0 at the bottom, where OpenGL's reading starts."""
    scale = 1 / np.tan(FOV_Y / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0] = scale * camera.size[1] / camera.size[0]
    matrix[1, 1] = -scale
    matrix[2, 2] = -(_FAR + _NEAR) / (_FAR - _NEAR)
    matrix[2, 3] = -2 * _FAR * _NEAR / (_FAR - _NEAR)
    matrix[3, 2] = -1
    return matrix @ np.linalg.inv(camera.pose)


def upside_down_rays(camera: Camera) -> FloatArray:
    """(3, 3) columns right, up and forward: rays of the picture's corners, rows as in pictures."""
    tangent = np.tan(FOV_Y / 2)
    right, up, back = camera.rotation
    return np.stack((right * tangent * camera.size[0] / camera.size[1], -up * tangent, -back), axis=1)


def first_row_within(camera: Camera, reach: float) -> int:
    """The highest row of the picture that shows floor nearer than `reach` (m); the last row if none does."""
    height = camera.size[1]
    down = ((np.arange(height) + 0.5) * 2 / height - 1) * np.tan(FOV_Y / 2)
    _, up, back = camera.rotation
    slope = up[1] * down + back[1]  # how far a row's middle ray falls on its way
    near = np.flatnonzero(slope * reach > camera.eye[1])
    return int(near[0]) if len(near) else height - 1


def screen_box(camera: Camera, points: NDArray[np.floating], reach: float) -> Box:
    """x, y, width, height of the picture's part that holds balls of a radius (m) around points (..., 3)."""
    pixels = camera.project(points)
    room = 2 + reach * camera.focal / np.maximum(pixels[:, 2:], _NEAR)
    low = np.floor((pixels[:, :2] - room).min(axis=0)).astype(int)
    high = np.ceil((pixels[:, :2] + room).max(axis=0)).astype(int)
    # Never empty: OpenGL refuses a box without pixels.
    low = np.clip(low, 0, np.subtract(camera.size, 1))
    high = np.clip(high, low + 1, camera.size)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def grown(box: Box, room: int) -> Box:
    """The box with room on all sides, as far as the picture's first pixel: filters read a clean border."""
    x, y, width, height = box
    left = max(0, x - room)
    low = max(0, y - room)
    return left, low, x + width + room - left, y + height + room - low
