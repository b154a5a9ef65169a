"""What stands before the camera: performers, their figures in a shot, and the film of all shots. No GL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import JOINT_NAMES, PARENTS, joint_index
from models.errors import PoseGPTError
from models.motion import Float32Array, Motion
from posegpt_cli.rendering.camera import AZIMUTH, Camera, CameraPath, FloatArray, plan_cameras
from posegpt_cli.rendering.options import CameraName, Color, RenderOptions, parse_color

if TYPE_CHECKING:
    from torch import Tensor

    from models.body.body import Body

_Number = TypeVar("_Number", bound=np.generic)
Picture = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

PAST_COLOR: Color = (0.62, 0.65, 0.70)
FUTURE_COLOR: Color = (0.16, 0.47, 0.78)
POSED_AT_ONCE = 32
"""Frames whose vertices are computed together."""
_JOINTS_AT_ONCE = 1024
_SUN_ELEVATION = np.radians(52.0)
_SUN_AZIMUTH = np.radians(55.0)
_ROW_GAP = 0.4
_HEAD_TOP = 0.26
_ONE_PLACE = 0.5
"""Metres; poses of a trail whose distances from the camera differ by less stand in one place."""

_REACH = {"head": 0.27, "left_wrist": 0.24, "right_wrist": 0.24, "pelvis": 0.2, "spine1": 0.2, "spine2": 0.2,
          "spine3": 0.22, "jaw": 0.2, "left_eye": 0.2, "right_eye": 0.2, "left_hip": 0.18, "right_hip": 0.18,
          "left_foot": 0.13, "right_foot": 0.13, "left_ankle": 0.13, "right_ankle": 0.13}  # fmt: skip
_OTHER_REACH = 0.12
"""Around each joint a sphere of this radius (m); together they enclose the body, hair and fingertips too."""


class Performer:
    """One motion on its body: joints of all frames, vertices a few frames at a time (bounded memory)."""

    def __init__(
        self, motion: Motion, body: "Body", offset: Sequence[float] | NDArray[np.floating] = (0.0, 0.0, 0.0)
    ) -> None:
        self.motion = motion
        self.body = body
        self.offset = np.asarray(offset, np.float32)
        """(3,) metres, added to every point."""
        self._chunk_start = -1
        self._chunk = np.empty((0, 0, 3), np.float32)

    @cached_property
    def joints(self) -> Float32Array:
        """(T, J, 3) metres."""
        import torch

        joints = np.empty(self.motion.poses.shape, np.float32)
        with torch.inference_mode():
            for start in range(0, len(joints), _JOINTS_AT_ONCE):
                part = slice(start, start + _JOINTS_AT_ONCE)
                joints[part] = self.body.joints(*self._tensors(part)).numpy() + self.offset
        return joints

    @cached_property
    def poses(self) -> "Tensor":
        """(T, J, 3); fingers that were not recorded hang relaxed."""
        import torch

        return self.body.relax_hands(torch.from_numpy(np.require(self.motion.poses, requirements="W")))

    def _tensors(self, part: slice) -> "tuple[Tensor, Tensor]":
        import torch

        return self.poses[part], torch.tensor(self.motion.trans[part])

    @cached_property
    def head_forward(self) -> Float32Array:
        """(T, 3) unit vectors along which the face looks."""
        from scipy.spatial.transform import Rotation

        body_type = self.motion.body_type
        chain = [joint_index("head", body_type)]
        while PARENTS[body_type][chain[0]] >= 0:
            chain.insert(0, PARENTS[body_type][chain[0]])
        turn = Rotation.identity(self.motion.n_frames)
        for joint in chain:
            turn = turn * Rotation.from_rotvec(self.motion.poses[:, joint])
        return turn.apply([0.0, 0.0, 1.0]).astype(np.float32)

    @cached_property
    def reach(self) -> FloatArray:
        """(J,) radii in metres of the spheres around the joints that enclose the body."""
        return np.array([_REACH.get(name, _OTHER_REACH) for name in JOINT_NAMES[self.motion.body_type]])

    def vertices(self, frame: int) -> Float32Array:
        """(V, 3) metres of one frame; neighbours are computed along with it."""
        start = frame // POSED_AT_ONCE * POSED_AT_ONCE
        if start != self._chunk_start:
            import torch

            with torch.inference_mode():
                vertices = self.body.vertices(*self._tensors(slice(start, start + POSED_AT_ONCE)))
            self._chunk = vertices.numpy() + self.offset
            self._chunk_start = start
        return self._chunk[frame - start]

    def moved(self, offset: NDArray[np.floating]) -> "Performer":
        """The same performer elsewhere."""
        return Performer(self.motion, self.body, self.offset + np.asarray(offset, np.float32))


@dataclass(frozen=True, eq=False)
class Figure:
    """One person in one pose."""

    performer: Performer
    frame: int
    color: Color | None = None
    """One colour for the whole body (sRGB, 0..1); None: its own colours."""
    fade: float = 0.0
    """How far it fades into the background, 0 to 1."""
    layer: int = 0
    """It covers figures of lower layers: poses in one place would cut through each other."""

    @property
    def joints(self) -> Float32Array:
        return self.performer.joints[self.frame]

    @property
    def vertices(self) -> Float32Array:
        return self.performer.vertices(self.frame)


@dataclass(frozen=True, eq=False)
class Shot:
    """All that a renderer needs for one picture."""

    figures: tuple[Figure, ...]
    camera: Camera
    sun: FloatArray
    """(3,) unit vector towards the sun."""

    @property
    def layers(self) -> list[list[int]]:
        """The figures' numbers, layer by layer, the lowest first."""
        return [
            [k for k, figure in enumerate(self.figures) if figure.layer == layer]
            for layer in sorted({figure.layer for figure in self.figures})
        ]


class Film:
    """Motions on one floor before one camera, shot by shot; a motion that ends early holds its last pose.

    Args:
        performers: who plays; their motions have the film's frame rate.
        options: camera, colours and size.
        size: width and height of the picture, where it differs from the options'.
        is_still: the camera stays where it is, with the whole path in view.
    """

    def __init__(
        self,
        performers: Sequence[Performer],
        options: RenderOptions,
        size: tuple[int, int] | None = None,
        is_still: bool = False,
    ) -> None:
        self._is_still = is_still
        self.performers = stand_in_a_row(performers)
        self.options = options
        self.size = size or options.size
        self._color = parse_color(options.color) if options.color else None

    def __len__(self) -> int:
        return max(p.motion.n_frames for p in self.performers)

    @cached_property
    def path(self) -> CameraPath:
        centers = [_held(p.joints, len(self)) for p in self.performers]
        return plan_cameras(
            np.concatenate(centers, axis=1) if len(centers) > 1 else centers[0],
            np.concatenate([p.reach for p in self.performers]),
            azimuth=self.azimuth,
            person_height=max(standing_height(p) for p in self.performers),
            name=self.options.camera,
            fps=self.options.fps,
            aspect=self.size[0] / self.size[1],
            is_still=self._is_still,
        )

    @cached_property
    def azimuth(self) -> float:
        """Where the first camera stands, radians from +Z to +X about the vertical."""
        facing = facing_azimuth(self.performers[0].joints)
        return facing + float(np.radians(AZIMUTH[self.options.camera]))

    @cached_property
    def sun(self) -> FloatArray:
        """(3,) unit vector towards the sun: beside the first camera, so that shadows fall back and aside."""
        azimuth = self.azimuth + _SUN_AZIMUTH
        flat = np.cos(_SUN_ELEVATION)
        return np.array([np.sin(azimuth) * flat, np.sin(_SUN_ELEVATION), np.cos(azimuth) * flat])

    def shot(self, frame: int) -> Shot:
        """The picture at one frame."""
        figures = tuple(
            Figure(p, min(frame, p.motion.n_frames - 1), self._figure_color(frame)) for p in self.performers
        )
        return Shot(figures, self.path.camera(frame, self.size), self.sun)

    def trail(self, n_poses: int) -> Shot:
        """One picture with so many poses of every motion, the first ones faded, all of them in view.

        Who stands farther away is covered by who stands nearer; in one place earlier poses by later ones.
        """
        name: CameraName = self.options.camera if self.options.camera in ("front", "side") else "fixed"
        fixed = Film(self.performers, replace(self.options, camera=name), self.size, is_still=True)
        frames = np.linspace(0, len(self) - 1, n_poses).round().astype(int)
        fades = np.linspace(0.72, 0.0, n_poses) if n_poses > 1 else np.zeros(1)
        figures = [
            Figure(p, min(int(k), p.motion.n_frames - 1), self._figure_color(int(k)), float(fade))
            for k, fade in zip(frames, fades, strict=True)
            for p in self.performers
        ]
        camera = fixed.path.camera(0, self.size)
        places = [round(float(camera.project(f.joints[0])[2]) / _ONE_PLACE) for f in figures]
        figures = [figures[k] for k in sorted(range(len(figures)), key=lambda k: -places[k])]
        layered = tuple(replace(figure, layer=layer) for layer, figure in enumerate(figures))
        return Shot(layered, camera, fixed.sun)

    def _figure_color(self, frame: int) -> Color | None:
        if self.options.past_frames:
            return PAST_COLOR if frame < self.options.past_frames else self._color or FUTURE_COLOR
        return self._color


def _held(track: NDArray[_Number], n_frames: int) -> NDArray[_Number]:
    """A track (T, ...) that keeps its last value, so many frames long; the track itself where it is."""
    if not (missing := n_frames - len(track)):
        return track
    return np.concatenate([track, np.broadcast_to(track[-1], (missing, *track.shape[1:]))])


def facing_azimuth(joints: Float32Array) -> float:
    """Mean direction (radians from +Z to +X) that joints (T, J, 3) face, from hips and shoulders."""
    left = sum(
        joints[:, joint_index(f"left_{part}")] - joints[:, joint_index(f"right_{part}")]
        for part in ("hip", "shoulder")
    )
    left = np.asarray(left).mean(axis=0)
    # facing = left x up
    return float(np.arctan2(-left[2], left[0])) if np.hypot(left[0], left[2]) > 1e-6 else 0.0


def standing_height(performer: Performer) -> float:
    """Height of the performer's body at rest, metres, hair included."""
    rest = performer.body.rest_joints.numpy()
    return float(rest[joint_index("head"), 1] - rest[joint_index("left_foot"), 1] + _HEAD_TOP)


def stand_in_a_row(performers: Sequence[Performer]) -> tuple[Performer, ...]:
    """Performers side by side, to the left of the first one's facing, starting level, never touching."""
    if len(performers) == 1:
        return tuple(performers)
    azimuth = facing_azimuth(performers[0].joints)
    left = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    forward = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    n_frames = max(p.motion.n_frames for p in performers)
    edge = np.zeros(n_frames)
    placed = []
    for performer in performers:
        along = _held(performer.joints @ left, n_frames)
        shift = (edge - (along - performer.reach).min(axis=1)).max()
        level = (performers[0].joints[0, 0] - performer.joints[0, 0]) @ forward
        placed.append(performer.moved(left * shift + forward * level))
        edge = (along + performer.reach).max(axis=1) + shift + _ROW_GAP
    return tuple(placed)


def make_performers(motions: Sequence[Motion], options: RenderOptions) -> list[Performer]:
    """Motions at the video's frame rate, each on the body that it is for or that the options name.

    Raises PoseGPTError where the body cannot be loaded or there is no motion.
    """
    from models.body.body import load_body

    if not motions:
        raise PoseGPTError("there is no motion to draw", "give at least one motion")
    if options.body_type is not None:
        motions = [motion.to_body_type(options.body_type) for motion in motions]
    return [
        Performer(motion.resample(options.fps), load_body(motion.body_type, options.body_model))
        for motion in motions
    ]
