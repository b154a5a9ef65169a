"""The paper's pipeline from BABEL and AMASS to FID, by the original's commands cut in length."""

import json
import shlex
from pathlib import Path

import pytest

from data.formats.smpl_npz import write_smpl_npz
from data.preparing.annotations import amass_path
from data.synthetic import make_motion
from models.checkpoint import find_checkpoint, read_info
from tests.data.miniature import label, record, write_babel
from tests.posegpt_cli.test_train_original import GENERATOR, TOKENIZER

ACTIONS = ("walk", "run", "wave")
PER_SPLIT = {"train": 24, "val": 12, "test": 4}
SHORT = "--max_epochs 1 -iter 2 --eval-every 2 --eval-batches 1 --n_visu_to_save 0 --device cpu"
"""All that differs from the original's README: two steps in place of hundreds of thousands."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    """A BABEL whose sequences are one action each, and the AMASS that it annotates, in their own formats."""
    root = tmp_path_factory.mktemp("paper")
    splits = {}
    sid = 0
    for split, n in PER_SPLIT.items():
        records = []
        for k in range(n):
            sid += 1
            action = ACTIONS[k % len(ACTIONS)]
            feat_p = f"ACCAD/ACCAD/Subject{sid}_c3d/{action}_poses.npz"
            motion = make_motion(action, 90, seed=sid)
            write_smpl_npz(root / "amass" / amass_path(feat_p, "smplx"), motion, "smplx")
            records.append(record(sid, feat_p, motion.duration, seq=[label([action])]))
        splits[split] = records
    return write_babel(root / "babel", **splits), root / "amass"


@pytest.mark.slow
def test_from_babel_to_fid_given_a_past(posegpt, sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    babel, amass = sources
    ran = posegpt("prepare", "--babel", babel, "--amass", amass, "--type", "smplx", "--out", "data")
    assert ran.code == 0, ran.err
    data = f"--data data {SHORT}"

    commands = {
        "classifier": f"--name classifier_ --classif_method TR -lr 4e-5 --use_bm 0 {data}",
        "offline": f"--name offline {TOKENIZER} {data}".replace("CausalVQVAE", "OfflineVQVAE"),
        "causal": f"--name auto_encoder_debug {TOKENIZER} {data}",
        "online": f"--name online {TOKENIZER} {data}".replace("CausalVQVAE", "OnlineVQVAE"),
        "generator": f"{GENERATOR} {data}".replace("--n_visu_to_save 2", ""),
    }
    stages = {"classifier": "classifier", "generator": "gpt"}
    for name, words in commands.items():
        ran = posegpt("train", stages.get(name, "vqvae"), *shlex.split(words))
        assert ran.code == 0, (name, ran.err)
        assert "--preset paper" in ran.err
    for name, model in (("offline", "OfflineVQVAE"), ("online", "OnlineVQVAE")):
        network = read_info(find_checkpoint(Path("runs/vqvae") / name, "vqvae")).network
        assert (network["model"], network["hid_dim"], network["n_layers"]) == (model, 384, 6)

    # FID without a past and given one, by the classifier that was trained for it.
    judged = ("--data", "data", "--gpt", "runs/gpt/generator", "--classifier", "runs/classifier/classifier_")
    for past in ((), ("--past-frames", 16)):
        ran = posegpt("eval", "fid", *judged, "--repeats", 2, "--unguided", 0, *past, "--json")
        assert ran.code == 0, ran.err
        report = json.loads(ran.out)
        assert {"real", "reconstructed", "generated"} <= set(report["figures"])
        assert report["figures"]["generated"]["fid"]["mean"] > 0
    ran = posegpt("eval", "forecast", *judged, "--past", 16, "--future", 24, "--samples", 2, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["figures"]["model, past 16"]["fid"]["mean"] > 0
