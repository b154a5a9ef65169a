"""Sample several actions and print how far their hands and feet travel, from joint positions.

python examples/joints.py walk bow run
"""

import sys

import torch

from models.body.body import load_body
from models.body.skeleton import JOINT_NAMES
from models.sampling.generate import load_generator, sample

SHOWN = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")


def main(actions: list[str]) -> None:
    generator = load_generator()
    body = load_body(generator.body_type)
    places = [JOINT_NAMES[generator.body_type].index(name) for name in SHOWN]

    print("action", *SHOWN, sep="\t")
    for action in actions:
        motion = sample(generator, [action], n_frames=64)[0]
        joints = body.joints(torch.from_numpy(motion.poses), torch.from_numpy(motion.trans))

        # The length of each joint's path, in metres.
        steps = joints[1:, places] - joints[:-1, places]
        lengths = steps.norm(dim=-1).sum(0)
        print(action, *(f"{length:.2f} m" for length in lengths.tolist()), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:] or ["walk", "bow"])
