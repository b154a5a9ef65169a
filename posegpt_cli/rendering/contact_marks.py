"""Marks of planted feet in a picture, for people who judge motion: discs that lie on the floor."""

import numpy as np
from PIL import Image, ImageDraw

from posegpt_cli.rendering.scene import Picture, Scene

_COLOR = (222, 60, 75)
_OPACITY = 0.75
_RADIUS = 0.045
"""Metres."""
_CORNERS = 24


def mark_contacts(picture: Picture, scene: Scene) -> Picture:
    """The picture with a disc under each heel and ball of a foot that rests on the floor."""
    around = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    circle = _RADIUS * np.stack((np.cos(around), np.zeros(_CORNERS), np.sin(around)), axis=1)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    for figure in scene.figures:
        opacity = round(255 * _OPACITY * (1 - figure.fade))
        for point in figure.person.planted_points[figure.frame]:
            # On the floor itself, wherever the foot is: what floats or sinks is seen beside its mark.
            corners = scene.camera.project(circle + point * (1.0, 0.0, 1.0))
            if (corners[:, 2] > 0.1).all():
                draw.polygon([*map(tuple, corners[:, :2].tolist())], fill=(*_COLOR, opacity))
    return np.asarray(image)
