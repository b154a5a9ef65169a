"""Pack a trained classifier for the package, in half precision, with real features for `posegpt eval fid`.

    python tools/pack_classifier.py runs/classifier/NAME --data DATASET [--train-motions 1200]

The features are those of the packed classifier, so that they fit it to the last digit.
"""

import argparse
from pathlib import Path

import numpy as np

from data.store import find_store, open_store
from models.checkpoint import PRETRAINED, find_checkpoint, load_classifier, save_checkpoint
from models.evaluation.judge import Features, Judge, extract, load_judge, pack_features
from posegpt_cli.evaluation import real_motions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run or checkpoint folder of a classifier")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")
    parser.add_argument("--out", type=Path, default=PRETRAINED / "classifier", help="where to put it")
    parser.add_argument("--max-frames", type=int, default=64, help="longest piece of a clip")
    parser.add_argument("--train-motions", type=int, default=1200, help="training motions, drawn at random")
    arguments = parser.parse_args()
    network, info = load_classifier(find_checkpoint(arguments.run, "classifier"))
    save_checkpoint(arguments.out, info, network.state_dict(), half=True)
    judge = load_judge(arguments.out, "cpu")
    for split in ("val", "train"):
        features = _features(judge, arguments.data, split, arguments.max_frames)
        if split == "train" and len(features) > arguments.train_motions:
            chosen = np.random.default_rng(0).choice(len(features), arguments.train_motions, replace=False)
            features = features.rows(np.sort(chosen))
        (arguments.out / f"real_{split}.npz").write_bytes(pack_features(features, half=True))
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.2f} MB")


def _features(judge: Judge, data: Path, split: str, max_frames: int) -> Features:
    store = open_store(find_store(data, split))
    pieces = real_motions(store, max_frames, labelled=True)
    labels = [piece.labels for piece in pieces]
    fingerprint = store.manifest.fingerprint
    return extract(
        judge, labels, lambda places: [pieces[k] for k in places], fingerprint, max_frames, len(store)
    )


if __name__ == "__main__":
    main()
