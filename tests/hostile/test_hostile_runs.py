"""Damaged reports, features, figures and training states: what runs and evaluations leave and read again."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.checkpoint import load_vqvae
from models.errors import PoseGPTError
from models.evaluation.judge import Features, pack_features, read_features
from models.evaluation.report import Estimate, FigureInfo, Report, check_comparable, read_reports
from models.training.run_folder import Checkpoints
from posegpt_cli.training.curves import draw_curves
from tests.hostile.mutations import WORDS, damaged, fuzz, json_values, other_json, survives
from tests.hostile.test_hostile_files import DEEP, Trap

REPORT = Report(
    protocol="fid", seed=0, settings={"repeats": 2}, fingerprints={"data": "a"}, counts={"motions": 3},
    infos={"fid": FigureInfo(better="lower", meaning="distance")},
    figures={"generated": {"fid": Estimate(mean=1.0, half=0.1, n=2)}},
)  # fmt: skip
FIGURES = {"step": 5, "terms": {"pose": 1.0, "root": 0.5}, "metrics": {"mpjpe": 20.0}, "learning_rate": 1e-3}


def compare_with_whole(path: Path) -> None:
    for report in read_reports(path).values():
        check_comparable(REPORT, report)


@fuzz
@given(data=st.data())
def test_reports(tmp_path, data):
    document = REPORT.model_dump(mode="json")
    (tmp_path / "r.json").write_text(data.draw(other_json({"reports": [document]})))
    survives(lambda: compare_with_whole(tmp_path / "r.json"))


@pytest.mark.parametrize("content", [*WORDS, *(text.encode() for text in DEEP.values())])
def test_files_that_are_no_reports(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(PoseGPTError):
        read_reports(tmp_path / "r.json")


def some_features() -> bytes:
    rng = np.random.default_rng(0)
    features = Features(
        features=rng.normal(size=(5, 4)).astype(np.float32),
        logits=np.zeros((5, 3), np.float32),
        name_scores=np.zeros((5, 2), np.float32),
        labels=np.eye(5, 3, dtype=bool),
        own=np.array([0, 1, -1, 0, 1]),
        lengths=np.full(5, 64),
        clips=np.arange(5),
        label_names=("a", "b", "c"),
        name_names=("a", "b"),
        style_names=("c",),
        fps=30.0,
        data="d",
        classifier="c",
        max_frames=64,
        n_clips=5,
    )
    return pack_features(features)


@fuzz
@given(data=st.data())
def test_features(tmp_path, data):
    (tmp_path / "f.npz").write_bytes(data.draw(damaged(some_features())))
    survives(lambda: read_features(tmp_path / "f.npz").tensors())


@fuzz
@given(
    name=st.sampled_from(("features", "logits", "labels", "lengths", "label_names", "fps")), data=st.data()
)
def test_features_of_other_shapes(tmp_path, name, data):
    shape = data.draw(st.sampled_from(((), (0,), (5,), (3, 4), (5, 9), (2, 2, 2))))
    dtype = data.draw(st.sampled_from(("f4", "f8", "i8", "u1", "?", "U3")))
    with np.load(write(tmp_path / "whole.npz", some_features())) as whole:
        arrays = dict(whole) | {name: np.zeros(shape, dtype)}
    np.savez(tmp_path / "f.npz", **arrays)
    survives(lambda: read_features(tmp_path / "f.npz").tensors())


@settings(fuzz, max_examples=25)  # each may draw a picture
@given(data=st.data())
def test_figures_of_a_run(tmp_path, data):
    lines = [json.dumps(FIGURES), data.draw(other_json(FIGURES)), json.dumps(data.draw(json_values))]
    write(tmp_path / "metrics.jsonl", data.draw(damaged("\n".join(lines).encode())))
    survives(lambda: draw_curves(tmp_path))


@fuzz
@given(data=st.data())
def test_training_states(trained, tmp_path, data):
    shutil.copytree(trained["vqvae"] / "checkpoints" / "last", tmp_path / "last", dirs_exist_ok=True)
    whole = (trained["vqvae"] / "checkpoints" / "last" / "state.pt").read_bytes()
    start = data.draw(st.integers(0, len(whole) // 400)) * 400
    write(tmp_path / "last" / "state.pt", whole[:start] + data.draw(damaged(whole[start:])))
    survives(lambda: resume(tmp_path))


def test_a_pickle_called_state_is_not_run(trained, tmp_path):
    shutil.copytree(trained["vqvae"] / "checkpoints" / "last", tmp_path / "last")
    write(tmp_path / "last" / "state.pt", pickle.dumps(Trap(tmp_path / "ran"), protocol=2))
    with pytest.raises(PoseGPTError, match="cannot be read"):
        resume(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_torchs_advice_to_trust_a_file_is_not_repeated(trained, tmp_path):
    """Faults 11: it says that weights_only=False loads such a file, which would run what is in it."""
    shutil.copytree(trained["vqvae"] / "checkpoints" / "last", tmp_path / "last")
    torch.save({"optimizer": Trap(tmp_path / "ran")}, tmp_path / "last" / "state.pt")
    with pytest.raises(PoseGPTError) as refused:
        resume(tmp_path)
    assert "weights_only" not in f"{refused.value.message} {refused.value.hint}"
    assert not (tmp_path / "ran").exists()


def resume(checkpoints: Path) -> None:
    network, info = load_vqvae(checkpoints / "last")
    Checkpoints(checkpoints).load_last(info, network.state_dict())


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
