"""Draws people as shaded bones, in software: numpy and Pillow, no OpenGL.

Every bone is a tapered capsule, lit and depth-tested pixel by pixel where it is; its outline covers its
share of a pixel.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from posegpt_cli.rendering.camera import Camera, FloatArray
from posegpt_cli.rendering.options import Color, RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Figure, Picture, Scene
from posegpt_cli.rendering.software.capsules import CapsulePainter
from posegpt_cli.rendering.software.ground import SHADE, Ground

_FLESH = 1.7
"""Shadows are those of bones this many times as thick: of a body, not of wires."""
_SHADOW_DARK, _CONTACT_DARK = 0.34, 0.22


class SkeletonRenderer(Renderer):
    """Draws in software; several are independent of each other."""

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        super().__init__(options, size)
        self._ground = Ground(self)
        self._painter = CapsulePainter()

    def draw(self, scene: Scene) -> Picture:
        """The scene's picture, (H, W, 3) sRGB."""
        shade = self._shadow(scene) if self.options.floor != "none" else None
        canvas = self._ground.picture(scene.camera, shade)
        sun = scene.camera.rotation @ scene.sun
        for layer in scene.layers:
            figures = [scene.figures[k] for k in layer]
            capsules = np.concatenate([_capsules(f, scene.camera, self.background) for f in figures])
            farthest_first = np.argsort(-capsules[:, [3, 7]].sum(axis=1))
            self._painter.paint(canvas, capsules[farthest_first], sun, scene.camera.focal)
        return canvas

    def _shadow(self, scene: Scene) -> Image.Image:
        """How much light the floor loses, a quarter of the picture's size: bones laid on the floor, blurred.

        Low bones cast a sharper shadow; straight under the feet lies the contact shadow.
        """
        along = scene.sun / scene.sun[1]
        straight_up = np.array([0.0, 1.0, 0.0])
        distance = float(np.linalg.norm(scene.camera.eye - scene.camera.target))
        points = [figure.points for figure in scene.figures]
        layers = []
        for fall, blur in (
            (_Fall(along, 0.45, _SHADOW_DARK), 0.012),
            (_Fall(along, np.inf, _SHADOW_DARK), 0.05),
            (_Fall(straight_up, 0.16, _CONTACT_DARK), 0.03),
        ):
            mask = Image.new("L", (-(-self.size[0] // SHADE), -(-self.size[1] // SHADE)))
            for figure, body in zip(scene.figures, points, strict=True):
                fall.draw_bones(mask, figure, body, scene.camera)
            layers.append(_blurred(mask, max(0.7, blur * scene.camera.focal / SHADE / distance)))
        sharp, soft, contact = layers
        return ImageChops.screen(ImageChops.lighter(sharp, soft), contact)


@dataclass(frozen=True, eq=False)
class _Fall:
    """One kind of shadow: how bones fall onto the floor."""

    direction: FloatArray
    """(3,) from the floor towards the light, one metre up."""
    reach: float
    """Bones that lie wholly above this height (m) cast none."""
    dark: float
    """Share of the floor's light that it takes."""

    def draw_bones(self, mask: Image.Image, figure: Figure, points: FloatArray, camera: Camera) -> None:
        """Draw a figure's bones, between points (P, 3), where they fall on the floor."""
        floor = points - self.direction * np.maximum(points[:, 1:2], 0)
        floor[:, 1] = 0
        pixels = camera.project(floor)
        # Lists from here on: Pillow draws one bone after the other, and indexing arrays is slow.
        places = (pixels[:, :2] / SHADE).tolist()
        scales = (_FLESH * camera.focal / SHADE / np.maximum(pixels[:, 2], 0.05)).tolist()
        is_seen = ((pixels[:, 2] > 0.05) & np.isfinite(pixels).all(axis=1)).tolist()
        heights = points[:, 1].tolist()
        draw = ImageDraw.Draw(mask)
        value = int(255 * self.dark * (1 - figure.fade))
        joints: dict[int, float] = {}
        for bone in figure.person.bones:
            start, end = bone.start, bone.end
            is_high = min(heights[start], heights[end]) > self.reach
            if bone.is_ball or is_high or not is_seen[start] or not is_seen[end]:
                continue
            radii = (bone.start_radius * scales[start], bone.end_radius * scales[end])
            draw.line((*places[start], *places[end]), fill=value, width=max(1, round(sum(radii))))
            for joint, radius in zip((start, end), radii, strict=True):
                joints[joint] = max(radius, joints.get(joint, 0.6))
        # Lines end flat: an ellipse closes the gap where two of them meet at an angle.
        for joint, radius in joints.items():
            if radius > 0.6:
                x, y = places[joint]
                draw.ellipse((x - radius, y - radius * 0.6, x + radius, y + radius * 0.6), fill=value)


def _capsules(figure: Figure, camera: Camera, background: Color) -> FloatArray:
    """(B, 11): the figure's bones as `CapsulePainter` takes them."""
    bones = figure.person.bones
    pixels = camera.project(figure.points)
    starts = pixels[[bone.start for bone in bones]]
    ends = pixels[[bone.end for bone in bones]]
    start_radii = np.array([bone.start_radius for bone in bones]) * camera.focal / starts[:, 2]
    end_radii = np.array([bone.end_radius for bone in bones]) * camera.focal / ends[:, 2]

    # A figure's one colour paints its bones; the balls at its joints stay light.
    colors = np.array([bone.color for bone in bones])
    if figure.color is not None:
        colors[[not bone.is_ball for bone in bones]] = figure.color
    colors += figure.fade * (np.array(background) - colors)
    return np.column_stack(
        (starts[:, :2], start_radii, starts[:, 2], ends[:, :2], end_radii, ends[:, 2], colors * 255)
    )


def _blurred(mask: Image.Image, radius: float) -> Image.Image:
    """The mask after two box blurs of a radius; only the part that holds something is computed."""
    box = mask.getbbox()
    if box is None:
        return mask
    room = int(2 * radius) + 3
    left = max(0, box[0] - room)
    top = max(0, box[1] - room)
    part = mask.crop((left, top, min(mask.width, box[2] + room), min(mask.height, box[3] + room)))
    blur = ImageFilter.BoxBlur(radius)
    mask.paste(part.filter(blur).filter(blur), (left, top))
    return mask
