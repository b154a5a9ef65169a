"""Labels of the three motion-capture sets behind the bundled checkpoint, a table for `posegpt prepare`.

python tools/label_mocap.py MOCAP labels.json
posegpt prepare --bvh MOCAP --amc MOCAP --labels labels.json --out dataset/

MOCAP holds, in any folders: Bandai-Namco-Research-Motiondataset 1 and 2 (.bvh), HDM05's cut clips (.amc),
and CMU's in the cgspeed conversion (.bvh) beside its CMU_index.csv. Each clip gets the set's own name for it,
and its style where the set says one.
"""

import argparse
import csv
import json
import re
from collections import Counter
from pathlib import Path

from data.actions import BANDAI_PATTERN, clip_labels
from models.files import write_atomically

HDM05 = {
    "depositFloorR": "deposit-floor",
    "elbowToKnee1RepsLelbowStart": "elbow-to-knee",
    "grabHighR": "grab-high",
    "hopBothLegs1hops": "hop-both-legs",
    "jogLeftCircle4StepsRstart": "jog-left-circle",
    "kickLFront1Reps": "kick-front",
    "lieDownFloor": "lie-down",
    "rotateArmsBothBackward1Reps": "rotate-arms",
    "sneak2StepsLStart": "sneak",
    "squat1Reps": "squat",
    "throwBasketball": "throw-basketball",
}
"""HDM05's class -> label."""

CMU = {
    "sword": "slash",
    "punch": "punch",
    "dance": "dance",
    "jog": "jog",
    "jump": "jump",
    "leap": "jump",
    "walk": "walk",
    "run": "run",
}
"""Word of CMU's description -> label. The first that occurs decides: a run that ends in a leap is a jump."""

BANDAI_TWINS = {
    "dance-short": "dance",
    "dance-long": "dance",
    "call": "gesture",
    "respond": "gesture",
}
"""Names of the Bandai set that mean one thing, and so become one label."""

STYLE_TWINS = {"masculinity": "masculine", "old": "elderly", "tired": "exhausted"}
"""Styles of Bandai's first set that its second one calls by another name."""

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
    """The one action of a clip and its style, by its file's stem; none if no set's naming fits.

    A clip carries no further categories: beside them its own name would count less in training.
    """
    if bandai := re.fullmatch(BANDAI_PATTERN, stem):
        action = BANDAI_TWINS.get(bandai["action"], bandai["action"])
        style = STYLE_TWINS.get(bandai["style"], bandai["style"])
        return clip_labels(action, style)
    if hdm05 := re.fullmatch(r"HDM_[a-z]+_(\w+)_\d+_120", stem):
        return (HDM05[hdm05[1]],)
    description = descriptions.get(stem, "")
    for word, label in CMU.items():
        if word in description:
            return (label,)
    return ()


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
