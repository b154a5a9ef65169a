"""What happens to memory when the work grows: a large store, many clips in one call, an hour-long motion.

Every job runs in a process of its own, at a tenth of its size and in full; the tenth stands where other
benchmarks have the plain way. Memory is what a process holds of its own at its peak: pages of mapped files
are not counted, as the system drops them when it needs room. Seconds are of processors.

    python -m benchmarks.load [--frames 5000000] [--clips 10000] [--minutes 60] [--mesh-minutes 10]
        [--only prepare check ...] [--folder DIR]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.table import Row, add_options, finish
from data.dataset import Windows
from data.formats.smpl_npz import write_smpl_npz
from data.store import find_store, open_store
from data.synthetic import ACTIONS, make_motion
from models.training.config import WindowsConfig

POSEGPT = [sys.executable, "-m", "posegpt_cli"]
CLIP_FRAMES = 1000
"""Of a clip of the large store."""
BATCHES = 200
"""Drawn from it."""
SIZE = "320x320"
"""Of videos: small, as it is their length that counts."""
SHARE = 10
"""How many times smaller the small size is."""
WHOLE = 0.4
"""Target of files that are put together in memory, as their first bytes tell the size of the rest."""
HASHES = 0.25
"""Target of prepare, which looks for clips that share frames by the hashes of up to four million."""
PAUSE = 0.03
"""Seconds between two looks at a process."""


@dataclass(frozen=True)
class Spent:
    """What a process took."""

    seconds: float
    """Of processors, its own processes' (the encoder) with it: other programs change little about it."""
    peak: float
    """Largest memory of its own, MB."""


def spend(command: list[str]) -> Spent:
    """Run a command and watch its memory. Raises RuntimeError with the end of its output if it fails."""
    peak = 0
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said) as child:
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            peak = max(peak, _own_memory(child.pid))
            time.sleep(PAUSE)
        child.returncode = os.waitstatus_to_exitcode(ended[1])
        said.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {said.read()[-500:].decode()}")
    return Spent(ended[2].ru_utime + ended[2].ru_stime, peak / 1024)


def _own_memory(pid: int) -> int:
    """KiB that a process holds and shares with no file; 0 where it has just ended."""
    found = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def make_recordings(folder: Path, n_frames: int) -> Path:
    """Procedural motion as AMASS-like files; made once."""
    path, names = folder / f"amass{n_frames}", list(ACTIONS)
    for k in range(0 if path.exists() else max(1, n_frames // CLIP_FRAMES)):
        action = names[k % len(names)]
        motion = make_motion(action, min(n_frames, CLIP_FRAMES), seed=k)
        file = path / action / f"{action}_{k:05d}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file, poses=motion.poses.reshape(motion.n_frames, -1), trans=motion.trans, mocap_framerate=30.0
        )
    return path


def make_long_motion(folder: Path, n_frames: int) -> Path:
    """One walk as a file; made once."""
    path = folder / f"walk{n_frames}.npz"
    if not path.exists():
        write_smpl_npz(path, make_motion("walk", n_frames), "smpl")
    return path


def prepare(folder: Path, n_frames: int) -> list[str]:
    """The command that turns recordings into a store."""
    out, pattern = folder / f"store{n_frames}", r"(?P<action>[a-z]+)_\d+"
    recordings = make_recordings(folder, n_frames)
    return [
        *POSEGPT, "prepare", "--amass", str(recordings), "--type", "smpl", "--label-pattern", pattern,
        "--out", str(out), "--force", "--json",
    ]  # fmt: skip


def _store(folder: Path, n_frames: int) -> Path:
    if not (path := folder / f"store{n_frames}").exists():
        spend(prepare(folder, n_frames))
    return path


def check(folder: Path, n_frames: int) -> list[str]:
    return [*POSEGPT, "prepare", "--check", str(_store(folder, n_frames))]


def draw(folder: Path, n_frames: int) -> list[str]:
    """The command that draws training windows from a store, by this file."""
    return [sys.executable, "-m", "benchmarks.load", "--draw", str(_store(folder, n_frames))]


def draw_windows(root: Path) -> None:
    """Batches as training draws them, each window at a place of its own."""
    windows = Windows(open_store(find_store(root, "train")), WindowsConfig(seq_len=64))
    for step in range(BATCHES):
        windows.batch(step)


def sample(folder: Path, n: int) -> list[str]:
    out = folder / f"sampled{n}" / "walk.npz"
    return [*POSEGPT, "sample", "--action", "walk", "--len", "64", "-n", str(n), "--out", str(out), "--force"]


def export(suffix: str, folder: Path, n_frames: int) -> list[str]:
    motion = make_long_motion(folder, n_frames)
    return [*POSEGPT, "export", str(motion), "--out", str(folder / f"out{suffix}"), "--force"]


def render(renderer: str, folder: Path, n_frames: int) -> list[str]:
    motion = make_long_motion(folder, n_frames)
    out = folder / f"{renderer}.mp4"
    return [
        *POSEGPT, "render", str(motion), "--renderer", renderer, "--size", SIZE, "--out", str(out), "--force",
    ]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Work of a size that can be told."""

    what: str
    size: str
    """What it is counted in: the option that tells it."""
    command: Callable[[Path, int], list[str]]
    """Of a folder to work in, and a size."""
    least_ratio: float = 0.8
    """Target: memory at a tenth of the size over memory in full (1: as much; the motion itself is held)."""

    @property
    def unit(self) -> str:
        return "clips" if self.size == "clips" else "frames"


JOBS = {
    "prepare": Job("prepare", "frames", prepare, HASHES),
    "check": Job("prepare --check", "frames", check),
    "windows": Job(f"{BATCHES} batches of windows", "frames", draw),
    "sample": Job("sample to .npz", "clips", sample),
    "skeleton": Job(f"skeleton to .mp4, {SIZE}", "minutes", partial(render, "skeleton")),
    "mesh": Job(f"mesh to .mp4, {SIZE}", "mesh-minutes", partial(render, "mesh")),
} | {
    suffix: Job(f"export to .{suffix}", "minutes", partial(export, f".{suffix}"), least_ratio)
    for suffix, least_ratio in (
        ("bvh", 0.8), ("csv", 0.8), ("json", 0.8), ("npz", WHOLE), ("glb", WHOLE), ("html", WHOLE),
    )
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5_000_000, help="of the store")
    parser.add_argument("--clips", type=int, default=10_000, help="sampled in one call")
    parser.add_argument("--minutes", type=float, default=60, help="of the motion that is drawn and exported")
    parser.add_argument("--mesh-minutes", type=float, default=10, help="of the motion drawn as a mesh")
    parser.add_argument("--only", nargs="*", choices=JOBS, default=list(JOBS))
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.draw:
        draw_windows(options.draw)
        return 0
    sizes = {
        "frames": options.frames,
        "clips": options.clips,
        "minutes": round(options.minutes * 60 * 30),
        "mesh-minutes": round(options.mesh_minutes * 60 * 30),
    }
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for job in (JOBS[key] for key in options.only):
            n = sizes[job.size]
            small, whole = (spend(job.command(Path(name), size)) for size in (max(1, n // SHARE), n))
            each = (whole.peak - small.peak) * 2**20 / (n - n // SHARE)
            print(
                f"{job.what}: {n:,} {job.unit}, {whole.seconds:.1f} s and {whole.peak:.0f} MB, a tenth "
                f"{small.seconds:.1f} s and {small.peak:.0f} MB; {each:.0f} bytes each more",
                flush=True,
            )
            what, note = f"load: {job.what}, {n:,} {job.unit}", f"{whole.seconds:.0f} s"
            rows.append(Row(what, "MB", whole.peak, small.peak, job.least_ratio, note=note))
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
