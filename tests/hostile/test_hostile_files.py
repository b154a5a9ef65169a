"""Damaged and hostile stores, checkpoints, body models, tables and configs: refused, never run."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import Windows
from data.preparing.annotations import read_babel
from data.preparing.labels import table_labeller
from data.store import find_store, open_store
from data.synthetic import make_store
from models.body.body_files import read_model, write_model_files
from models.checkpoint import load_gpt, load_vqvae, save_checkpoint
from models.errors import PoseGPTError
from models.training.config import VQVAERun, WindowsConfig
from posegpt_cli.options.config_file import read_config_file
from tests.data.miniature import label, record, write_babel
from tests.hostile.mutations import WORDS, damaged, fuzz, other_json, survives

RECORDS = [
    record(1, "CMU/CMU/01/01_01_poses.npz", 3.0, seq=[label(["walk"])]),
    record(
        2, "KIT/KIT/3/walk_poses.npz", 2.0, frames=[label(["run", "jog"], 0.0, 1.5), label(None, 1.5, 2.0)]
    ),
]
DEEP = {"json": "[" * 100_000, "dict": '{"a":' * 100_000}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return find_store(make_store(tmp_path_factory.mktemp("data"), n_clips=6), "train")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return dict(write_model_files(tmp_path_factory.mktemp("bodies")))


def open_and_read(path: Path) -> None:
    found = open_store(path)
    found.verify()
    Windows(found, WindowsConfig(seq_len=8, train_batch_size=2)).batch(0)


@fuzz
@given(data=st.data())
def test_manifests(store, tmp_path, data):
    shutil.copytree(store, tmp_path / "s", dirs_exist_ok=True)
    document = json.loads((store / "manifest.json").read_text())
    (tmp_path / "s" / "manifest.json").write_text(data.draw(other_json(document)))
    survives(lambda: open_and_read(tmp_path / "s"))


@fuzz
@given(
    data=st.data(),
    name=st.sampled_from(("poses.npy", "starts.npy", "labels.npy", "clips.json")),
)
def test_files_of_a_store(store, tmp_path, data, name):
    shutil.copytree(store, tmp_path / "s", dirs_exist_ok=True)
    (tmp_path / "s" / name).write_bytes(data.draw(damaged((store / name).read_bytes())))
    survives(lambda: open_and_read(tmp_path / "s"))


def test_a_manifest_leads_nowhere_else(store, tmp_path):
    shutil.copytree(store, tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    for elsewhere in ("../outside.npy", "/etc/passwd", str(tmp_path / "outside.npy")):
        document = json.loads((store / "manifest.json").read_text())
        document["files"][elsewhere] = document["files"].pop("poses.npy")
        manifest.write_text(json.dumps(document))
        with pytest.raises(PoseGPTError):
            open_and_read(tmp_path / "s")


@fuzz
@given(data=st.data())
def test_checkpoint_configs(trained, tmp_path, data):
    source = trained["vqvae"] / "checkpoints" / "best"
    shutil.copytree(source, tmp_path / "c", dirs_exist_ok=True)
    document = json.loads((source / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(data.draw(other_json(document)))
    survives(lambda: load_vqvae(tmp_path / "c"))


@fuzz
@given(data=st.data())
def test_checkpoint_weights(trained, tmp_path, data):
    source = trained["vqvae"] / "checkpoints" / "best"
    shutil.copytree(source, tmp_path / "c", dirs_exist_ok=True)
    weights = (source / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(weights[:8], "little")
    (tmp_path / "c" / "model.safetensors").write_bytes(
        data.draw(damaged(weights[:header])) + weights[header:]
    )
    document = json.loads((source / "config.json").read_text()) | {"weights_sha256": ""}
    (tmp_path / "c" / "config.json").write_text(json.dumps(document))
    survives(lambda: load_vqvae(tmp_path / "c"))


def test_a_pickle_called_safetensors_is_not_run(trained, tmp_path):
    source = trained["gpt"] / "checkpoints" / "best"
    shutil.copytree(source, tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(PoseGPTError):
        load_gpt(tmp_path / "c")
    assert not (tmp_path / "ran").exists()


def test_networks_larger_than_all_memory_are_refused(trained, tmp_path):
    """A config of a few bytes must not make a network of terabytes."""
    source = trained["vqvae"] / "checkpoints" / "best"
    shutil.copytree(source, tmp_path / "c")
    document = json.loads((source / "config.json").read_text())
    document["network"] |= {"hid_dim": 2_000_000, "n_layers": 20}
    (tmp_path / "c" / "config.json").write_text(json.dumps(document))
    survives(lambda: load_vqvae(tmp_path / "c"))


@fuzz
@given(data=st.data())
def test_babel(tmp_path, data):
    write_babel(tmp_path, train=RECORDS)
    document = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.json").write_text(data.draw(other_json(document)))
    survives(lambda: read_babel(tmp_path / "train.json"))


@fuzz
@given(data=st.data())
def test_babel_bytes(tmp_path, data):
    write_babel(tmp_path, train=RECORDS)
    (tmp_path / "train.json").write_bytes(data.draw(damaged((tmp_path / "train.json").read_bytes())))
    survives(lambda: read_babel(tmp_path / "train.json"))


@fuzz
@given(data=st.data(), suffix=st.sampled_from((".csv", ".json")))
def test_label_tables(tmp_path, data, suffix):
    whole = {".csv": b"clip,labels\na,walk|run\nb,wave\n", ".json": b'{"a": ["walk", "run"], "b": "wave"}'}[
        suffix
    ]
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(data.draw(damaged(whole)))
    survives(lambda: table_labeller(path)(Path("a.bvh")))


@fuzz
@given(data=st.data())
def test_configs(tmp_path, data):
    whole = b"learning_rate: 0.001\nname: a\nnetwork:\n  hid_dim: 32\n  quantizer: rvq\nlosses: {loss: l1}\n"
    (tmp_path / "run.yaml").write_bytes(data.draw(damaged(whole)))
    survives(lambda: read_config_file(tmp_path / "run.yaml", VQVAERun))


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.system ['touch ran']",
        "!!python/object/new:os.system [touch ran]",
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nseed: *c",
        "a: &a [*a]",
    ],
)
def test_yaml_tags_and_anchors(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text)
    with pytest.raises(PoseGPTError):
        read_config_file(Path("run.yaml"), VQVAERun)
    assert not Path("ran").exists()


@pytest.mark.parametrize("kind", DEEP)
def test_deep_json(store, trained, tmp_path, kind):
    """Nested a hundred thousand times: beyond the parser's recursion."""
    text = DEEP[kind]
    shutil.copytree(store, tmp_path / "s")
    (tmp_path / "s" / "manifest.json").write_text(text)
    shutil.copytree(trained["vqvae"] / "checkpoints" / "best", tmp_path / "c")
    (tmp_path / "c" / "config.json").write_text(text)
    for name in ("train.json", "labels.json", "run.yaml"):
        (tmp_path / name).write_text(text)
    for read in (
        lambda: open_store(tmp_path / "s"),
        lambda: load_vqvae(tmp_path / "c"),
        lambda: read_babel(tmp_path / "train.json"),
        lambda: table_labeller(tmp_path / "labels.json"),
        lambda: read_config_file(tmp_path / "run.yaml", VQVAERun),
    ):
        with pytest.raises(PoseGPTError):
            read()


@fuzz
@given(data=st.data())
def test_body_models(models, tmp_path, data):
    whole = models["smplh"]
    folder = tmp_path / "smplh"
    folder.mkdir(exist_ok=True)
    content = whole.read_bytes()
    # Where names, sizes and headers stand; the numbers between them are any numbers.
    ends = data.draw(damaged(content[:400])) + content[400:-1500] + data.draw(damaged(content[-1500:]))
    (folder / whole.name).write_bytes(ends)
    survives(lambda: read_model("smplh", tmp_path))


@fuzz
@given(data=st.data())
def test_body_pickles(tmp_path, data):
    arrays = {"v_template": np.zeros((6, 3)), "f": np.zeros((2, 3), int), "weights": np.eye(6, 24)}
    (tmp_path / "smpl").mkdir(exist_ok=True)
    pickled = pickle.dumps(arrays, protocol=data.draw(st.sampled_from((0, 2, 4))))
    (tmp_path / "smpl" / "SMPL_NEUTRAL.pkl").write_bytes(data.draw(damaged(pickled)))
    survives(lambda: read_model("smpl", tmp_path))


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("word", WORDS)
def test_saved_is_read_back_whatever_was_there(trained, tmp_path, word):
    """Writing over a damaged checkpoint makes it whole again."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_bytes(word)
    model, info = load_vqvae(trained["vqvae"] / "checkpoints" / "best")
    save_checkpoint(tmp_path / "c", info, model.state_dict())
    assert load_vqvae(tmp_path / "c")[1].stage == "vqvae"
