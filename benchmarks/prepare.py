"""How fast `posegpt prepare` turns AMASS into a store, against a plain loop; memory; opening a large store.

python -m benchmarks.prepare [--clips 300] [--rounds 3] [--frames 5000000] [--folder DIR]

The plain loop is np.load, index subsampling, per-clip torch tensors, one pickle. Every way runs in a
process of its own, in turn and several rounds; medians of ratios are compared, because a machine's speed
drifts.
"""

import argparse
import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import Row, add_options, finish
from data.preparing.annotations import amass_path
from data.preparing.prepare import prepare
from data.preparing.settings import PrepareSettings
from data.store import StoreHeader, open_store
from data.store_writer import StoreWriter
from models.motion import Motion

SECONDS = (5, 15)
"""Shortest and longest clip; AMASS's mean is about 12 s."""
RATE = 120
LEAST_RATIO, LEAST_GAIN = 1.0, 1.6
PEAK_LIMIT_MB, OPEN_LIMIT_S = 1536, 0.2


def make_files(folder: Path, n_clips: int) -> None:
    """AMASS-like SMPL-H files at 120 fps and a BABEL train.json that labels each as a whole."""
    rng = np.random.default_rng(0)
    records = {}
    for k in range(n_clips):
        feat_p = f"CMU/CMU/{k % 10:02d}/{k:05d}_poses.npz"
        path = folder / "amass" / amass_path(feat_p, "smplh")
        path.parent.mkdir(parents=True, exist_ok=True)
        n_frames = int(rng.integers(SECONDS[0] * RATE, SECONDS[1] * RATE))
        walk = np.cumsum(rng.normal(0, 0.01, (n_frames, 156)), axis=0)
        np.savez(
            path, poses=walk, trans=walk[:, :3], mocap_framerate=np.array(float(RATE)),
            gender=np.array("male"), betas=np.zeros(16), dmpls=walk[:, :8],
        )  # fmt: skip
        label = {"raw_label": "walk", "proc_label": "walk", "act_cat": ["walk"]}
        records[str(k)] = {
            "babel_sid": k, "feat_p": feat_p, "dur": n_frames / RATE, "seq_ann": {"labels": [label]},
            "frame_ann": None,
        }  # fmt: skip
    (folder / "train.json").write_text(json.dumps(records))


def plain_loop(folder: Path) -> int:
    """The way research code does it; returns the frames made."""
    import torch

    poses, frames = [], 0
    for path in sorted((folder / "amass").rglob("*.npz")):
        with np.load(path) as file:
            step = int(file["mocap_framerate"] / 30)
            pose = torch.tensor(file["poses"][::step], dtype=torch.float32)
            trans = torch.tensor(file["trans"][::step], dtype=torch.float32)
        for start in range(0, len(pose), 64):
            window = slice(start, start + 64)
            poses.append(torch.cat([pose[window], trans[window] - trans[start]], dim=1))
        frames += len(pose)
    with (folder / "plain.pkl").open("wb") as file:
        pickle.dump(poses, file)
    return frames


def ours(folder: Path, jobs: int) -> int:
    """Our way, every check and checksum included; returns the frames made."""
    settings = PrepareSettings(
        babel=folder, amass=folder / "amass", out=folder / f"out{jobs}", type="smplh", split="train",
        jobs=jobs, min_seq_len=1, force=True,
    )  # fmt: skip
    return prepare(settings).splits["train"].frames


def measure(folder: Path, way: str) -> tuple[float, float]:
    """(frames a second, peak memory in MB) of one way, in a process of its own; imports are not timed."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.prepare", "--folder", str(folder), "--way", way],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    result = json.loads(child.stdout)
    return result["rate"], result["peak_mb"]


def run_way(folder: Path, way: str) -> None:
    if way == "plain":
        import torch  # noqa: F401  # not part of what is timed

    start = time.perf_counter()
    frames = plain_loop(folder) if way == "plain" else ours(folder, int(way))
    rate = frames / (time.perf_counter() - start)
    own, workers = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # ru_maxrss of children is the largest one's
    peak = own + workers * (0 if way in ("plain", "1") else int(way))
    print(json.dumps({"rate": rate, "peak_mb": peak / 1024}))


def opening_time(folder: Path, n_frames: int) -> float:
    """Median seconds to open a store of n_frames SMPL frames and read a frame in its middle."""
    clip = Motion(np.zeros((5000, 24, 3), np.float32), np.zeros((5000, 3), np.float32), labels=("walk",))
    path = folder / "large"
    with StoreWriter(
        path, StoreHeader(split="train", body_type="smpl", fps=30, label_names=("walk",)), force=True
    ) as writer:
        for _ in range(n_frames // 5000):
            writer.add(clip)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        store = open_store(path)
        store.poses[len(store.poses) // 2].sum()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def compare(folder: Path, n_clips: int, rounds: int) -> list[Row]:
    """Rates against the plain loop, and several jobs against one; peaks."""
    make_files(folder, n_clips)
    ways = ["plain", "1", *(["2"] if len(os.sched_getaffinity(0)) > 1 else [])]
    rates: dict[str, list[float]] = {way: [] for way in ways}
    peaks = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for way in ways:
            rate, peak = measure(folder, way)
            rates[way].append(rate)
            peaks[way] = max(peak, peaks[way])
    rows = [_rate_row("prepare: AMASS and BABEL, 1 process", rates["1"], rates["plain"], LEAST_RATIO)]
    if "2" in ways:
        what = "prepare: 2 processes against 1"
        rows.append(_rate_row(what, rates["2"], rates["1"], LEAST_GAIN))
    peak = max(peaks[way] for way in ways[1:])
    return [*rows, Row("prepare: peak memory", "MB", peak, peaks["plain"], bound=PEAK_LIMIT_MB)]


def _rate_row(what: str, ours: list[float], plain: list[float], target: float) -> Row:
    """The round whose ratio is the median."""
    pairs = sorted(zip(ours, plain, strict=True), key=lambda pair: pair[0] / pair[1])
    return Row(what, "frames/s", *pairs[len(pairs) // 2], target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=300, help="AMASS-like files at 120 fps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=5_000_000, help="frames of the store that is opened")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--way", choices=("plain", "1", "2"), help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.way:
        run_way(options.folder, options.way)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = compare(Path(name), options.clips, options.rounds)
        seconds = opening_time(Path(name), options.frames)
    rows.append(
        Row(f"prepare: opening a store of {options.frames:,} frames", "s", seconds, bound=OPEN_LIMIT_S)
    )
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
