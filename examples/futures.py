"""Sample a walk, then four futures of its first half second, and draw them side by side.

python examples/futures.py futures.mp4
"""

import sys
from dataclasses import replace

from models.sampling.generate import forecast, load_generator, sample
from models.sampling.settings import SamplingSettings
from posegpt_cli.output import RenderOptions, save_motion

PAST_FRAMES = 16


def main(out: str) -> None:
    generator = load_generator()
    walk = sample(generator, ["walk"], n_frames=64, settings=SamplingSettings(seed=1))[0]

    # The generator sees the first frames only, and is asked to run from there.
    past = replace(walk, poses=walk.poses[:PAST_FRAMES], trans=walk.trans[:PAST_FRAMES])
    futures = forecast(generator, past, ["run"], n_frames=48, settings=SamplingSettings(n=4, seed=1))

    save_motion(futures, out, RenderOptions(past_frames=PAST_FRAMES, size=(720, 720)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "futures.mp4")
