"""Motions made by hand, and features of them."""

import numpy as np

from models.body.body import load_body
from models.evaluation.judge import Features, Judge, SetInfo, extract
from models.motion import Motion

LABELS = ("walk", "wave")
BODY = load_body()
STANDING = -float(BODY.v_template[:, 1].min())


def standing(n: int = 20, labels: tuple[str, ...] = ("walk",), fps: float = 30.0) -> Motion:
    """A person at rest, soles on the floor."""
    trans = np.zeros((n, 3), np.float32)
    trans[:, 1] = STANDING
    return Motion(np.zeros((n, 24, 3)), trans, fps, labels=labels)


def swinging(n: int, seed: int, labels: tuple[str, ...] = ("walk",)) -> Motion:
    """An arm that swings at a pace and size of its own; those that wave do so about another axis."""
    rng, motion = np.random.default_rng(seed), standing(n, labels)
    angle = rng.uniform(0.5, 1) * np.sin(np.arange(n) * rng.uniform(0.1, 0.5) + rng.uniform(0, 6))
    motion.poses[:, 16, 2 if "walk" in labels else 1] = angle
    return motion


def some_motions(n: int = 23) -> list[Motion]:
    return [swinging(10 + 3 * (k % 5), k, (LABELS[k % 2],)) for k in range(n)]


def featured(judge: Judge, motions: list[Motion], max_frames: int = 64) -> Features:
    about = SetInfo("data", max_frames, len(motions))
    return extract(judge, [m.labels for m in motions], lambda at: [motions[k] for k in at], about)
