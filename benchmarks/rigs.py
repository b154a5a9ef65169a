"""Motions onto a character, beside drawing them as skeletons in the same run.

Both begin with the motions: one reads the character, puts all of them on it and makes its file with an
animation each, the other draws every frame of them. A part of the pictures is drawn; their time is scaled up.

    python -m benchmarks.rigs [--motions 64] [--frames 64] [--pictures 128] [--rig FILE]
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.table import Row, add_options, finish
from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.writing.gltf import with_animations
from data.synthetic import make_motion
from models.body.body import load_body
from models.motion import Motion
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import Person
from posegpt_cli.rendering.scene import Animation
from posegpt_cli.rendering.software.skeleton import SkeletonRenderer

CHARACTER = Path(__file__).parents[1] / "tests" / "data" / "characters" / "human-male.glb"


def seconds_onto_rig(motions: list[Motion], rig: Path) -> float:
    """From the motions and the character's file to the content of the new one."""
    start = time.perf_counter()
    fit = open_rig(rig)
    with_animations([put_on_rig(fit, motion) for motion in motions])
    return time.perf_counter() - start


def seconds_to_draw(motions: list[Motion], n_pictures: int) -> float:
    """All frames of the motions as skeletons, by the time that some of them take."""
    options = RenderOptions(renderer="skeleton")
    body = load_body()
    drawn = 0
    start = time.perf_counter()
    with SkeletonRenderer(options) as renderer:
        for motion in motions:
            if drawn >= n_pictures:
                break
            animation = Animation([Person(motion, body)], options)
            for frame in range(motion.n_frames):
                renderer.draw(animation.scene(frame))
            drawn += motion.n_frames
    n_frames = sum(motion.n_frames for motion in motions)
    return (time.perf_counter() - start) / drawn * n_frames


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=int, default=64)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--rig", type=Path, default=CHARACTER)
    add_options(parser)
    arguments = parser.parse_args()
    actions = ("walk", "squat", "wave")
    motions = []
    for k in range(arguments.motions):
        motions.append(make_motion(actions[k % 3], arguments.frames, seed=k))
    # Whatever is loaded once is loaded before both.
    put_on_rig(open_rig("mixamo"), motions[0])
    ours = seconds_onto_rig(motions, arguments.rig)
    plain = seconds_to_draw(motions, arguments.pictures)
    what = f"rigs: {arguments.motions} motions onto a character, beside drawing them as skeletons"
    return finish([Row(what, "s", ours, plain, least_ratio=1.0)], arguments)


if __name__ == "__main__":
    sys.exit(main())
