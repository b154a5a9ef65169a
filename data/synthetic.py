"""Procedural labelled motions that need no recordings, for tests and `--dummy-data`. No torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import JOINT, REST_JOINTS, SOLE
from data.store import SPLITS, StoreHeader
from data.store_writer import StoreWriter
from models.body.skeleton import JOINT_NAMES, REST_PELVIS
from models.motion import Motion

FloatArray = NDArray[np.float64]

_STANDING = REST_JOINTS[0, 1] - SOLE
"""Height of a standing pelvis."""
_THIGH = float(np.linalg.norm(REST_JOINTS[4] - REST_JOINTS[1]))
_SHIN = float(np.linalg.norm(REST_JOINTS[7] - REST_JOINTS[4]))


class _Canvas:
    """A motion in the making: a standing person, arms hanging, to be moved joint by joint."""

    def __init__(self, n_frames: int, fps: float) -> None:
        self.seconds = np.arange(n_frames) / fps
        self.poses = np.zeros((n_frames, len(JOINT_NAMES["smpl"]), 3))
        self.pelvis = np.zeros((n_frames, 3))
        self.pelvis[:, 1] = _STANDING
        # The rest pose is a T-pose.
        self.poses[:, JOINT["left_shoulder"], 2] = -1.2
        self.poses[:, JOINT["right_shoulder"], 2] = 1.2

    def turn(self, joint: str, axis: str, angle: FloatArray | float) -> None:
        """Set one component of a joint's rotation vector, radians."""
        self.poses[:, JOINT[joint], "xyz".index(axis)] = angle

    def bend_legs(self, side: str, hip: FloatArray, knee: FloatArray) -> None:
        """Swing a leg: hip forward, knee bent, sole parallel to the floor."""
        self.turn(f"{side}_hip", "x", -hip)
        self.turn(f"{side}_knee", "x", knee)
        self.turn(f"{side}_ankle", "x", hip - knee)

    def crouch(self, depth: FloatArray) -> None:
        """Bend both knees by `depth` radians and lower the pelvis so that the feet stay."""
        for side in ("left", "right"):
            self.bend_legs(side, depth / 2, depth)
        self.pelvis[:, 1] = _STANDING - (_THIGH + _SHIN) * (1 - np.cos(depth / 2))


def _walk(canvas: _Canvas, rng: np.random.Generator) -> None:
    _gait(canvas, rng, pace=rng.uniform(0.8, 1.1), stride=0.4, lift=0.7)


def _run(canvas: _Canvas, rng: np.random.Generator) -> None:
    _gait(canvas, rng, pace=rng.uniform(1.3, 1.6), stride=0.6, lift=1.4)
    for side, bend in (("left", -1.2), ("right", 1.2)):
        canvas.turn(f"{side}_elbow", "y", bend)


def _gait(canvas: _Canvas, rng: np.random.Generator, pace: float, stride: float, lift: float) -> None:
    """Legs in turn, `pace` cycles a second, hips swinging by `stride`; the longer leg stands and carries."""
    phase = 2 * np.pi * (pace * canvas.seconds + rng.uniform())
    reach = []
    ahead = []
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.maximum(0.0, np.cos(phase + shift))
        hip = stride * np.sin(phase + shift) + 0.3 * lift * swing
        knee = 0.02 + lift * swing
        canvas.bend_legs(side, hip, knee)
        canvas.turn(f"{side}_shoulder", "x", stride * np.sin(phase + shift))
        reach.append(_THIGH * np.cos(hip) + _SHIN * np.cos(hip - knee))
        ahead.append(_THIGH * np.sin(hip) + _SHIN * np.sin(hip - knee))

    # The pelvis is as high as the longer leg, and moves forward as that leg moves back under it.
    stands = np.argmax(reach, axis=0)
    canvas.pelvis[:, 1] += np.max(reach, axis=0) - (_THIGH + _SHIN)
    steps = -np.diff(ahead, axis=1)[stands[1:], np.arange(len(phase) - 1)]
    canvas.pelvis[1:, 2] = np.cumsum(steps)


def _wave(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.turn("right_shoulder", "z", -1.0)
    canvas.turn("right_elbow", "z", -0.9 + 0.5 * np.sin(2 * np.pi * rng.uniform(1.2, 2.0) * canvas.seconds))


def _bow(canvas: _Canvas, rng: np.random.Generator) -> None:
    depth = _up_and_down(canvas, rng)
    for joint, share in (("spine1", 0.5), ("spine2", 0.3), ("spine3", 0.2), ("neck", 0.2)):
        canvas.turn(joint, "x", share * depth)


def _squat(canvas: _Canvas, rng: np.random.Generator) -> None:
    depth = _up_and_down(canvas, rng)
    canvas.crouch(1.6 * depth)
    canvas.turn("left_shoulder", "y", -1.2 * depth)
    canvas.turn("right_shoulder", "y", 1.2 * depth)


def _turn(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Steps on the spot while turning about the vertical."""
    way = rng.choice([-1.0, 1.0])
    phase = 2 * np.pi * canvas.seconds
    canvas.turn("pelvis", "y", way * rng.uniform(0.8, 1.4) * canvas.seconds)
    for side, shift in (("left", 0.0), ("right", np.pi)):
        lift = 0.5 * np.maximum(0.0, np.sin(phase + shift))
        canvas.bend_legs(side, lift / 2, lift)


def _up_and_down(canvas: _Canvas, rng: np.random.Generator) -> FloatArray:
    """(T,) from 0 to 1 and back, again and again."""
    cycles = rng.uniform(0.35, 0.6) * canvas.seconds
    return rng.uniform(0.8, 1.0) * (0.5 - 0.5 * np.cos(2 * np.pi * cycles))


ACTIONS: dict[str, Callable[[_Canvas, np.random.Generator], None]] = {
    "walk": _walk,
    "run": _run,
    "wave": _wave,
    "bow": _bow,
    "squat": _squat,
    "turn": _turn,
}
"""Label -> what moves a canvas accordingly."""


TEXTS: dict[str, tuple[str, ...]] = {
    "walk": ("a person walks forward", "someone strolls along", "walking at an easy pace", "he ambles ahead"),
    "run": ("a person runs forward", "someone sprints ahead", "running fast", "she races along"),
    "wave": (
        "a person waves a hand",
        "someone waves hello",
        "waving with the right arm",
        "he greets by waving",
    ),
    "bow": ("a person bows", "someone bends at the waist", "bowing politely", "she takes a bow"),
    "squat": ("a person squats down", "someone bends the knees", "doing squats", "he crouches low"),
    "turn": ("a person turns around", "someone rotates on the spot", "turning in place", "she spins about"),
}
"""What a person might say of the actions."""


def make_motion(action: str, n_frames: int = 90, seed: int = 0, fps: float = 30.0) -> Motion:
    """A plausible procedural motion: Y up, soles near y = 0, facing a random way; same seed, same motion.

    Args:
        action: one of ACTIONS.
        n_frames: length.
        seed: of tempo, size and heading.
        fps: frames per second.
    """
    rng = np.random.default_rng([seed, list(ACTIONS).index(action)])
    canvas = _Canvas(n_frames, fps)
    ACTIONS[action](canvas, rng)

    # So far the root turns about the vertical only, so the headings add up.
    heading = rng.uniform(-np.pi, np.pi)
    canvas.poses[:, 0, 1] = np.angle(np.exp(1j * (canvas.poses[:, 0, 1] + heading)))
    cosine = np.cos(heading)
    sine = np.sin(heading)
    pelvis = canvas.pelvis @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T
    trans = pelvis - REST_PELVIS["smpl"]
    return Motion(
        canvas.poses.astype(np.float32),
        trans.astype(np.float32),
        fps,
        labels=(action,),
        name=f"{action}_{seed:03d}",
    )


def make_store(folder: Path | str, n_clips: int = 60, seed: int = 0, force: bool = False) -> Path:
    """Prepared procedural data: clips of 60 to 120 frames in train, val and test, every action in each.

    Args:
        folder: where the stores go; `find_store(folder, split)` finds them.
        n_clips: in all splits together; at least three of each action.
        seed: of all motions.
        force: replace what is there.

    Returns:
        folder.
    """
    # A round is one clip of each action; validation and test get a tenth of them each, at least one.
    names = list(ACTIONS)
    rounds = max(3, n_clips // len(names))
    held_out = max(1, rounds // 10)
    rng = np.random.default_rng(seed)
    counts = (rounds - 2 * held_out, held_out, held_out)
    for split, count in zip(SPLITS, counts, strict=True):
        with StoreWriter(
            Path(folder) / "smpl" / "synthetic" / split,
            StoreHeader(
                split=split,
                body_type="smpl",
                fps=30.0,
                label_names=tuple(names),
                settings={"kind": "synthetic", "n_clips": n_clips, "seed": seed},
            ),
            force=force,
        ) as writer:
            for name in names * count:
                motion = make_motion(name, int(rng.integers(60, 121)), int(rng.integers(2**31)))
                writer.add(motion, texts=TEXTS[name])
    return Path(folder)
