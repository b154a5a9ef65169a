"""Fused operations: each against its plain twin, values and gradients, and whole networks both ways."""

from collections.abc import Callable

import pytest
import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_step import plain_sixd_to_rotmat, plain_step
from models.networks import fused
from models.networks.condition import Condition
from models.networks.config import GPTConfig, VQVAEConfig
from models.networks.features import sixd_to_rotmat
from models.networks.gpt import GPT
from models.networks.layers import ConvBlock, Rotary
from models.networks.vqvae import make_vqvae

SMALL = GPTConfig(n_codebook=2, codes_per_book=16, n_labels=3, gpt_blocksize=16, gpt_nlayer=2, gpt_nembd=64)


def values_and_gradients(f: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """What f gives, and the gradient of each input through it."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = f(*leaves)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def assert_same(fused_way: Callable[..., Tensor], plain_way: Callable[..., Tensor], *inputs: Tensor) -> None:
    pairs = zip(
        values_and_gradients(fused_way, *inputs), values_and_gradients(plain_way, *inputs), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def norm_of(weight: Tensor) -> nn.RMSNorm:
    norm = nn.RMSNorm(len(weight))
    del norm.weight
    norm.weight = weight
    return norm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_rms_norm():
    def ours(x, weight):
        return fused.rms_norm(x, norm_of(weight))

    def plain(x, weight):
        return F.rms_norm(x, (32,), weight)

    assert_same(ours, plain, torch.randn(3, 7, 32), torch.randn(32))


def test_swiglu():
    def plain(up):
        gate, value = up.chunk(2, -1)
        return F.silu(gate) * value

    assert_same(fused.swiglu, plain, torch.randn(9, 24))


def test_rows_are_taken():
    rows = torch.tensor([4, 0, 7])
    assert_same(lambda x: fused.take_rows(x, rows), lambda x: x[rows], torch.randn(9, 5))


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("n_frames", [1, 2, 6])
def test_three_frames(before, n_frames):
    def plain(x):
        padded = F.pad(x, (0, 0, before, 2 - before))
        return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1)

    assert_same(lambda x: fused.three_frames(x, before), plain, torch.randn(2, n_frames, 5))


@pytest.mark.parametrize("causal", [True, False])
def test_the_convolution_as_one_product(causal):
    block = ConvBlock(16, causal)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    x = torch.randn(2, 9, 16)
    ours = values_and_gradients(lambda x: block(x, mask), x)
    weights = [p.grad.clone() for p in block.parameters()]
    block.zero_grad()
    with plain_step():
        plain = values_and_gradients(lambda x: block(x, mask), x)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    for one, p in zip(weights, block.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_attention(packed, dropout):
    batch, length, heads, width = 3, 7, 2, 16
    lengths = torch.tensor([7, 2, 5])
    everywhere = torch.arange(batch * length)
    rows = everywhere[everywhere % length < lengths.repeat_interleave(length)] if packed else everywhere
    rotary = Rotary.at(0, length, width, torch.device("cpu"))
    cos, sin = rotary.cos[:, None, None], rotary.sin[:, None, None]
    hidden = ~torch.ones(length, length, dtype=torch.bool).tril()
    plan = fused.AttentionPlan(batch, length, heads, rows if packed else None, hidden, cos, sin)
    masks = fused.DropoutMasks(batch * heads * length**2, torch.float32)
    dropped = masks.next((batch, heads, length, length), dropout) if dropout else None

    def ours(qkv, q_weight, k_weight):
        return fused.attention(qkv, norm_of(q_weight), norm_of(k_weight), plan, dropped)

    def plain(qkv, q_weight, k_weight):
        whole = torch.zeros(batch * length, qkv.shape[1]).index_copy(0, rows, qkv)
        q, k, v = whole.view(batch, length, 3, heads, width).permute(2, 0, 3, 1, 4).unbind()
        q = rotary.turn(F.rms_norm(q, (width,), q_weight))
        k = rotary.turn(F.rms_norm(k, (width,), k_weight))
        scores = (q @ k.transpose(-1, -2) / width**0.5).masked_fill(hidden, -torch.inf)
        shares = scores.softmax(-1)
        y = (shares if dropped is None else shares * dropped) @ v
        return y.transpose(1, 2).reshape(batch * length, -1)[rows]

    qkv = torch.randn(len(rows), 3 * heads * width)
    assert_same(ours, plain, qkv, torch.rand(width) + 0.5, torch.rand(width) + 0.5)


def test_attention_leaves_its_input_as_it_was():
    """Without autocast the norm once worked in place on what it was given."""
    qkv = torch.randn(6, 3 * 2 * 8, requires_grad=True)
    before = qkv.detach().clone()
    one = torch.ones(3, 1, 1, 8)
    plan = fused.AttentionPlan(2, 3, 2, None, torch.zeros(3, 3, dtype=torch.bool), one, 0 * one)
    fused.attention(qkv, nn.RMSNorm(8), nn.RMSNorm(8), plan, None).sum().backward()
    assert torch.equal(qkv, before)


def test_dropout_masks_keep_the_mean_and_differ():
    masks = fused.DropoutMasks(10_000, torch.float32)
    one, other = masks.next((100, 100), 0.1), masks.next((100, 100), 0.1)
    assert len(one.unique()) == 2
    assert abs(float(one.mean()) - 1) < 0.02
    assert abs(float((one == 0).float().mean()) - 0.1) < 0.02
    assert not torch.equal(one, other)
    torch.manual_seed(0)
    assert torch.equal(fused.DropoutMasks(10_000, torch.float32).next((100, 100), 0.1), one)


def test_six_numbers_to_rotations():
    sixd = torch.randn(5, 3, 6, dtype=torch.double)
    assert_same(sixd_to_rotmat, plain_sixd_to_rotmat, sixd)
    assert_same(sixd_to_rotmat, lambda x: roma.special_gramschmidt(x.unflatten(-1, (3, 2))), sixd)


def gradients(network: nn.Module, loss: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad()
    value = loss()
    value.backward()
    return value.detach(), {
        name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("gen_eos", [False, True])
@pytest.mark.parametrize("head", ["autoregressive", "independent", "mlp"])
@pytest.mark.parametrize("n_tokens", [7, 8])
def test_the_generators_loss_of_rows_is_the_loss_of_all(gen_eos, head, n_tokens):
    """Only positions that predict something are computed on a CPU: that must change nothing."""
    config = GPTConfig(
        n_codebook=3, codes_per_book=16, n_labels=5, gpt_blocksize=8, gpt_nlayer=2, gpt_nhead=2,
        gpt_nembd=32, gen_eos=gen_eos, head=head,
    )  # fmt: skip
    gpt = GPT(config).eval()
    for p in gpt.parameters():
        p.data += torch.randn_like(p) * 0.1
    codes = torch.randint(16, (4, n_tokens, 3))
    length = torch.tensor([n_tokens, 3, 1, 5])
    ended = torch.tensor([True, False, True, True])
    condition = Condition.of(torch.eye(5)[:4], length)

    def loss():
        return gpt.loss(codes, length, condition, ended)

    ours = gradients(gpt, loss)
    with plain_step():
        plain = gradients(gpt, loss)
    torch.testing.assert_close(ours[0], plain[0])
    assert ours[1].keys() == plain[1].keys()
    for name, gradient in plain[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("model", ["OfflineVQVAE", "CausalVQVAE", "OnlineVQVAE"])
def test_the_tokenizer_is_the_same_both_ways(model):
    config = VQVAEConfig(
        model=model, n_codebook=2, n_e=64, e_dim=32, hid_dim=32, n_layers=2, heads=2, window=4
    )
    vqvae = make_vqvae(config).eval()
    poses, trans = torch.randn(2, 11, 24, 3) * 0.3, torch.randn(2, 11, 3).cumsum(1) * 0.1
    length = torch.tensor([11, 6])

    def loss():
        found = vqvae(poses, trans, length)
        return found.features.square().mean() + found.quantized.commitment

    ours = gradients(vqvae, loss)
    with plain_step():
        plain = gradients(vqvae, loss)
    torch.testing.assert_close(ours[0], plain[0])
    for name, gradient in plain[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_half_precision_stays_close():
    config = GPTConfig(
        n_codebook=2, codes_per_book=16, n_labels=3, gpt_blocksize=16, gpt_nlayer=2, gpt_nembd=64
    )
    gpt = GPT(config).eval()
    codes, length = torch.randint(16, (4, 12, 2)), torch.tensor([12, 9, 4, 12])
    condition = Condition.of(torch.eye(3)[torch.tensor([0, 1, 2, 0])], length)
    exact = gpt.loss(codes, length, condition)
    with torch.autocast("cpu", torch.bfloat16):
        half = gpt.loss(codes, length, condition)
    half.backward()
    torch.testing.assert_close(half, exact, atol=0.02, rtol=0.01)


def test_training_with_dropout_is_the_same_again_from_the_same_random_state():
    config = GPTConfig(
        n_codebook=2, codes_per_book=16, n_labels=3, gpt_blocksize=16, gpt_nlayer=2, gpt_nembd=64
    )
    gpt = GPT(config).train()
    codes, length = torch.randint(16, (4, 12, 2)), torch.tensor([12, 9, 4, 12])
    condition = Condition.of(torch.eye(3)[torch.tensor([0, 1, 2, 0])], length)
    state = torch.get_rng_state()
    first = gradients(gpt, lambda: gpt.loss(codes, length, condition))
    later = gpt.loss(codes, length, condition)
    torch.set_rng_state(state)
    again = gradients(gpt, lambda: gpt.loss(codes, length, condition))
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], later)
    assert all(torch.equal(first[1][name], again[1][name]) for name in first[1])
