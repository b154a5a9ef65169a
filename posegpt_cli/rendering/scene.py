"""What stands before the camera: figures, the scene of one picture, the animation of them all. No GL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.motion import Float32Array
from posegpt_cli.rendering.camera import AZIMUTH, Camera, CameraPath, FloatArray, Framing, plan_cameras
from posegpt_cli.rendering.options import CameraName, Color, RenderOptions, parse_color
from posegpt_cli.rendering.person import Person, held, stand_in_a_row

Picture = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

PAST_COLOR: Color = (0.62, 0.65, 0.70)
FUTURE_COLOR: Color = (0.16, 0.47, 0.78)
_SUN_ELEVATION = np.radians(52.0)
_SUN_AZIMUTH = np.radians(55.0)
_ONE_PLACE = 0.5
"""Metres; poses of a trail whose distances from the camera differ by less stand in one place."""
_ENDED_FADE = 0.6
"""How far a figure fades that holds its last pose while others still move."""
_FIRST_FADE = 0.72
"""How far the first pose of a trail fades."""


@dataclass(frozen=True, eq=False)
class Figure:
    """One person in one pose."""

    person: Person
    frame: int
    color: Color | None = None
    """One colour for the whole body (sRGB, 0..1); None: its own colours."""
    fade: float = 0.0
    """How far it fades into the background, 0 to 1."""
    layer: int = 0
    """It covers figures of lower layers: poses in one place would cut through each other."""

    @property
    def joints(self) -> Float32Array:
        """(J, 3) metres."""
        return self.person.joints[self.frame]

    @property
    def vertices(self) -> Float32Array:
        """(V, 3) metres."""
        return self.person.vertices(self.frame)

    @property
    def normals(self) -> Float32Array | None:
        """(V, 3) unit normals, if the person's mesh has its own."""
        return self.person.normals(self.frame)

    @property
    def points(self) -> FloatArray:
        """(P, 3) metres: what the person's bones lie between."""
        return self.person.points(self.frame)


@dataclass(frozen=True, eq=False)
class Scene:
    """All that a renderer needs for one picture."""

    figures: tuple[Figure, ...]
    camera: Camera
    sun: FloatArray
    """(3,) unit vector towards the sun."""

    @property
    def layers(self) -> list[list[int]]:
        """The figures' numbers, layer by layer, the lowest first."""
        layers: dict[int, list[int]] = {}
        for k, figure in enumerate(self.figures):
            layers.setdefault(figure.layer, []).append(k)
        return [layers[layer] for layer in sorted(layers)]


class Animation:
    """Motions on one floor before one camera; a motion that ends early holds its last pose, faded.

    Args:
        people: who is shown; their motions have the animation's frame rate.
        options: camera, colours and size.
        size: width and height of the picture, if it differs from the options'.
        is_still: the camera stays where it is, with the whole path in view.
    """

    def __init__(
        self,
        people: Sequence[Person],
        options: RenderOptions,
        size: tuple[int, int] | None = None,
        is_still: bool = False,
    ) -> None:
        self._is_still = is_still
        self.people = stand_in_a_row(people)
        self.options = options
        self.size = size or options.size
        self._color = parse_color(options.color) if options.color else None

    def __len__(self) -> int:
        return max(person.motion.n_frames for person in self.people)

    @cached_property
    def path(self) -> CameraPath:
        """Where the camera is in each frame."""
        centers = [held(person.joints, len(self)) for person in self.people]
        radii = [person.reach for person in self.people]
        framing = Framing(
            name=self.options.camera,
            azimuth=self.azimuth,
            person_height=max(person.standing_height for person in self.people),
            fps=self.options.fps,
            aspect=self.size[0] / self.size[1],
            is_still=self._is_still,
        )
        # Joints of one person are taken as they are: a copy of an hour's would be large.
        together = np.concatenate(centers, axis=1) if len(centers) > 1 else centers[0]
        return plan_cameras(together, np.concatenate(radii), framing)

    @cached_property
    def azimuth(self) -> float:
        """Where the first camera stands, radians from +Z to +X about the vertical."""
        facing = self.people[0].facing
        return facing + float(np.radians(AZIMUTH[self.options.camera]))

    @cached_property
    def sun(self) -> FloatArray:
        """(3,) unit vector towards the sun: beside the first camera, so that shadows fall back and aside."""
        azimuth = self.azimuth + _SUN_AZIMUTH
        flat = np.cos(_SUN_ELEVATION)
        return np.array([np.sin(azimuth) * flat, np.sin(_SUN_ELEVATION), np.cos(azimuth) * flat])

    def scene(self, frame: int) -> Scene:
        """What is seen at one frame."""
        color = self._figure_color(frame)
        figures = []
        for person in self.people:
            last = _last_held(person, frame)
            figures.append(Figure(person, last, color, fade=_ENDED_FADE if last < frame else 0.0))
        return Scene(tuple(figures), self.path.camera(frame, self.size), self.sun)

    def trail(self, n_poses: int) -> Scene:
        """One scene with `n_poses` poses of every motion, the first ones faded, all of them in view.

        Who stands farther away is covered by who stands nearer; in one place earlier poses by later ones.
        """
        name: CameraName = self.options.camera if self.options.camera in ("front", "side") else "fixed"
        fixed = Animation(self.people, self.options.replaced(camera=name), self.size, is_still=True)
        camera = fixed.path.camera(0, self.size)

        frames = np.linspace(0, len(self) - 1, n_poses).round().astype(int).tolist()
        fades = np.linspace(_FIRST_FADE, 0.0, n_poses).tolist() if n_poses > 1 else [0.0]
        figures = []
        for frame, fade in zip(frames, fades, strict=True):
            color = self._figure_color(frame)
            figures += [Figure(person, _last_held(person, frame), color, fade) for person in self.people]

        # Far figures first; sorting keeps the order of time among those in one place.
        depths = camera.project(np.array([figure.joints[0] for figure in figures]))[:, 2]
        order = np.argsort(-np.round(depths / _ONE_PLACE), kind="stable").tolist()
        layered = [replace(figures[k], layer=layer) for layer, k in enumerate(order)]
        return Scene(tuple(layered), camera, fixed.sun)

    def _figure_color(self, frame: int) -> Color | None:
        if not self.options.past_frames:
            return self._color
        if frame < self.options.past_frames:
            return PAST_COLOR
        # After the past a character of the user's has its own colours.
        if self.options.rig is not None:
            return self._color
        return self._color or FUTURE_COLOR


def _last_held(person: Person, frame: int) -> int:
    """The frame itself, or the person's last one if its motion has ended by then."""
    return min(frame, person.motion.n_frames - 1)
