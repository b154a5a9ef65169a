"""Every action by itself: whether it is recognised, varied, whole and as large as real motion of that name.

Whether a motion is whole is learned from the real clips of its name alone: it must begin as one of them
begins and end as one of them ends, in pose, height and speed, about as nearly as these resemble each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from models.body.body import load_body
from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.evaluation.judge import Features
from models.evaluation.report import BESIDE, Estimate, FigureInfo, Report, Setup, Table, estimate
from models.motion import Motion
from models.networks.features import rotate_horizontal, yaw_of

EDGE = 5
"""Frames at either end over which the speed is measured."""
MANY = 20
"""From this number of real clips on, the most unusual 5 % of them do not count as a measure."""
SCALES = {"pose": 0.12, "height": 0.08, "speed": 0.5, "turn": 20.0, "pace": 0.3}
"""What counts alike: an error of a joint (m), of the pelvis's height (m), of the joints' speed (m/s), of the
turn between first and last frame (degrees), of the pelvis's speed over the ground (m/s)."""

FIGURES = {
    "recognised": FigureInfo(better="as real", meaning="share that the classifier gives the name asked for"),
    "whole": FigureInfo(better="as real", meaning="share that begins and ends as real clips of the name do"),
    "begins": FigureInfo(better="as real", meaning="share that begins as they do"),
    "ends": FigureInfo(better="as real", meaning="share that ends as they do"),
    "course": FigureInfo(better="as real", meaning="share that turns and travels as real clips do"),
    "spread": FigureInfo(better="as real", meaning="distance of pairs within a name over that of real clips"),
    "range": FigureInfo(better="as real", meaning="median way that joints cover over that of real clips"),
    "duration": FigureInfo(better="as real", meaning="median duration over that of real clips"),
    "nearest": FigureInfo(
        better="as real", meaning="median distance to the nearest training clip over the real clips' own"
    ),
}
_SHARES = ("recognised", "whole", "begins", "ends", "course")
"""Figures that real motion has a value of; for the others it is 1."""


_SURE = 0.8
"""Share of real motion from which on a classifier is believed."""
_NOTES = (
    "figures are means over the names; the table has the worst first",
    "clips: training clips of the name; missing: mean over the figures of how far it is from its real clips, "
    "0 to 1; behind a stroke: the name's held-out clips, or its training clips if it has none",
)


@dataclass(frozen=True, eq=False)
class Clips:
    """Whole motions with what the classifier says of them."""

    motions: Sequence[Motion]
    features: Features

    def of(self, name: str) -> "Clips":
        """Those of a name."""
        places = [k for k, motion in enumerate(self.motions) if motion.labels[:1] == (name,)]
        return Clips([self.motions[k] for k in places], self.features.rows(np.array(places, np.int64)))


@dataclass(frozen=True, eq=False)
class Courses:
    """Where motions go."""

    turns: Tensor
    """(N,) degrees to the left from the first frame to the last, all turns added up."""
    paces: Tensor
    """(N,) m/s over the ground, mean over the frames."""

    def distances(self, other: "Courses") -> Tensor:
        """(N, M) how different each is from each of the other ones."""
        turn = (self.turns[:, None] - other.turns) / SCALES["turn"]
        pace = (self.paces[:, None] - other.paces) / SCALES["pace"]
        return (turn.square() + pace.square()).sqrt()


@dataclass(frozen=True, eq=False)
class Edges:
    """How motions begin or end."""

    poses: Tensor
    """(N, 22, 3) metres, pelvis at the origin, facing ahead."""
    heights: Tensor
    """(N,) metres, of the pelvis."""
    speeds: Tensor
    """(N,) m/s, mean over the joints."""

    def distances(self, other: "Edges") -> Tensor:
        """(N, M) how different each is from each of the other ones; about 1 is clearly another beginning."""
        gaps = self.poses[:, None] - other.poses[None]
        pose = gaps.norm(dim=-1).mean(-1) / SCALES["pose"]
        height = (self.heights[:, None] - other.heights).abs() / SCALES["height"]
        speed = (self.speeds[:, None] - other.speeds).abs() / SCALES["speed"]
        return (pose.square() + height.square() + speed.square()).sqrt()


def evaluate_actions(
    made: Clips, train: Clips, held_out: Clips, setup: Setup, worst: int = 6
) -> tuple[Report, list[str]]:
    """A table with one row per name, the worst first, and the names of the worst.

    Args:
        made: generated motion, of the durations of real clips.
        train: clips that the generator was trained on.
        held_out: clips that it was not trained on.
        setup: seed, fingerprints and settings to record.
        worst: number of names returned.

    Raises PoseGPTError if no name has both generated and training motion.
    """
    rows, real = measure_names(made, train, held_out)

    # The worst first: that is what people look at after a training.
    order = sorted(rows, key=lambda name: -shortfall(rows[name], real[name]))
    table = _table(order, rows, real, train)
    report = Report(
        protocol="actions",
        seed=setup.seed,
        settings=setup.settings,
        fingerprints=setup.fingerprints,
        counts={
            "names": len(order),
            "generated motions": len(made.motions),
            "training clips": len(train.motions),
            "held-out clips": len(held_out.motions),
        },
        infos=FIGURES,
        figures={"generated": over_names(rows), "real": over_names(real)},
        notes=(*_doubts(real, held_out), *_NOTES),
        tables={"by name, worst first": table},
    )
    return report, order[:worst]


def _doubts(real: Mapping[str, Mapping[str, float]], held_out: Clips) -> tuple[str, ...]:
    """A word on a judge that mistakes real motion: it says as little of generated motion."""
    recognised = float(np.mean([row["recognised"] for row in real.values()]))
    sure = f"only {recognised:.0%} of real motion ({len(held_out.motions)} held-out clips)"
    doubt = f"the classifier recognises {sure}: believe it little, or train it longer and on more clips"
    return () if recognised >= _SURE else (doubt,)


def measure_names(
    made: Clips, train: Clips, held_out: Clips
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Figures of every name with two training clips: of generated motion, and of real motion.

    Raises PoseGPTError if there is no such name.
    """
    rows: dict[str, dict[str, float]] = {}
    real: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(motion.labels[0] for motion in made.motions if motion.labels):
        known = train.of(name)
        if len(known.motions) < 2:
            continue
        others = held_out.of(name)
        rows[name], real[name] = _measure(made.of(name), known, others if len(others.motions) else known)
    if not rows:
        raise PoseGPTError(
            "no name has two training clips and a generated motion", "give motions of the data's names"
        )
    return rows, real


def shortfall(row: Mapping[str, float], real: Mapping[str, float]) -> float:
    """How far a name is from its real clips, from 0 (nothing is missing) to 1."""
    # Shares count for what they lack of real motion's; ratios for how far they are from 1 on either side.
    missing = _missing_shares(row, real)
    for name in ("spread", "range"):
        ratio = row[name]
        if np.isfinite(ratio) and ratio > 0:
            missing.append(1 - min(ratio, 1 / ratio))
        elif ratio == 0:
            missing.append(1.0)
    return float(np.mean(missing))


def asked_shortfall(row: Mapping[str, float], real: Mapping[str, float]) -> float:
    """What is missing of being recognised, whole and on course alone, variety left out, 0 to 1."""
    return float(np.mean(_missing_shares(row, real)))


def _missing_shares(row: Mapping[str, float], real: Mapping[str, float]) -> list[float]:
    return [max(0.0, real[name] - row[name]) for name in ("recognised", "whole", "course")]


def _measure(made: Clips, train: Clips, held_out: Clips) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of one name: of generated motion, and of real motion."""
    # Rare names may have no held-out clip: then each training clip is measured against the others.
    is_alone = held_out is train  # nothing of the name was held out
    row: dict[str, float] = {"recognised": _recognised(made)}
    real: dict[str, float] = {"recognised": _recognised(held_out)}
    within = {}
    for end in ("begins", "ends"):
        # A motion begins as real ones do if it is no farther from one of them than these are from each other.
        known = _edges(train.motions, at_end=end == "ends", with_mirrored=_is_symmetric(train))
        reach = _reach(known.distances(known), len(train.motions))
        for values, clips in ((row, made), (real, held_out)):
            found = _edges(clips.motions, at_end=end == "ends")
            distances = found.distances(known)
            if clips is train:
                distances.fill_diagonal_(torch.inf)
            within[end, clips is made] = distances.amin(1) <= reach
            values[end] = float(within[end, clips is made].double().mean())
    for values, is_made in ((row, True), (real, False)):
        values["whole"] = float((within["begins", is_made] & within["ends", is_made]).double().mean())

    # The course is measured in the same way, by turn and pace.
    known_course = _courses(train.motions, with_mirrored=_is_symmetric(train))
    reach = _reach(known_course.distances(known_course), len(train.motions))
    for values, clips in ((row, made), (real, held_out)):
        distances = _courses(clips.motions).distances(known_course)
        if clips is train:
            distances.fill_diagonal_(torch.inf)
        values["course"] = float((distances.amin(1) <= reach).double().mean())

    # Medians need clips: here the held-out ones count with the others.
    everything = train.motions if is_alone else [*train.motions, *held_out.motions]
    row["range"] = _ratio(_median_range(made.motions), _median_range(everything))
    row["duration"] = _ratio(
        float(np.median([m.duration for m in made.motions])),
        float(np.median([m.duration for m in everything])),
    )
    row["spread"] = _ratio(_spread(made.features), _spread(train.features))
    row["nearest"] = _ratio(
        _nearest(made.features, train.features, False), _nearest(held_out.features, train.features, is_alone)
    )
    real |= dict.fromkeys(("spread", "range", "duration", "nearest"), 1.0)
    return row, real


def _recognised(clips: Clips) -> float:
    found = clips.features
    return float((found.name_scores.argmax(1) == found.own).mean())


def _is_symmetric(clips: Clips) -> bool:
    """Whether the mirror image of a motion has the same name."""
    return not any(side in clips.motions[0].labels[0] for side in ("left", "right"))


def _edges(motions: Sequence[Motion], at_end: bool, with_mirrored: bool = False) -> Edges:
    """How motions begin, or end."""
    poses, heights, speeds = [], [], []
    for motion in motions:
        frames = slice(-EDGE - 1, None) if at_end else slice(0, EDGE + 1)

        # One frame more than is measured, because a speed needs two.
        part = Motion(motion.poses[frames], motion.trans[frames], motion.fps, motion.body_type)
        joints = _world_joints(part)
        moved = joints.diff(dim=0).norm(dim=-1) * motion.fps
        speeds.append(float(moved.mean()) if len(moved) else 0.0)
        place = -1 if at_end else 0
        heights.append(float(joints[place, 0, 1]))
        poses.append(_facing_ahead(joints, part)[place])
    stacked = torch.stack(poses)
    found = Edges(stacked, torch.tensor(heights), torch.tensor(speeds))
    if not with_mirrored:
        return found

    # Left becomes right: joints change places, and x its sign.
    mirrored = stacked[:, _MIRRORED] * torch.tensor([-1.0, 1.0, 1.0])
    return Edges(torch.cat([stacked, mirrored]), found.heights.repeat(2), found.speeds.repeat(2))


def _courses(motions: Sequence[Motion], with_mirrored: bool = False) -> Courses:
    """Where motions go; mirrored ones turn the other way."""
    turns, paces = [], []
    for motion in motions:
        # All turns add up: whoever spins twice ends facing ahead, too.
        yaw = np.unwrap(yaw_of(roma.rotvec_to_rotmat(torch.tensor(motion.poses[:, 0]))).numpy())
        turns.append(float(np.rad2deg(yaw[-1] - yaw[0])))
        steps = np.linalg.norm(np.diff(motion.trans[:, ::2], axis=0), axis=1) * motion.fps
        paces.append(float(steps.mean()) if len(steps) else 0.0)
    found = Courses(torch.tensor(turns), torch.tensor(paces))
    if not with_mirrored:
        return found
    return Courses(torch.cat([found.turns, -found.turns]), found.paces.repeat(2))


def _reach(distances: Tensor, n: int) -> float:
    """How near real clips of a name lie to each other: the distance to the nearest other one, at most.

    Args:
        distances: of the clips and their mirror images from each other. Mirror images (those after the first
            n) are no clips of their own, and do not count as neighbours of what they mirror.
        n: clips.
    """
    distances = distances.clone()
    clip = torch.arange(len(distances)) % n
    distances[clip[:, None] == clip] = torch.inf
    nearest = distances[:n].amin(1)
    if n >= MANY:
        return float(nearest.quantile(0.95))
    return float(nearest.max())


_TWIN = {"left": "right", "right": "left"}


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return f"{_TWIN[side]}_{rest}" if side in _TWIN else name


_MIRRORED = [BODY_JOINTS.index(_other_side(name)) for name in BODY_JOINTS]
"""For each joint the one on the other side."""


def _world_joints(motion: Motion) -> Tensor:
    """(T, 22, 3) metres."""
    body = load_body(motion.body_type)
    joints = body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans))
    return joints[:, : len(BODY_JOINTS)]


def _facing_ahead(joints: Tensor, motion: Motion) -> Tensor:
    """(T, 22, 3) joints with the pelvis at the origin, every frame facing ahead."""
    # Without place and heading, only the pose is left.
    local = joints - joints[:, :1]
    yaw = yaw_of(roma.rotvec_to_rotmat(torch.tensor(motion.poses[:, 0])))
    ground = rotate_horizontal(local[..., ::2], -yaw[:, None].expand(-1, local.shape[1]))
    return torch.stack([ground[..., 0], local[..., 1], ground[..., 1]], -1)


def _median_range(motions: Sequence[Motion]) -> float:
    """Median over motions of the mean over joints of the room that each takes up around the pelvis (m)."""
    ranges = []
    for motion in motions:
        local = _facing_ahead(_world_joints(motion), motion)
        extent = local.amax(0) - local.amin(0)
        ranges.append(float(extent.norm(dim=-1).mean()))
    return float(np.median(ranges))


def _spread(found: Features) -> float:
    """Mean distance of pairs of features; nan for a single motion."""
    if len(found) < 2:
        return float("nan")
    features = torch.from_numpy(found.features).double()
    return float(torch.pdist(features).mean())


def _nearest(found: Features, train: Features, is_itself: bool) -> float:
    """Median distance to the nearest training clip, to another one if these are the training clips."""
    a = torch.from_numpy(found.features).double()
    b = torch.from_numpy(train.features).double()
    distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    if is_itself:
        distances.fill_diagonal_(torch.inf)
    return float(distances.amin(1).median())


def _ratio(value: float, real: float) -> float:
    return value / real if real > 0 else float("nan")


def over_names(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Estimate]:
    """Means over the names, with their intervals."""
    found = {}
    for figure in FIGURES:
        values = [row[figure] for row in rows.values() if np.isfinite(row[figure])]
        found[figure] = estimate(values or [float("nan")])
    return found


def _table(
    order: Sequence[str],
    rows: Mapping[str, Mapping[str, float]],
    real: Mapping[str, Mapping[str, float]],
    train: Clips,
) -> Table:
    """One row per name: what is generated, and beside shares those of real motion."""
    columns = ["name", "clips", "missing"]
    for figure in FIGURES:
        columns += [figure, figure + BESIDE] if figure in _SHARES else [figure]
    lines = []
    for name in order:
        n = sum(motion.labels[:1] == (name,) for motion in train.motions)
        line: list[str | float | None] = [name, n, shortfall(rows[name], real[name])]
        for figure in FIGURES:
            line.append(_finite(rows[name][figure]))
            if figure in _SHARES:
                line.append(_finite(real[name][figure]))
        lines.append(tuple(line))
    return Table(columns=tuple(columns), rows=tuple(lines))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
