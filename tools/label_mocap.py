"""Labels of the three motion-capture sets behind the bundled checkpoint, a table for `posegpt prepare`.

python tools/label_mocap.py MOCAP labels.json
posegpt prepare --bvh MOCAP --amc MOCAP --labels labels.json --out dataset/

MOCAP holds, in any folders: Bandai-Namco-Research-Motiondataset 1 and 2 (.bvh), HDM05's cut clips (.amc),
and CMU's in the cgspeed conversion (.bvh) beside its CMU_index.csv. The BABEL categories are our own reading
of each set's names.
"""

import argparse
import csv
import json
import re
from collections import Counter
from pathlib import Path

from data.actions import bandai_labels
from models.files import write_atomically

HDM05 = {
    "depositFloorR": ("deposit-floor", "place something", "bend"),
    "elbowToKnee1RepsLelbowStart": ("elbow-to-knee", "exercise/training", "knee movement"),
    "grabHighR": ("grab-high", "take/pick something up", "raising body part"),
    "hopBothLegs1hops": ("hop-both-legs", "hop", "jump"),
    "jogLeftCircle4StepsRstart": ("jog-left-circle", "jog", "circular movement"),
    "kickLFront1Reps": ("kick-front", "kick", "martial art"),
    "lieDownFloor": ("lie-down", "lowering body part"),
    "rotateArmsBothBackward1Reps": ("rotate-arms", "arm movements", "circular movement", "exercise/training"),
    "sneak2StepsLStart": ("sneak", "walk", "step"),
    "squat1Reps": ("squat", "exercise/training"),
    "throwBasketball": ("throw-basketball", "throw", "action with ball", "play sport"),
}
"""HDM05's class -> labels."""

CMU = {
    "walk": ("walk", "forward movement"),
    "run": ("run", "forward movement"),
    "jog": ("jog",),
    "jump": ("jump",),
    "leap": ("jump",),
    "hop": ("hop",),
    "dance": ("dance",),
    "punch": ("punch", "martial art"),
    "turn": ("turn",),
    "twirl": ("turn",),
    "sword": ("swing body part", "martial art"),
    "wash": ("clean something",),
    "basketball": ("action with ball", "play sport"),
    "soccer": ("action with ball", "kick", "play sport"),
    "climb": ("move up/down incline",),
    "cartwheel": ("sports move",),
    "acrobat": ("sports move",),
}
"""Word of CMU's description -> labels."""

MIN_CLIPS = 3
"""Labels of fewer clips are dropped: they are too few to learn from."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mocap", type=Path, help="folder that holds the three sets")
    parser.add_argument("out", type=Path, help="table to write, {clip: [labels]}")
    arguments = parser.parse_args()
    descriptions = cmu_descriptions(arguments.mocap)
    clips = sorted(p for p in arguments.mocap.rglob("*") if p.suffix.lower() in (".bvh", ".amc"))
    labels = {path.stem: labels_of(path.stem, descriptions) for path in clips}
    count = Counter(name for names in labels.values() for name in names)
    kept = {clip: [n for n in names if count[n] >= MIN_CLIPS] for clip, names in labels.items()}
    write_atomically(arguments.out, json.dumps(kept, indent=1).encode(), force=True)
    print(f"{arguments.out}: {len(kept)} clips, {sum(n >= MIN_CLIPS for n in count.values())} labels")


def labels_of(stem: str, descriptions: dict[str, str]) -> tuple[str, ...]:
    """Labels of a clip by its file's stem; none where no set's naming fits."""
    if bandai := bandai_labels(stem):
        return bandai
    if hdm05 := re.fullmatch(r"HDM_[a-z]+_(\w+)_\d+_120", stem):
        return HDM05[hdm05[1]]
    words = descriptions.get(stem, "")
    return tuple(dict.fromkeys(n for word, names in CMU.items() if word in words for n in names))


def cmu_descriptions(folder: Path) -> dict[str, str]:
    """CMU's index: `02_01` -> "walk"."""
    found: dict[str, str] = {}
    for index in folder.rglob("CMU_index.csv"):
        with index.open(newline="") as lines:
            for row in csv.DictReader(lines):
                found[f"{int(row['Subject']):02d}_{int(row['Trial #']):02d}"] = row[
                    "Motion Description"
                ].lower()
    return found


if __name__ == "__main__":
    main()
