"""Draws people as shaded bones, in software: numpy and Pillow, no OpenGL.

Every bone is a tapered capsule, lit and depth-tested pixel by pixel where it is; its outline covers its
share of a pixel. The camera never rolls, so a row of the picture sees the floor at one distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from models.motion import Float32Array
from models.skeleton import JOINT_NAMES, PARENTS, BodyType
from posegpt_cli.output.camera import FOV_Y, Camera, FloatArray
from posegpt_cli.output.options import Color, RenderOptions, parse_color
from posegpt_cli.output.scene import Figure, Picture, Shot

COLORS: dict[str, Color] = {
    "left": (0.20, 0.50, 0.80),
    "right": (0.93, 0.49, 0.22),
    "middle": (0.36, 0.41, 0.50),
    "joint": (0.93, 0.94, 0.96),
}
"""Of the person's left, right and trunk, and of the balls at the joints."""

_RADIUS = {
    "pelvis": 0.062, "spine1": 0.056, "spine2": 0.058, "spine3": 0.062, "neck": 0.036, "head": 0.036,
    "hip": 0.052, "knee": 0.038, "ankle": 0.026, "foot": 0.020, "collar": 0.040, "shoulder": 0.042,
    "elbow": 0.030, "wrist": 0.022, "hand": 0.020,
}  # fmt: skip
_FINGER_RADIUS = 0.008
_HEAD_RADIUS = 0.105
_NOSE_RADIUS = 0.026
_FLESH = 1.7
"""Shadows are as if the bones were so much thicker: those of a body, not of wires."""
_BALLS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
_HIDDEN = ("jaw", "left_eye", "right_eye")
_SHADE = 4
_SHADOW_DARK, _CONTACT_DARK = 0.34, 0.22
_TILE = 0.5
_PERIOD = 2 * _TILE
"""Metres after which the floor's pattern comes again."""


@dataclass(frozen=True)
class _Bone:
    """A capsule between two points of a skeleton's point list."""

    start: int
    end: int
    start_radius: float
    end_radius: float
    color: Color
    is_ball: bool = False


class SkeletonRenderer:
    """Draws shots as (H, W, 3) pictures."""

    batch = 1

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        self.size = size or options.size
        self.options = options
        self._background = parse_color(options.background)
        self._palette = (
            (np.arange(256)[:, None] * np.array(self._background) + 0.5).astype(np.uint8).tobytes()
        )
        self._floor = _Floor(self.size, options.floor)

    def draw(self, shot: Shot) -> Picture:
        """The shot's picture, (H, W, 3) sRGB."""
        shade = self._shadow(shot) if self.options.floor != "none" else None
        ground = Image.fromarray(self._floor.light(shot.camera, shade)).convert("P")
        ground.putpalette(self._palette)
        canvas = np.array(ground.convert("RGB"))
        sun = shot.camera.rotation @ shot.sun
        for layer in shot.layers:
            figures = [shot.figures[k] for k in layer]
            capsules = np.concatenate([_capsules(f, shot.camera, self._background) for f in figures])
            farthest_first = np.argsort(-capsules[:, [3, 7]].sum(axis=1))
            _draw_capsules(canvas, capsules[farthest_first], sun, shot.camera.focal)
        return canvas

    def draw_batch(self, shots: Sequence[Shot]) -> list[Picture]:
        """The pictures of several shots, one after the other."""
        return [self.draw(shot) for shot in shots]

    def close(self) -> None:
        """Nothing to free; the mesh renderer has."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shadow(self, shot: Shot) -> Image.Image:
        """How much light the floor loses, a quarter of the picture's size: bones laid on the floor, blurred.

        Low bones cast a sharper shadow; straight under the feet lies the contact shadow.
        """
        width, height = (-(-side // _SHADE) for side in self.size)
        along = shot.sun / shot.sun[1]
        distance = float(np.linalg.norm(shot.camera.eye - shot.camera.target))
        points = [_points(figure) for figure in shot.figures]
        layers = []
        for direction, reach, blur, dark in (
            (along, 0.45, 0.012, _SHADOW_DARK),
            (along, np.inf, 0.05, _SHADOW_DARK),
            (np.array([0.0, 1.0, 0.0]), 0.16, 0.03, _CONTACT_DARK),
        ):
            mask = Image.new("L", (width, height))
            for figure, body in zip(shot.figures, points, strict=True):
                _draw_laid_bones(mask, figure, body, shot.camera, direction, reach, dark)
            layers.append(_blurred(mask, max(0.7, blur * shot.camera.focal / _SHADE / distance)))
        sharp, soft, contact = layers
        return ImageChops.screen(ImageChops.lighter(sharp, soft), contact)


class _Floor:
    """Brightness of backdrop and floor in every pixel; what hangs on the camera's direction is kept."""

    def __init__(self, size: tuple[int, int], pattern: str) -> None:
        self._size = size
        self._pattern = pattern
        self._aim_kept = np.zeros(3)
        down = (np.arange(size[1]) + 0.5) * 2 / size[1] - 1
        step = np.clip((down + 0.6) / 1.6, 0, 1)
        self._backdrop = (255 * (1 - 0.055 * step * step * (3 - 2 * step)))[:, None].astype(np.float32)

    def light(self, camera: Camera, shade: Image.Image | None) -> Picture:
        """(H, W): 255 is the background's colour, less is darker."""
        width, height = self._size
        light = np.empty((height, width), np.uint8)
        if shade is None:
            light[:] = self._backdrop + np.float32(0.5)
            return light
        self._aim(camera)
        top = self._top
        light[:top] = self._backdrop[:top] + np.float32(0.5)
        floor = self._pattern_light(camera)
        floor *= self._gain
        floor += self._base
        _darken(floor, shade, top)
        light[top:] = floor
        return light

    def _pattern_light(self, camera: Camera) -> Float32Array:
        """(rows, W): the floor's own brightness, 0 to 1."""
        a, b = self._scratch
        if self._pattern == "plain":
            a[:] = 0.965
            return a
        right, flat = camera.rotation[0], _ahead(camera)
        for wave, axis in ((a, 0), (b, 2)):
            np.multiply(self._aside, np.float32(right[axis] * camera.eye[1] / _PERIOD), out=wave)
            along = self._along * flat[axis] * camera.eye[1] + camera.eye[axis]
            wave += (along / _PERIOD).astype(np.float32)
        sharpness = self._sharpness / np.float32(camera.eye[1])
        return _checker(a, b, sharpness) if self._pattern == "checker" else _grid(a, b, sharpness)

    def _aim(self, camera: Camera) -> None:
        """Where rays from one metre above the floor meet it, aside (rows, W) and along (rows, 1), metres.

        That hangs on how far the camera looks down, not on where to, and is kept; the floor's fading hangs on
        the camera's height too, which is taken in steps, so that a picture does not hang on earlier ones.
        """
        distance = float(np.linalg.norm(camera.eye - camera.target))
        _, up, back = camera.rotation
        height_step = max(round(float(camera.eye[1]), 1), 0.1)
        aim = np.array([back[1], distance, height_step])
        if np.allclose(aim, self._aim_kept, atol=1e-9):
            return
        self._aim_kept = aim
        width, height = self._size
        tangent = np.tan(FOV_Y / 2)
        down = (np.arange(height) + 0.5) * 2 / height - 1
        across = ((np.arange(width) + 0.5) * 2 / width - 1) * tangent * width / height
        slope = -up[1] * tangent * down - back[1]
        fade_end = float(1.5 * distance)
        reach = height_step / np.maximum(-slope, 1e-6)
        self._top = int(np.argmax(reach < 1.6 * fade_end)) if (reach < 1.6 * fade_end).any() else height
        rows = slice(self._top, None)
        per_metre = (1 / np.maximum(-slope[rows], 1e-6))[:, None]
        flat = _ahead(camera)
        self._aside = (across * per_metre).astype(np.float32)
        self._along = (-(up @ flat) * tangent * down[rows, None] - back @ flat) * per_metre
        self._scratch = np.empty((2, *self._aside.shape), np.float32)
        offset = (camera.target - camera.eye) @ flat / height_step
        away = np.hypot(self._aside, (self._along - offset).astype(np.float32)) * np.float32(height_step)
        fade = np.clip((fade_end - away) / (fade_end - 0.35 * distance), 0, 1)
        self._gain = (fade * fade * (3 - 2 * fade)).astype(np.float32) * self._backdrop[rows]
        self._base = self._backdrop[rows] + np.float32(0.5) - self._gain
        footprint = np.abs(np.gradient(per_metre[:, 0])) if len(per_metre) > 1 else np.ones(1)
        pixel = np.maximum(footprint, per_metre[:, 0] * 2 * tangent / height)
        self._sharpness = (1 / np.maximum(pixel, 1e-6))[:, None].astype(np.float32)


def _ahead(camera: Camera) -> FloatArray:
    """(3,) unit vector along the floor, away from the camera."""
    flat = -camera.rotation[2] * (1.0, 0.0, 1.0)
    return flat / np.linalg.norm(flat)


def _darken(floor: Float32Array, shade: Image.Image, top: int) -> None:
    """Take the shade, scaled up, from the floor's rows, which start at row `top` of the picture."""
    box = shade.getbbox()
    if box is None:
        return
    rows, width = floor.shape
    left, right = box[0] * _SHADE, min(box[2] * _SHADE, width)
    upper, lower = max(box[1] * _SHADE, top), min(box[3] * _SHADE, top + rows)
    if left >= right or upper >= lower:
        return
    source = (left / _SHADE, upper / _SHADE, right / _SHADE, lower / _SHADE)
    fine = shade.resize((right - left, lower - upper), Image.Resampling.BILINEAR, box=source)
    floor[upper - top : lower - top, left:right] *= 1 - np.asarray(fine).astype(np.float32) / np.float32(255)


def _edges(wave: Float32Array) -> Float32Array:
    """Places in periods become, in place, distances to the nearest edge of a tile, signed by tile."""
    wave -= np.rint(wave)
    np.abs(wave, out=wave)
    wave -= np.float32(0.25)
    return wave


def _checker(x: Float32Array, z: Float32Array, sharpness: Float32Array) -> Float32Array:
    """Brightness of tiles, smooth over a pixel's footprint at their edges; overwrites its arguments."""
    for wave in (x, z):
        _edges(wave)
        wave *= sharpness * np.float32(1.4 * _PERIOD)
        np.clip(wave, -1, 1, out=wave)
    x *= z
    x *= np.float32(0.026) * np.clip(sharpness * np.float32(_TILE / 2) - np.float32(0.5), 0, 1)
    x += np.float32(0.958)
    return x


def _grid(x: Float32Array, z: Float32Array, sharpness: Float32Array) -> Float32Array:
    """Brightness of a floor with a line at every tile's edge; overwrites its arguments."""
    for wave in (x, z):
        np.abs(_edges(wave), out=wave)
    np.minimum(x, z, out=x)
    x *= -_PERIOD / np.maximum(np.float32(0.005), 0.7 / sharpness)
    x += np.float32(1.5)
    np.clip(x, 0, 1, out=x)
    x *= np.float32(-0.13) * np.minimum(1, np.float32(0.006) * sharpness + np.float32(0.3))
    x += np.float32(0.97)
    return x


@cache
def _bones(body_type: BodyType) -> tuple[_Bone, ...]:
    """Capsules of a skeleton; points are the joints, then the head's middle, the nose and the hands' ends."""
    names = JOINT_NAMES[body_type]
    bones = []
    for joint, (name, parent) in enumerate(zip(names, PARENTS[body_type], strict=True)):
        if parent < 0 or name in _HIDDEN:
            continue
        is_trunk = "_" not in name or name.endswith(("collar", "shoulder", "hip"))
        color = COLORS["middle" if is_trunk else name.partition("_")[0]]
        start = _radius(name if name.endswith(("collar", "hip")) else names[parent])
        bones.append(_Bone(parent, joint, min(start, 2.2 * _radius(name)), _radius(name), color))
        if name.endswith(_BALLS):
            ball = 1.18 * _radius(name)
            bones.append(_Bone(joint, joint, ball, ball, COLORS["joint"], is_ball=True))
    head, nose = len(names), len(names) + 1
    bones.append(_Bone(head, head, _HEAD_RADIUS, _HEAD_RADIUS, COLORS["middle"]))
    bones.append(_Bone(nose, nose, _NOSE_RADIUS, _NOSE_RADIUS, COLORS["joint"], is_ball=True))
    if body_type == "smpl":
        for side, end in (("left", nose + 1), ("right", nose + 2)):
            bones.append(_Bone(names.index(f"{side}_hand"), end, 0.020, 0.012, COLORS[side]))
    return tuple(bones)


def _radius(name: str) -> float:
    """Metres."""
    return _RADIUS.get(name, _RADIUS.get(name.partition("_")[2], _FINGER_RADIUS))


def _points(figure: Figure) -> FloatArray:
    """(P, 3) metres: joints, the head's middle, the nose, the hands' ends."""
    joints = figure.joints.astype(np.float64)
    names = JOINT_NAMES[figure.performer.motion.body_type]
    neck, head = joints[names.index("neck")], joints[names.index("head")]
    up = (head - neck) / max(float(np.linalg.norm(head - neck)), 1e-6)
    middle = head + 0.085 * up
    ends = [middle, middle + _HEAD_RADIUS * figure.performer.head_forward[figure.frame]]
    if "left_hand" in names:
        for side in ("left", "right"):
            wrist, hand = joints[names.index(f"{side}_wrist")], joints[names.index(f"{side}_hand")]
            ends.append(hand + 0.8 * (hand - wrist))
    return np.concatenate((joints, ends))


def _capsules(figure: Figure, camera: Camera, background: Color) -> FloatArray:
    """(B, 11): pixel x, y, radius (pixels) and depth (m) of both ends, then red, green, blue in 0..255."""
    bones = _bones(figure.performer.motion.body_type)
    pixels = camera.project(_points(figure))
    ends = []
    for index, radius in (
        ([b.start for b in bones], [b.start_radius for b in bones]),
        ([b.end for b in bones], [b.end_radius for b in bones]),
    ):
        end = pixels[index]
        pixel_radius = np.array(radius) * camera.focal / end[:, 2]
        ends.append(np.column_stack((end[:, :2], pixel_radius, end[:, 2])))
    colors = np.array([b.color if b.is_ball or figure.color is None else figure.color for b in bones])
    colors = colors + figure.fade * (np.array(background) - colors)
    return np.column_stack((*ends, colors * 255))


def _draw_capsules(canvas: Picture, capsules: FloatArray, sun: FloatArray, focal: float) -> None:
    """Paint capsules (B, 11), the farthest first, into the canvas (H, W, 3) wherever each is nearest.

    The pixels of all capsules' rectangles are shaded at once, in one long array: numpy pays by the call.
    """
    tiles = [_tile(capsule, canvas.shape[1], canvas.shape[0]) for capsule in capsules]
    seen = [
        k
        for k, (rows, columns) in enumerate(tiles)
        if rows.stop > rows.start and columns.stop > columns.start
    ]
    tiles = [tiles[k] for k in seen]
    if not tiles:
        return
    cover, depth, light = _shade(capsules[seen], tiles, sun, focal)
    top, left = (min(tile[axis].start for tile in tiles) for axis in (0, 1))
    bottom, right = (max(tile[axis].stop for tile in tiles) for axis in (0, 1))
    region = canvas[top:bottom, left:right]
    planes = np.moveaxis(region, -1, 0).astype(np.float32)
    nearest = np.full(planes.shape[1:], np.inf, np.float32)
    colors = capsules[seen, 8:].astype(np.float32)
    start = 0
    for (rows, columns), color in zip(tiles, colors, strict=True):
        tile = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        behind, window = nearest[tile], planes[:, *tile]
        part = slice(start, start + behind.size)
        start = part.stop
        near, bright = depth[part].reshape(behind.shape), light[part].reshape(behind.shape)
        shown = cover[part].reshape(behind.shape)
        shown *= near < behind
        np.copyto(behind, near, where=shown > 0.5)
        np.minimum(bright, 255 / color.max(), out=bright)
        lit = bright * color[:, None, None]
        lit -= window
        lit *= shown
        window += lit
    region[:] = np.moveaxis(planes + np.float32(0.5), 0, -1)


def _tile(capsule: FloatArray, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that a capsule may touch; empty behind the camera and outside."""
    x0, y0, r0, z0, x1, y1, r1, z1 = capsule[:8].tolist()
    if min(z0, z1) < 0.05:
        return slice(0, 0), slice(0, 0)
    left, right = max(0, int(min(x0 - r0, x1 - r1)) - 1), min(width, int(max(x0 + r0, x1 + r1)) + 2)
    top, bottom = max(0, int(min(y0 - r0, y1 - r1)) - 1), min(height, int(max(y0 + r0, y1 + r1)) + 2)
    return slice(top, bottom), slice(left, right)


def _shade(
    capsules: FloatArray, tiles: Sequence[tuple[slice, slice]], sun: FloatArray, focal: float
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Coverage, depth (m) and brightness (N,) of all pixels of all tiles, each capsule in its own frame."""
    x0, y0, r0, z0, x1, y1, r1, z1 = capsules[:, :8].T
    length = np.maximum(np.hypot(x1 - x0, y1 - y0), 1e-6)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    ux[ux**2 + uy**2 < 0.5] = 1.0  # a ball has no direction: any will do
    along, across, sizes = _tile_coordinates(tiles, np.stack((x0, y0)), np.stack((ux, uy)))

    def spread(values: FloatArray) -> Float32Array:
        return np.repeat(values.astype(np.float32), sizes)

    t = np.clip(along * spread(1 / length), 0, 1)
    radius = spread(r0) + t * spread(r1 - r0)
    along -= t * spread(length)
    along /= radius
    across /= radius
    radial = along * along + across * across
    near = np.sqrt(np.maximum(1 - radial, 0))
    cover = np.clip((1 - np.sqrt(radial)) * radius + np.float32(0.5), 0, 1)
    depth = spread(z0) + t * spread(z1 - z0) - near * radius * spread((z0 + z1) / (2 * focal))
    toward = along * spread(ux * sun[0] - uy * sun[1]) - across * spread(uy * sun[0] + ux * sun[1])
    up = along * spread(-uy) - across * spread(ux)
    return cover, depth, _light(toward + near * np.float32(sun[2]), up)


def _tile_coordinates(
    tiles: Sequence[tuple[slice, slice]], origins: FloatArray, directions: FloatArray
) -> tuple[Float32Array, Float32Array, list[int]]:
    """Pixels of all tiles along and across directions (2, B) from origins (2, B), flat; each tile's size."""
    sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in tiles]
    along, across = np.empty((2, sum(sizes)), np.float32)
    start = 0
    for (rows, columns), size, (x0, y0), (ux, uy) in zip(tiles, sizes, origins.T, directions.T, strict=True):
        x = np.arange(columns.start, columns.stop) + (0.5 - x0)
        y = (np.arange(rows.start, rows.stop) + (0.5 - y0))[:, None]
        part, shape = slice(start, start + size), (len(y), len(x))
        np.add(x * ux, y * uy, out=along[part].reshape(shape), casting="unsafe")
        np.add(x * -uy, y * ux, out=across[part].reshape(shape), casting="unsafe")
        start += size
    return along, across, sizes


def _light(toward_sun: Float32Array, up: Float32Array) -> Float32Array:
    """Brightness by the normal's parts towards the sun and upwards: sky, sun and a little sheen."""
    direct = np.maximum(toward_sun + np.float32(0.15), 0)
    shine = direct * direct
    shine *= shine
    shine *= shine
    return np.float32(0.56) + np.float32(0.12) * up + np.float32(0.42) * direct + np.float32(0.10) * shine


def _draw_laid_bones(
    mask: Image.Image,
    figure: Figure,
    points: FloatArray,
    camera: Camera,
    direction: FloatArray,
    reach: float,
    dark: float,
) -> None:
    """Draw a figure's bones where they fall on the floor along a direction, up to a height (m)."""
    floor = points - direction * np.maximum(points[:, 1:2], 0)
    floor[:, 1] = 0
    pixels = camera.project(floor)
    places = (pixels[:, :2] / _SHADE).tolist()
    scales = (_FLESH * camera.focal / _SHADE / np.maximum(pixels[:, 2], 0.05)).tolist()
    is_seen = ((pixels[:, 2] > 0.05) & np.isfinite(pixels).all(axis=1)).tolist()
    heights = points[:, 1].tolist()
    draw = ImageDraw.Draw(mask)
    value = int(255 * dark * (1 - figure.fade))
    for bone in _bones(figure.performer.motion.body_type):
        if bone.is_ball or min(heights[bone.start], heights[bone.end]) > reach:
            continue
        if not (is_seen[bone.start] and is_seen[bone.end]):
            continue
        ends = [
            (*places[k], radius * scales[k])
            for k, radius in ((bone.start, bone.start_radius), (bone.end, bone.end_radius))
        ]
        (x0, y0, r0), (x1, y1, r1) = ends
        draw.line((x0, y0, x1, y1), fill=value, width=max(1, round(r0 + r1)))
        for x, y, r in ends:
            if r > 0.6:
                draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=value)


def _blurred(mask: Image.Image, radius: float) -> Image.Image:
    """The mask after two box blurs of a radius; only the part that holds something is computed."""
    box = mask.getbbox()
    if box is None:
        return mask
    room = int(2 * radius) + 3
    box = (
        max(0, box[0] - room), max(0, box[1] - room),
        min(mask.width, box[2] + room), min(mask.height, box[3] + room),
    )  # fmt: skip
    blur = ImageFilter.BoxBlur(radius)
    mask.paste(mask.crop(box).filter(blur).filter(blur), box[:2])
    return mask
