"""The data of a run: what it trains on, what it is validated on, and what is missing in it."""

import shutil

import pytest

from data.dataset import Windows
from data.store import find_store, open_store
from data.synthetic import make_store
from data.training_data import open_training_data
from models.errors import PoseGPTError
from models.training.config import ClassifierRun, GPTRun, VQVAERun

SMALL = {"seq_len": 64, "train_batch_size": 4}


@pytest.fixture
def root(tmp_path):
    return make_store(tmp_path / "data", n_clips=18)


def test_a_run_decides_its_windows(root, capsys):
    for run in (VQVAERun(**SMALL, seed=3), ClassifierRun(**SMALL), GPTRun(**SMALL, join_share=0.5)):
        data = open_training_data(run, root)
        batch = data.train.batch(1)
        train = Windows(open_store(find_store(root, "train")), run)
        assert batch.poses.equal(train.batch(1).poses)
        assert batch.labels.dim() == (3 if isinstance(run, GPTRun) else 2)
        assert data.info.labels == train.store.label_names and data.info.body_type == "smpl"
        assert data.info.names == () or data.info.names == train.store.own_names
        assert (data.n_short, data.n_clips, data.val_note) == (0, 6, "")
    assert capsys.readouterr() == ("", "")


def test_validation_is_on_the_split_of_that_name(root):
    data = open_training_data(VQVAERun(**SMALL), root)
    val = Windows(open_store(find_store(root, "val")), VQVAERun(**SMALL))
    assert next(iter(data.val.eval_batches())).poses.equal(next(iter(val.eval_batches())).poses)


def test_without_validation_clips_training_clips_are_used_and_said_so(root):
    shutil.rmtree(find_store(root, "val"))
    data = open_training_data(VQVAERun(**SMALL), root)
    assert "split 'val'" in data.val_note
    train = Windows(open_store(find_store(root, "train")), VQVAERun(**SMALL))
    assert next(iter(data.val.eval_batches())).poses.equal(next(iter(train.eval_batches())).poses)


def test_short_clips_are_counted_and_too_short_ones_refused(root):
    lengths = open_store(find_store(root, "train")).lengths
    longest = int(lengths.max())
    run = VQVAERun(seq_len=200, min_seq_len=longest, train_batch_size=4)
    assert open_training_data(run, root).n_short == int((lengths < longest).sum()) > 0
    with pytest.raises(PoseGPTError, match=f"has {longest + 1} frames"):
        open_training_data(run.replaced(min_seq_len=longest + 1), root)


def test_damaged_validation_clips_are_an_error(root):
    (find_store(root, "val") / "poses.npy").write_bytes(b"")
    with pytest.raises(PoseGPTError, match=r"poses\.npy"):
        open_training_data(VQVAERun(**SMALL), root)
