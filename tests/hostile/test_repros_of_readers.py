"""What the first campaign found in what is read, as commands: each is to end soon, with a message of ours.

Only the command line and what older versions had too is used here, so that these files can be copied into a
checkout of one: on 5c0dd05, where that campaign ran, they fail.
"""

import io
import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.data.acclaim import random_frames, write_amc, write_asf
from tests.data.miniature import label, record, write_babel, write_recording
from tests.hostile.commands import BVH, TINY, no_hang

pytestmark = pytest.mark.slow
BLANK = "\n" * 60_000


# 8: readers that took quadratic time


@pytest.mark.parametrize("old, new", [("MOTION", BLANK + "MOTIO"), ("ROOT", BLANK + "RO")])
def test_blank_lines_in_bvh(refused, tmp_path, old, new):
    (tmp_path / "a.bvh").write_text(BVH.replace(old, new))
    refused("export", tmp_path / "a.bvh", "--out", tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.amc", "a.asf"])
def test_blank_lines_in_amc_and_asf(posegpt, tmp_path, name):
    folder = _acclaim(tmp_path)
    text = (folder / name).read_text()
    text = BLANK + text if name == "a.amc" else text.replace(":root", BLANK + "x:root")
    (folder / name).write_text(text)
    with no_hang():
        posegpt("prepare", "--amc", folder, "--out", tmp_path / "out")


def _acclaim(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    write_asf(folder / "a.asf")
    write_amc(folder / "a.amc", random_frames(3))
    return folder


# 11: files of motion


@pytest.mark.parametrize("value", ["1_0", "١"])
def test_values_of_bvh_that_only_python_reads(refused, tmp_path, value):
    (tmp_path / "a.bvh").write_text(BVH.replace("\n0 0 0", f"\n{value} 0 0"))
    refused("export", tmp_path / "a.bvh", "--out", tmp_path / "a.csv")


@pytest.mark.parametrize("word", ["name", "axis"])
def test_lines_of_asf_without_a_value(posegpt, tmp_path, word):
    folder = _acclaim(tmp_path)
    lines = (folder / "a.asf").read_text().splitlines()
    k = max(k for k, line in enumerate(lines) if line.split()[:1] == [word])
    lines[k] = word
    (folder / "a.asf").write_text("\n".join(lines))
    ran = posegpt("prepare", "--amc", folder, "--out", tmp_path / "out")
    # Neither Python's words, nor those of the library that computes angles.
    assert "Error" not in ran.err and "angles" not in ran.err, ran.err


@pytest.mark.parametrize("shape", ["(2, 3", "(18446744073709551616, 3)"])
def test_headers_of_npz(refused, tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("poses.npy", content)
        archive.writestr("trans.npy", content)
    refused("export", tmp_path / "a.npz", "--out", tmp_path / "a.csv")


def test_endless_times_of_babel(posegpt, tmp_path):
    source = "CMU/CMU/01/01_01_poses.npz"
    write_recording(tmp_path / "amass", f"smplh/{source.removeprefix('CMU/')}", 90, 30.0)
    babel = write_babel(
        tmp_path / "babel", train=[record(1, source, 3.0, frames=[label(["walk"], 0.0, 1.5)])]
    )
    path = babel / "train.json"
    path.write_text(path.read_text().replace('"start_t": 0.0', '"start_t": Infinity'))
    ran = posegpt("prepare", "--babel", babel, "--amass", tmp_path / "amass", "--out", tmp_path / "out")
    assert "not a number" in ran.err, ran.err


# 11: body models


@pytest.fixture
def foreign(monkeypatch) -> Callable[..., Any]:
    """Makes objects that pickle as those of a library that is not installed."""

    def make(module: str, name: str, state: Any) -> Any:
        kind = type(name, (), {"__module__": module, "__getstate__": lambda self: self.state})
        monkeypatch.setitem(sys.modules, module.partition(".")[0], SimpleNamespace())
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: kind}))
        one = kind()
        one.state = state
        return one

    return make


def _holds_itself(foreign: Callable[..., Any]) -> Any:
    array = foreign("chumpy.ch", "Ch", {})
    array.state["x"] = array
    return array


BODIES = {
    "holds itself": _holds_itself,
    "far": lambda make: make("chumpy.reordering", "Select", {"a": np.ones(3), "idxs": np.array([10**9])}),
    "flat tree": lambda make: np.zeros(24, np.int64),
    "huge": lambda make: make(
        "scipy.sparse.csc", "csc_matrix",
        {"data": np.ones(1), "indices": np.zeros(1, int), "indptr": np.zeros(2, int), "shape": (1e9, 1e9)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_body_models_that_cannot_be(refused, clip, tmp_path, foreign, what):
    n = 40
    content: dict[str, Any] = {
        "v_template": np.zeros((n, 3)), "shapedirs": np.zeros((n, 3, 10)), "posedirs": np.zeros((n, 3, 207)),
        "weights": np.ones((n, 24)), "J_regressor": np.zeros((24, n)), "f": np.zeros((10, 3), int),
        "kintree_table": np.zeros((2, 24), int),
    }  # fmt: skip
    content["kintree_table" if what == "flat tree" else "J_regressor"] = BODIES[what](foreign)
    (tmp_path / "smpl").mkdir()
    out = io.BytesIO()
    pickle.dump(content, out, protocol=2)
    (tmp_path / "smpl" / "SMPL_NEUTRAL.pkl").write_bytes(out.getvalue())
    refused("render", clip, "--body-model", tmp_path, "--out", tmp_path / "a.gif")


# 9, 10, 11: data sets and checkpoints

STORES: dict[str, Callable[[Path], object]] = {
    "clips": lambda store: (store / "clips.json").write_text("[{}]"),
    "endless": lambda store: (
        (store / "clips.json").unlink(),
        (store / "clips.json").symlink_to("/dev/zero"),
    ),
    "lengths": lambda store: np.save(store / "lengths.npy", np.load(store / "lengths.npy") + 2**40),
}


@pytest.mark.parametrize("what", STORES)
def test_damaged_data_sets(refused, prepared, tmp_path, what):
    shutil.copytree(prepared, tmp_path / "data")
    for split in ("train", "val", "test"):
        STORES[what](tmp_path / "data" / split)
    refused("eval", "physics", "--data", tmp_path / "data")


def _with_config(generator: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy of a generator whose config says something else; `network_x` changes x of the network."""
    folder = tmp_path / "gpt"
    shutil.copytree(generator, folder)
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        part, _, name = key.partition("_")
        if part == "network":
            config["network"][name] = value
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"network_gpt_nlayer": 10**9}, {"network_n_codebook": 2**31}, {"network_gpt_nembd": 2**64},
        {"labels": ["walk"]},
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_be(refused, small_generator, tmp_path, change):
    folder = _with_config(small_generator, tmp_path, **change)
    refused("sample", "--gpt", folder, "--action", "walk", "--len", 8, "--out", tmp_path / "a.npz")


def test_a_changed_switch_of_a_checkpoint(refused, small_generator, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = _with_config(small_generator, tmp_path)
    for part in (folder, folder / "tokenizer"):
        config = json.loads((part / "config.json").read_text())
        sums = {key: "" for key in config if key.endswith("sha256")}
        (part / "config.json").write_text(json.dumps(config | sums))
    path = folder / "tokenizer" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.dtype == bool)
    save_file(tensors | {name: np.array(2**40)}, path)
    refused("sample", "--gpt", folder, "--action", "walk", "--len", 8, "--out", tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "\x1b[31mred"])
def test_control_characters_of_labels_do_not_reach_the_terminal(posegpt, small_generator, tmp_path, name):
    labels = ["walk", name, "wave", "style:elderly", "style:happy"]
    ran = posegpt("actions", "--gpt", _with_config(small_generator, tmp_path, labels=labels))
    assert not {"\x1b", "\x07"} & set(ran.out + ran.err)


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "\x1b[31mred"])
def test_control_characters_of_names_do_not_reach_the_terminal(refused, tmp_path, name):
    refused("export", tmp_path / f"{name}.npz", "--out", tmp_path / "a.csv")


# 11: configs, reports


@pytest.mark.parametrize("value", ["2020-99-99", "0x_", "9" * 5000])
def test_yaml_that_cannot_be(refused, tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"seed: {value}\n")
    refused(*TINY, "--config", tmp_path / "a.yaml", "--dry-run")


@pytest.mark.parametrize("change", [{"mean": float("nan")}, {"half": -1.0}, {"n": -3}])
def test_reports_with_numbers_that_cannot_be(refused, tmp_path, change):
    estimate = {"mean": 1.0, "half": 0.1, "n": 2} | change
    report = {
        "protocol": "fid", "seed": 0, "settings": {"repeats": 2}, "fingerprints": {"data": "a"},
        "counts": {"motions": 3}, "infos": {"fid": {"better": "lower", "meaning": "distance"}},
        "figures": {"generated": {"fid": estimate}},
    }  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"reports": [report]}))
    refused("eval", "compare", tmp_path / "a.json", tmp_path / "b.json")


# 11: training states


STATES: dict[str, Callable[[Any], Any]] = {
    "code": lambda state: {"stage": SimpleNamespace(a=1)},
    "steps": lambda state: state | {"step": "x"},
    "best": lambda state: state | {"best": 3},
    "optimizer": lambda state: state | {"optimizer": {"state": {}, "param_groups": []}},
    "no text": lambda state: state,
}


@pytest.mark.parametrize("what", STATES)
def test_training_states_that_cannot_be_taken_up(refused, one_step, tmp_path, what):
    import torch

    shutil.copytree(one_step.parents[1], tmp_path / "runs")
    path = tmp_path / "runs" / "vqvae" / "default" / "checkpoints" / "last" / "state.pt"
    torch.save(STATES[what](torch.load(path, weights_only=True)), path)
    if what == "no text":
        path.write_bytes(_other_text(path.read_bytes()))
    words = (*TINY, "--iter", 2, "--out", tmp_path / "runs", "--resume")
    assert "weights_only" not in refused(*words)


def _other_text(content: bytes) -> bytes:
    """An archive of torch whose pickle names its first key with bytes that are no text."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name.endswith("data.pkl"):
                member = member.replace(b"stage", b"\xff\xfe\xfd\xfc\xfb", 1)
            new.writestr(name, member)
    return out.getvalue()


def test_a_pipe_as_labels_keeps_nobody_waiting(refused, bvh_folder, tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    words = ("--labels", tmp_path / "labels.csv")
    refused("prepare", "--bvh", bvh_folder, "--out", tmp_path / "out", *words)


def test_a_long_message_is_cut(refused, tmp_path):
    refused("sample", "--action", "x" * 5000, "--out", tmp_path / "a.npz")
