"""Pack trained classifiers for the package, in half precision, with real features for `posegpt eval fid`.

    python tools/pack_classifier.py runs/classifier/NAME --data DATASET [--second runs/classifier/OTHER]

The features are those of the packed classifier, so that they fit it to the last digit. The second classifier
judges beside the first one; of it the features of the validation motions are kept, too.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.evaluating.real import open_split, real_pieces
from models.checkpoint import PRETRAINED, find_checkpoint, load_classifier, save_checkpoint
from models.evaluation.judge import (
    SECOND,
    Features,
    Judge,
    SetInfo,
    extract,
    load_judge,
    pack_features,
)
from models.files import write_atomically

FEWEST = 24
"""Training motions of a name that are kept, if there are as many: a match is drawn from them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run or checkpoint folder of a classifier")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")
    parser.add_argument("--second", type=Path, help="run or checkpoint folder of the second classifier")
    parser.add_argument("--out", type=Path, default=PRETRAINED / "classifier", help="where to put it")
    parser.add_argument("--max-frames", type=int, default=64, help="longest piece of a clip")
    parser.add_argument("--train-motions", type=int, default=1200, help="training motions, drawn at random")
    arguments = parser.parse_args()

    judge = _pack(arguments.run, arguments.out)
    held_out = _features(judge, arguments.data, "val", arguments.max_frames)
    train = _features(judge, arguments.data, "train", arguments.max_frames)
    train = train.rows(_balanced(train.own, arguments.train_motions))
    for name, features in (("val", held_out), ("train", train)):
        write_atomically(arguments.out / f"real_{name}.npz", pack_features(features, half=True), force=True)
    if arguments.second:
        folder = arguments.out / SECOND
        second = _features(_pack(arguments.second, folder), arguments.data, "val", arguments.max_frames)
        write_atomically(folder / "real_val.npz", pack_features(second, half=True), force=True)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.2f} MB")


def _pack(run: Path, out: Path) -> Judge:
    network, info = load_classifier(find_checkpoint(run, "classifier"))
    save_checkpoint(out, info, network.state_dict(), half=True)
    return load_judge(out, "cpu")


def _features(judge: Judge, data: Path, split: str, max_frames: int) -> Features:
    store = open_split(data, split)
    pieces = real_pieces(store, max_frames, labelled=True)
    labels = [piece.labels for piece in pieces.motions]
    about = SetInfo(store.manifest.fingerprint, max_frames, len(store), tuple(pieces.clips))
    return extract(judge, labels, lambda at: [pieces.motions[k] for k in at], about)


def _balanced(own: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Places of n motions: a few of every name, the others at random."""
    order = np.random.default_rng(0).permutation(len(own))
    few = np.concatenate([order[own[order] == name][:FEWEST] for name in np.unique(own)])
    others = order[~np.isin(order, few)]
    return np.sort(np.concatenate([few, others[: max(0, n - len(few))]]))


if __name__ == "__main__":
    main()
