"""Tokens on disk: what comes out is what the tokenizer makes, whatever was written and by whom."""

import multiprocessing
import os
import time

import pytest
import torch

from data.dataset import Windows
from data.store import find_store, open_store
from data.synthetic import make_store
from models.errors import PoseGPTError
from models.training.config import FrameLabelWindowsConfig, WindowsConfig
from models.training.data_source import DataInfo, TrainingData
from models.training.stages.gpt_stage import GPTStage
from models.training.stages.make_stage import make_stage
from models.training.stages.token_cache import TokenCache
from models.training.train import train
from tests.models.small import gpt_run, vqvae_run

INDICES = torch.arange(4 * 6 * 2).reshape(4, 6, 2) * 1000


def test_rows_come_back_and_only_those_written(tmp_path):
    cache = TokenCache(tmp_path / "new", {"a": 1}, 6, 2)
    assert cache.read(torch.tensor([0])) is None
    cache.write(torch.tensor([7, 2, 9, 3]), INDICES)
    assert torch.equal(cache.read(torch.tensor([3, 7])), INDICES[[3, 0]])
    assert cache.read(torch.tensor([3, 4])) is None and cache.read(torch.tensor([3, 10])) is None
    assert cache.read(torch.tensor([7])).dtype == torch.int64
    again = TokenCache(tmp_path / "new", {"a": 1}, 6, 2)
    assert torch.equal(again.read(torch.tensor([9])), INDICES[2:3])
    assert TokenCache(tmp_path / "new", {"a": 2}, 6, 2).read(torch.tensor([9])) is None


def test_the_largest_index_fits(tmp_path):
    cache = TokenCache(tmp_path, {}, 1, 1)
    cache.write(torch.tensor([0]), torch.tensor([[[65534]]]))
    assert cache.read(torch.tensor([0])).item() == 65534


def test_a_torn_row_counts_as_missing(tmp_path):
    cache = TokenCache(tmp_path, {}, 6, 2)
    cache.write(torch.tensor([0, 1]), INDICES[:2])
    os.truncate(cache.path, 24 + 10)
    assert cache.read(torch.tensor([1])) is None and torch.equal(cache.read(torch.tensor([0])), INDICES[:1])


def test_a_disk_that_refuses_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoseGPTError, match="cannot write") as caught:
        TokenCache(tmp_path / "file", {}, 6, 2).write(torch.tensor([0]), INDICES[:1])
    assert "token_copies=0" in caught.value.hint


def _write_forever(folder):
    cache = TokenCache(folder, {}, 6, 2)
    while True:
        cache.write(torch.randperm(50)[:4], INDICES)


def test_rows_are_whole_while_others_write_and_die(tmp_path):
    # Each writer puts any of four rows' contents anywhere: what is read must be one of them.
    workers = [
        multiprocessing.get_context("fork").Process(target=_write_forever, args=(tmp_path,)) for _ in "ab"
    ]
    for worker in workers:
        worker.start()
    cache, seen = TokenCache(tmp_path, {}, 6, 2), 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if (row := cache.read(torch.randint(50, (1,)))) is not None:
            seen += 1
            assert any(torch.equal(row[0], whole) for whole in INDICES)
    for worker in workers:
        worker.kill()
        worker.join()
    assert seen > 10


@pytest.fixture(scope="module")
def dancers(tmp_path_factory):
    """A small store, a tokenizer of it, and what training must know of it."""
    root = tmp_path_factory.mktemp("dancers")
    store = open_store(find_store(make_store(root / "data", n_clips=12), "train"))
    m = store.manifest
    info = DataInfo(m.label_names, m.body_type, m.fps, m.fingerprint)
    config = WindowsConfig(seq_len=16, min_seq_len=8, train_batch_size=4)
    data = Windows(store, config)
    train(vqvae_run(), root / "vqvae", TrainingData(info, data, data))
    return store, root / "vqvae", info


def windows(store, copies=1):
    sizes = {"seq_len": 16, "min_seq_len": 8, "train_batch_size": 8}
    config = FrameLabelWindowsConfig(**sizes, seed=1, join_share=0.5, token_copies=copies)
    return Windows(store, config)


def stage_of(dancers, out, **more) -> GPTStage:
    run = gpt_run(dancers[1], out=out, min_seq_len=8, train_batch_size=8, **more)
    return make_stage(run, dancers[2])


def test_cached_tokens_are_those_of_the_tokenizer(dancers, tmp_path):
    stage, data = stage_of(dancers, tmp_path), windows(dancers[0])
    later = data.n_steps + 1
    first = data._repeated(later)
    made = stage.prepare_batch(data.batch(first))
    assert len(list((tmp_path / "tokens").iterdir())) == 1
    stage._tokenize = None  # what comes again is not tokenised again
    again = stage.prepare_batch(data.batch(later))
    assert torch.equal(made.tokens, again.tokens) and torch.equal(made.poses, again.poses)
    assert stage(again, 0)["nll"].isfinite()
    with pytest.raises(TypeError):
        stage.prepare_batch(data.batch((first + 1) % data.n_steps))


def test_a_window_cut_short_has_the_first_tokens_of_the_whole(dancers, tmp_path):
    stage = stage_of(dancers, tmp_path)
    drawn = stage.prepare_batch(windows(dancers[0]).batch(0))
    shorter = drawn.length < windows(dancers[0]).batch(0).length
    assert shorter.any() and not (drawn.length[shorter] % 2).any()
    own = stage._tokenize(drawn, drawn.length)
    for row, n in enumerate(stage._n_tokens(drawn.length).tolist()):
        assert torch.equal(own[row, :n], drawn.tokens[row, :n])


def test_other_settings_are_another_cache(dancers, tmp_path):
    paths = {
        stage_of(dancers, tmp_path, **more)._cache.path
        for more in (
            {},
            {"seed": 5},
            {"join_share": 0.1},
            {"precision": "bf16-mixed"},
            {"learning_rate": 1e-5},
        )
    }
    assert len(paths) == 4
    assert stage_of(dancers, tmp_path, token_copies=0)._cache is None


@pytest.mark.parametrize("copies", [0, 1])
def test_training_with_and_without_kept_tokens_is_the_same(dancers, tmp_path, copies):
    """Until the batches come again: the cache changes no weight, and neither does finding it filled."""
    from safetensors.torch import load_file

    run = gpt_run(dancers[1], out=tmp_path, min_seq_len=8, train_batch_size=8, token_copies=copies, iter=3)
    weights = []
    for name, data in (
        ("a", windows(dancers[0], copies)),
        ("b", windows(dancers[0], copies)),
        ("c", windows(dancers[0], 0)),
    ):
        result = train(run, tmp_path / name, TrainingData(dancers[2], data, windows(dancers[0], 0)))
        weights.append(load_file(result.folder / "checkpoints" / "last" / "model.safetensors"))
    assert (tmp_path / "tokens").exists() == bool(copies)
    assert all(torch.equal(weights[0][k], other[k]) for other in weights[1:] for k in weights[0])
