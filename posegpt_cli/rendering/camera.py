"""Cameras: where they stand in each frame so that nobody is cut off. Numpy only.

Pixel coordinates run right and down from the upper left corner.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.motion import Float32Array
from posegpt_cli.rendering.options import CameraName

FloatArray = NDArray[np.float64]

FOV_Y = np.radians(30.0)
"""Vertical field of view: a long lens, so that limbs near the camera do not swell."""
ELEVATION = {"follow": 11.0, "front": 8.0, "side": 6.0, "orbit": 12.0, "fixed": 16.0}
"""Degrees above the horizontal."""
AZIMUTH = {"follow": -35.0, "front": 0.0, "side": -90.0, "orbit": -35.0, "fixed": -35.0}
"""Degrees from the facing direction to the person's left; from the right, so that walks go left to right."""
ORBIT_SPEED = 36.0
"""Degrees a second."""
PERSON_SHARE = 0.7
"""Share of the picture's height that a standing person takes."""
_MARGIN = 0.05
_FOLLOW_SECONDS = 0.45
_RISE_SECONDS = 1.2
_FITTED_AT_ONCE = 1024
"""Frames."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that looks from `eye` at `target`, upright."""

    eye: FloatArray
    """(3,) metres."""
    target: FloatArray
    """(3,) metres, the middle of the picture."""
    size: tuple[int, int]
    """Width and height in pixels."""

    @cached_property
    def rotation(self) -> FloatArray:
        """(3, 3): the camera's right, up and backward directions as rows."""
        return look_rotation(self.eye - self.target)

    @property
    def pose(self) -> FloatArray:
        """(4, 4) camera to world, OpenGL's convention (looks along -Z)."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation.T
        pose[:3, 3] = self.eye
        return pose

    @property
    def focal(self) -> float:
        """Pixels that a metre covers at a distance of one metre."""
        return self.size[1] / 2 / float(np.tan(FOV_Y / 2))

    def project(self, points: NDArray[np.floating]) -> FloatArray:
        """Points (..., 3) in metres to (..., 3): pixel x, pixel y, distance along the view (m)."""
        local = (points - self.eye) @ self.rotation.T
        depth = -local[..., 2]
        # Points behind the camera would flip over.
        scale = self.focal / np.maximum(depth, 1e-6)
        width, height = self.size
        x = width / 2 + local[..., 0] * scale
        y = height / 2 - local[..., 1] * scale
        return np.stack((x, y, depth), axis=-1)


@dataclass(frozen=True, eq=False)
class CameraPath:
    """A camera for each frame."""

    eyes: FloatArray
    """(T, 3) metres."""
    targets: FloatArray
    """(T, 3) metres."""

    def camera(self, frame: int, size: tuple[int, int]) -> Camera:
        """The camera of one frame, for a picture of this size."""
        return Camera(self.eyes[frame], self.targets[frame], size)


def look_rotation(backward: NDArray[np.floating]) -> FloatArray:
    """(..., 3) backward directions to (..., 3, 3) rows right, up, backward of an upright camera."""
    back = backward / np.linalg.norm(backward, axis=-1, keepdims=True)
    # The cross products of the vertical and `back`, and of `back` and `right`: np.cross takes several times
    # as long, and every picture asks for some.
    flat = np.hypot(back[..., 0], back[..., 2])
    x = back[..., 2] / flat
    z = -back[..., 0] / flat
    level = np.zeros_like(x)
    right = np.stack((x, level, z), axis=-1)
    up = np.stack((back[..., 1] * z, flat, -back[..., 1] * x), axis=-1)
    return np.stack((right, up, back), axis=-2)


@dataclass(frozen=True)
class Framing:
    """How cameras frame people."""

    name: CameraName
    azimuth: float
    """Where the first camera stands, radians from +Z to +X."""
    person_height: float
    """Height of a standing person, metres."""
    fps: float
    aspect: float
    """Width over height of the picture."""
    is_still: bool = False
    """The camera stays where it is, as `fixed` does, with the whole path in view."""


def plan_cameras(centers: Float32Array, radii: FloatArray, framing: Framing) -> CameraPath:
    """Cameras that keep all spheres in the picture in every frame, at one distance.

    Args:
        centers: (T, K, 3) middles of spheres that together enclose everybody, metres.
        radii: (K,) their radii.
        framing: which camera, and what it keeps in view.
    """
    backward = _backward(framing, len(centers))
    # As near as a standing person fills its share of the picture, and as far as nobody is cut off.
    distance = framing.person_height / PERSON_SHARE / 2 / float(np.tan(FOV_Y / 2))
    if framing.is_still or framing.name == "fixed":
        return _still_path(centers, radii, framing, backward, distance)

    targets = _targets(centers, radii, framing)
    for part in _parts(len(centers)):
        seen = centers[part] - targets[part, None]
        local = np.einsum("tij,tkj->tki", look_rotation(backward[part]), seen)
        distance = max(distance, _fit_distance(local, radii, framing.aspect))
    return CameraPath(targets + backward * distance, targets)


def _backward(framing: Framing, n_frames: int) -> FloatArray:
    """(T, 3) unit vectors from the targets to the cameras."""
    azimuth = np.full(n_frames, framing.azimuth)
    if framing.name == "orbit":
        azimuth += np.radians(ORBIT_SPEED / framing.fps) * np.arange(n_frames)
    elevation = np.radians(ELEVATION[framing.name])
    x = np.sin(azimuth) * np.cos(elevation)
    y = np.full(n_frames, np.sin(elevation))
    z = np.cos(azimuth) * np.cos(elevation)
    return np.stack((x, y, z), axis=-1)


def _still_path(
    centers: Float32Array, radii: FloatArray, framing: Framing, backward: FloatArray, least: float
) -> CameraPath:
    """One camera for all frames, as near as all spheres of all of them allow, and `least` metres away.

    Seen along its direction, a sphere lies inside an edge plane of half angle a where x cos a + z sin a + r
    is at most what that sum is at the eye. The spheres that reach farthest out to both sides thus say where
    the eye is: in the middle between them, at the distance at which both touch the edges.
    """
    rotation = look_rotation(backward[0])
    middle = centers[0].mean(axis=0, dtype=np.float64)
    place = np.zeros(3)
    tan_y = np.tan(FOV_Y / 2)
    for axis, tangent in ((0, tan_y * framing.aspect), (1, tan_y)):
        angle = np.arctan(tangent * (1 - _MARGIN))
        # The farthest to the right or up, and to the left or down.
        reach = np.full(2, -np.inf)
        for part in _parts(len(centers)):
            local = (centers[part] - middle) @ rotation.T
            inward = local[..., 2] * np.sin(angle) + radii
            across = local[..., axis] * np.cos(angle)
            reach = np.maximum(reach, [(inward + across).max(), (inward - across).max()])
        place[axis] = (reach[0] - reach[1]) / 2 / np.cos(angle)
        place[2] = max(place[2], reach.sum() / 2 / np.sin(angle))

    # The target is at the depth of the people, so that the floor fades around them.
    target = middle + rotation[:2].T @ place[:2]
    distance = max(least, place[2])
    targets = np.broadcast_to(target, (len(centers), 3)).copy()
    return CameraPath(targets + backward * distance, targets)


def _parts(n_frames: int) -> Iterator[slice]:
    """Frames that are computed together: an hour of motion must not fill the memory."""
    for start in range(0, n_frames, _FITTED_AT_ONCE):
        yield slice(start, start + _FITTED_AT_ONCE)


def _targets(centers: Float32Array, radii: FloatArray, framing: Framing) -> FloatArray:
    """(T, 3) points to look at: the middle of everybody, smoothed over time."""
    low = np.empty((len(centers), 3))
    high = np.empty((len(centers), 3))
    for part in _parts(len(centers)):
        low[part] = (centers[part] - radii[:, None]).min(axis=1)
        high[part] = (centers[part] + radii[:, None]).max(axis=1)
    low[:, 1] = np.minimum(low[:, 1], 0.0)  # the floor stays in view under a jump
    middle = (low + high) / 2
    # The camera follows steps at once, and jumps reluctantly: it would bob.
    for axis, seconds in ((0, _FOLLOW_SECONDS), (1, _RISE_SECONDS), (2, _FOLLOW_SECONDS)):
        middle[:, axis] = _smooth(middle[:, axis], seconds * framing.fps)
    return middle


def _smooth(track: FloatArray, sigma: float) -> FloatArray:
    """Gaussian smoothing of a track (T,) that goes on at its ends as it came: the camera does not brake."""
    from scipy.ndimage import gaussian_filter1d

    # Mirrored about its ends in time and value, a straight track stays straight up to its last frame.
    room = min(len(track) - 1, int(4 * sigma) + 1)
    if room < 1:
        return track
    longer = np.pad(track, room, mode="reflect", reflect_type="odd")
    return gaussian_filter1d(longer, sigma, mode="nearest")[room:-room]


def _fit_distance(local: FloatArray, radii: FloatArray, aspect: float) -> float:
    """The least distance at which no sphere crosses the picture's edges.

    A sphere at (x, y, z) seen from (0, 0, d) lies inside the edge plane of half angle a where
    (d - z) sin a - |y| cos a >= r.
    """
    tan_y = np.tan(FOV_Y / 2)
    distance = 0.0
    for axis, tangent in ((0, tan_y * aspect), (1, tan_y)):
        angle = np.arctan(tangent * (1 - _MARGIN))
        needed = local[..., 2] + (np.abs(local[..., axis]) * np.cos(angle) + radii) / np.sin(angle)
        distance = max(distance, float(needed.max()))
    return distance
