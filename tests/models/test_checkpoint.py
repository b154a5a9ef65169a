"""Checkpoints: whole or not at all, and every wrong one refused in a sentence."""

import errno
import json
import os
import resource
import shutil

import pytest
import torch

from models.checkpoint import (
    find_checkpoint,
    link_checkpoint,
    load_gpt,
    load_vqvae,
    read_info,
    save_checkpoint,
)
from models.errors import PoseGPTError
from models.sampling.generate import load_generator


@pytest.fixture
def copy(tmp_path, trained):
    """A checkpoint folder of a generator that may be damaged."""
    return shutil.copytree(find_checkpoint(trained["gpt"], "gpt"), tmp_path / "copy")


def test_a_generator_brings_its_tokenizer(trained):
    folder = find_checkpoint(trained["gpt"], "vqvae")
    assert folder.name == "tokenizer"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    load_vqvae(folder)


def test_half_precision_is_smaller_and_loads(tmp_path, trained):
    folder = find_checkpoint(trained["gpt"], "gpt")
    model, info = load_gpt(folder)
    save_checkpoint(tmp_path / "half", info, model.state_dict(), half=True)
    again, _ = load_gpt(tmp_path / "half")
    sizes = [(f / "model.safetensors").stat().st_size for f in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert next(again.parameters()).dtype == torch.float32
    torch.testing.assert_close(again.start, model.start, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("stage", ["vqvae", "gpt"])
def test_no_checkpoint(tmp_path, stage):
    (tmp_path / "notes.txt").write_text("hello")
    for path, message in [
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "notes.txt", "is a file"),
        (tmp_path, "holds no checkpoint"),
    ]:
        with pytest.raises(PoseGPTError, match=message) as refused:
            find_checkpoint(path, stage)
        assert f"posegpt train {stage}" in refused.value.hint


def test_other_stage_is_refused(trained):
    with pytest.raises(PoseGPTError, match="holds a vqvae, expected a gpt"):
        find_checkpoint(trained["vqvae"], "gpt")
    with pytest.raises(PoseGPTError, match="holds a gpt, expected a vqvae"):
        load_vqvae(find_checkpoint(trained["gpt"], "gpt"))


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b'{"stage": "gpt"}', b"\xff\xfe\x00"])
def test_damaged_config(copy, content):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(PoseGPTError, match="not a posegpt checkpoint"):
        read_info(copy)


def test_newer_format_and_unknown_key(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(PoseGPTError, match="format 99"):
        read_info(copy)
    config["network"]["gpt_nlayers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(PoseGPTError, match="gpt_nlayers"):
        load_gpt(copy)


def test_damaged_weights(copy):
    blob = bytearray((copy / "model.safetensors").read_bytes())
    (copy / "model.safetensors").write_bytes(blob[: len(blob) // 2])
    with pytest.raises(PoseGPTError, match="cannot be read"):
        load_gpt(copy)
    blob[-3] ^= 255
    (copy / "model.safetensors").write_bytes(blob)
    with pytest.raises(PoseGPTError, match="checksum"):
        load_gpt(copy)


def test_weights_of_another_size(copy):
    config = json.loads((copy / "config.json").read_text())
    config["network"]["gpt_nembd"] *= 2
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(PoseGPTError, match=r"expected .* got"):
        load_gpt(copy)


@pytest.mark.parametrize("limit", [100, 5_000])
def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(copy, limit):
    """Files may grow to `limit` bytes: the weights do not fit, or only the optimizer's state does not."""
    model, info = load_gpt(copy)
    weights = {name: t[:0] if t.dim() else t for name, t in model.state_dict().items()}
    state = {"state.pt": lambda file: torch.save(torch.zeros(10_000), file)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(PoseGPTError, match=r"cannot write the checkpoint .*stays as it was") as refused:
            save_checkpoint(copy, info, weights, extra=state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "resume=True" in refused.value.hint

    # The system's own words; torch's are "[enforce fail at inline_container.cc]".
    assert refused.value.message == (
        f"cannot write the checkpoint {copy}: {os.strerror(errno.EFBIG)}; the one before it stays as it was"
    )
    load_gpt(copy)
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_a_linked_checkpoint_is_the_same_and_outlives_the_other(copy):
    link_checkpoint(copy, copy.with_name("step-000006"))
    shutil.rmtree(copy)
    _, info = load_gpt(copy.with_name("step-000006"))
    assert info.stage == "gpt"


def test_a_generator_with_another_tokenizer_is_refused(copy, trained):
    _, info = load_gpt(copy)
    assert info.tokenizer_sha256 == read_info(copy / "tokenizer").weights_sha256
    load_generator(copy, "cpu")
    other, about = load_vqvae(copy / "tokenizer")
    other.embed.weight.mul_(2)
    save_checkpoint(copy / "tokenizer", about, other.state_dict())
    with pytest.raises(PoseGPTError, match="was trained with the tokenizer") as refused:
        load_generator(copy, "cpu")
    assert info.tokenizer_sha256[:12] in refused.value.message
