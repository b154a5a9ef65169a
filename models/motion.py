"""Motion: one clip of SMPL-family parameters, as every reader returns and every writer takes it. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import HAND_TWIN, JOINT_NAMES, REST_PELVIS, BodyType, n_joints, share_betas
from models.errors import PoseGPTError
from models.resample import resample

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One part of a motion that was made of several."""

    start: float
    """Seconds from the beginning of the motion."""
    labels: tuple[str, ...]
    """Action names of the part."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion in metres, Y up, floor at y = 0; a person at rest faces +Z.

    Raises PoseGPTError if shapes do not fit, a value is not finite, or there are no frames.
    """

    poses: Float32Array
    """(T, J, 3) rotation vectors (axis-angle, radians); joint 0 is the root orientation."""
    trans: Float32Array
    """(T, 3) SMPL translation; the pelvis stands at `trans + REST_PELVIS[body_type]`."""
    fps: float = 30.0
    """Frames per second."""
    body_type: BodyType = "smpl"
    """Which joints `poses` holds: smpl 24, smplh 52, smplx 55."""
    labels: tuple[str, ...] = ()
    """Action names of the clip."""
    name: str = ""
    """Where it comes from, for titles and messages."""
    licence: str = ""
    """Terms of what generated it, passed on to files; empty for people's own motion."""
    notes: tuple[str, ...] = ()
    """What its reader found out or put right, one sentence each, for commands to print."""
    betas: tuple[float, ...] = ()
    """Shape coefficients of the recorded person, in the body type's own space; empty if not known."""
    gender: str | None = None
    """Body that `betas` belong to: neutral, female or male; None if not known."""
    parts: tuple[Part, ...] = ()
    """What a timeline is made of, in order; empty for a motion of one piece."""

    def __post_init__(self) -> None:
        # A frozen dataclass can be put right only this way.
        object.__setattr__(self, "poses", np.ascontiguousarray(self.poses, dtype=np.float32))
        object.__setattr__(self, "trans", np.ascontiguousarray(self.trans, dtype=np.float32))

        expected = (len(self.trans), n_joints(self.body_type), 3)
        if self.poses.shape != expected or self.trans.shape != (expected[0], 3):
            raise PoseGPTError(
                f"a {self.body_type} motion needs poses {expected} and trans {(expected[0], 3)}, "
                f"got {self.poses.shape} and {self.trans.shape}",
                "check the body type of the file",
            )
        if expected[0] == 0:
            raise PoseGPTError(f"motion {self.name or 'without name'} has no frames", "use another file")
        if not (np.isfinite(self.poses).all() and np.isfinite(self.trans).all()):
            raise PoseGPTError(
                f"motion {self.name or 'without name'} holds NaN or infinite values", "use another file"
            )
        if not np.isfinite(self.betas).all():
            raise PoseGPTError(
                f"motion {self.name or 'without name'} has betas that are not finite", "leave them out"
            )
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise PoseGPTError(
                f"frame rate must be positive, got {self.fps}", "give the rate of the recording"
            )

    @property
    def n_frames(self) -> int:
        return len(self.trans)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_frames / self.fps

    def crop(self, start: int, stop: int) -> "Motion":
        """Frames start to stop (exclusive)."""
        trans = self.trans[start:stop]
        parts = _parts_within(self.parts, start / self.fps, (start + len(trans)) / self.fps)
        return replace(self, poses=self.poses[start:stop], trans=trans, parts=parts)

    def pieces(self, n_frames: int = 1024) -> Iterator["Motion"]:
        """The motion in parts of at most `n_frames`, for work on long ones in bounded memory."""
        for start in range(0, self.n_frames, n_frames):
            yield self.crop(start, start + n_frames)

    def to_body_type(self, body_type: BodyType) -> "Motion":
        """The same motion for another body: shared joints are copied, joints it lacks stay at rest.

        SMPL's hand joint is SMPL-H's and SMPL-X's first middle-finger joint.
        """
        if body_type == self.body_type:
            return self
        poses = np.zeros((self.n_frames, n_joints(body_type), 3), np.float32)
        source = JOINT_NAMES[self.body_type]
        for j, name in enumerate(JOINT_NAMES[body_type]):
            if name not in source:
                name = HAND_TWIN.get(name, name)
            if name in source:
                poses[:, j] = self.poses[:, source.index(name)]

        # The pelvis stays where it is, although it stands elsewhere in the other body's rest pose.
        offset = np.subtract(REST_PELVIS[self.body_type], REST_PELVIS[body_type])
        trans = self.trans + offset.astype(np.float32)

        betas = self.betas if share_betas(self.body_type, body_type) else ()
        return replace(self, poses=poses, trans=trans, body_type=body_type, betas=betas)

    def resample(self, fps: float) -> "Motion":
        """The same motion at another frame rate: slerp for rotations, linear for the translation.

        Frame k of the result lies at k / fps seconds; the last source frame bounds the length.
        """
        if abs(fps - self.fps) < 1e-6 or self.n_frames == 1:
            return replace(self, fps=float(fps))
        poses, trans = resample(self.poses, self.trans, self.fps, fps)
        return replace(self, poses=poses, trans=trans, fps=float(fps))


def _parts_within(parts: Sequence[Part], begin: float, end: float) -> tuple[Part, ...]:
    """The parts between two moments (seconds), counted from the first of them."""
    kept: list[Part] = []
    for part in parts:
        if part.start >= end - 1e-6:
            break
        # Of the parts that had begun before, the last one goes on.
        if part.start <= begin + 1e-6:
            kept.clear()
        kept.append(Part(max(0.0, part.start - begin), part.labels))
    return tuple(kept)
