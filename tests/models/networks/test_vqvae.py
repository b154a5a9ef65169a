"""The tokenizers: what may depend on what, any length, every quantizer."""

import math

import pytest
import torch

from models.errors import SettingsError
from models.networks.config import VQVAEConfig
from models.networks.features import Root
from models.networks.layers import sine_positions
from models.networks.quantizer import Codebook, fsq_levels, make_quantizer, perplexity
from models.networks.resolution import PooledConv
from models.networks.vqvae import make_vqvae

MODELS = ("OfflineVQVAE", "CausalVQVAE", "OnlineVQVAE")
LAYOUTS = ({}, {"arch": "paper", "n_convs": 0}, {"frame_layers": 1})


def small(model="CausalVQVAE", factor=2, quantizer="pq", **more):
    torch.manual_seed(0)
    config = VQVAEConfig(
        model=model, factor=factor, quantizer=quantizer, n_codebook=2, n_e=64, e_dim=32, hid_dim=32,
        n_layers=2, heads=2, window=8, **more,
    )  # fmt: skip
    return make_vqvae(config).eval()


def motion(frames, batch=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    poses = torch.randn(batch, frames, 24, 3, generator=g) * 0.3
    return poses, torch.randn(batch, frames, 3, generator=g).cumsum(1) * 0.1


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_padding_changes_nothing(model, layout, factor):
    if model == "OnlineVQVAE" and "frame_layers" in layout:
        pytest.skip("it decodes token by token")
    vqvae = small(model, factor, **layout)
    poses, trans = motion(23, batch=3)
    length = torch.tensor([23, 9, 1])
    padded = vqvae(poses, trans, length).features
    for i, n in enumerate(length):
        cropped = vqvae(poses[i : i + 1, :n], trans[i : i + 1, :n], length[i : i + 1]).features
        torch.testing.assert_close(padded[i : i + 1, 1:n], cropped[:, 1:n], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(
    ("model", "layout"), [("CausalVQVAE", x) for x in LAYOUTS] + [("OnlineVQVAE", x) for x in LAYOUTS[:2]]
)
def test_tokens_do_not_see_later_frames(model, layout, factor):
    vqvae = small(model, factor, **layout)
    poses, trans = motion(24)
    length = torch.tensor([24])
    latents = vqvae.encode_latents(vqvae.features(poses, trans), length)
    for t in range(factor, 24, factor):
        other, elsewhere = motion(24, seed=t)
        changed = torch.cat([poses[:, :t], other[:, t:]], 1), torch.cat([trans[:, :t], elsewhere[:, t:]], 1)
        now = vqvae.encode_latents(vqvae.features(*changed), length)
        torch.testing.assert_close(now[:, : t // factor], latents[:, : t // factor])
        assert not torch.allclose(now[:, t // factor :], latents[:, t // factor :])


def test_offline_tokens_see_later_frames():
    vqvae = small("OfflineVQVAE")
    poses, trans = motion(24)
    length = torch.tensor([24])
    first = vqvae.encode_latents(vqvae.features(poses, trans), length)
    poses[:, 10:] += 0.5
    assert not torch.allclose(vqvae.encode_latents(vqvae.features(poses, trans), length)[:, 4], first[:, 4])


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_online_frames_do_not_see_later_tokens(layout, factor):
    vqvae = small("OnlineVQVAE", factor, **layout)
    g = torch.Generator().manual_seed(0)
    for frames in range(1, 71):
        latents = torch.randn(1, vqvae.n_tokens(frames), 32, generator=g)
        length = torch.tensor([frames])
        decoded = vqvae.decode_latents(latents, length)
        assert decoded.shape[1] == latents.shape[1] * factor
        for s in {1, latents.shape[1] // 2, latents.shape[1] - 1} - {0, latents.shape[1]}:
            changed = torch.cat([latents[:, :s], latents[:, s:] + 1], 1)
            now = vqvae.decode_latents(changed, length)
            torch.testing.assert_close(now[:, : s * factor], decoded[:, : s * factor])
            assert not torch.allclose(now[:, s * factor :], decoded[:, s * factor :])


@pytest.mark.parametrize("factor", [2, 4])
def test_frames_of_the_causal_decoder_see_later_tokens(factor):
    vqvae = small("CausalVQVAE", factor)
    latents, length = torch.randn(1, 10, 32), torch.tensor([10 * factor])
    first = vqvae.decode_latents(latents, length)[:, 0]
    latents[:, 5] += 1
    assert not torch.allclose(vqvae.decode_latents(latents, length)[:, 0], first)


@pytest.mark.parametrize("quantizer", ["pq", "rvq", "fsq"])
def test_codes_decode_to_what_the_forward_pass_gives(quantizer):
    vqvae = small(quantizer=quantizer)
    poses, trans = motion(20)
    length = torch.tensor([20])
    codes = vqvae.encode(poses, trans)
    assert codes.shape == (1, 10, 2)
    assert codes.min() >= 0
    assert codes.max() < 32
    forward = vqvae(poses, trans, length)
    latents = vqvae.quantizer.lookup(codes)
    torch.testing.assert_close(latents, forward.quantized.latents, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vqvae.decode_latents(latents, length), forward.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("quantizer", ["pq", "rvq", "fsq"])
def test_training_learns_and_reaches_the_encoder(quantizer):
    vqvae = small(quantizer=quantizer).train()
    poses, trans = motion(32, batch=8)
    length = torch.full((8,), 32)
    optimizer = torch.optim.AdamW(vqvae.parameters(), 3e-3)
    errors = []
    for _ in range(40):
        r = vqvae(poses, trans, length)
        loss = (r.features - r.target).square().mean() + 0.25 * r.quantized.commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert vqvae.embed.weight.grad.abs().sum() > 0
    assert errors[-1] < 0.7 * errors[0]


def test_decoding_starts_where_it_is_told():
    vqvae = small()
    start = Root(torch.tensor([1.0]), torch.tensor([[2.0, 0.0, 3.0]]))
    here = vqvae.decode(vqvae.encode(*motion(16)))
    there = vqvae.decode(vqvae.encode(*motion(16)), start)
    torch.testing.assert_close(there.trans[:, 0, ::2], torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(there.trans[..., 1], here.trans[..., 1])
    torch.testing.assert_close(
        there.trans.diff(dim=1).norm(dim=-1), here.trans.diff(dim=1).norm(dim=-1), atol=1e-5, rtol=1e-4
    )


def test_codebook_starts_on_data_and_revives_dead_codes():
    torch.manual_seed(0)
    book = Codebook(8, 2, decay=0.5)
    x = torch.randn(200, 2) + 50
    book.init_by_kmeans(x)
    assert (book.codes - 50).abs().max() < 10
    book.codes[0] = -1000.0
    book.sums[0] = -1000.0
    for _ in range(20):
        book.ema_update(x, book.nearest_codes(x))
    assert (book.codes - 50).abs().max() < 10


def test_an_ema_update_moves_codes_to_the_mean_of_their_latents():
    book = Codebook(2, 1, decay=0.0)
    book.ready.fill_(True)
    x = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    book.ema_update(x, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(book.codes, torch.tensor([[1.0], [11.0]]))


def test_nearest_is_nearest():
    torch.manual_seed(0)
    book = Codebook(16, 4, 0.9)
    x = torch.randn(50, 4)
    assert torch.equal(book.nearest_codes(x), torch.cdist(x, book.codes).argmin(-1))


def test_perplexity_by_hand():
    codes = torch.tensor([[0, 0], [1, 0], [2, 0], [3, 0]])
    torch.testing.assert_close(perplexity(codes, 4), torch.tensor([4.0, 1.0]))


@pytest.mark.parametrize(("n_codes", "levels"), [(256, (8, 6, 5)), (400, (8, 5, 5, 2))])
def test_fsq_uses_its_whole_grid_and_no_more(n_codes, levels):
    """Of two levels the lower one was never reached: half of the codes."""
    config = VQVAEConfig(quantizer="fsq", n_codebook=1, n_e=n_codes, e_dim=8, hid_dim=16, heads=2)
    torch.manual_seed(0)
    quantizer = make_quantizer(config)
    codes = quantizer(torch.randn(64, 500, 8) * 4, torch.ones(64, 500, dtype=torch.bool)).codes
    assert fsq_levels(n_codes) == levels
    assert codes.min() == 0
    assert codes.max() == math.prod(levels) - 1


def test_rvq_quantizer_dropout_leaves_books_out():
    vqvae = small(quantizer="rvq", quantizer_dropout=1.0).train()
    poses, trans = motion(16, batch=2)
    depths = {
        int((vqvae(poses, trans, torch.tensor([16, 16])).quantized.codes[0, 0] >= 0).sum()) for _ in range(20)
    }
    assert depths == {1, 2}


def test_config_refuses_what_does_not_fit():
    with pytest.raises(SettingsError, match="n_e"):
        VQVAEConfig(n_codebook=3, n_e=512)
    with pytest.raises(SettingsError, match="hid_dim"):
        VQVAEConfig(hid_dim=30, heads=4)
    with pytest.raises(SettingsError, match="n_codebook"):
        VQVAEConfig(n_cdebook=3)  # type: ignore[call-arg]  # a mistyped name


@torch.no_grad()
@pytest.mark.parametrize("factor", [2, 4])
def test_the_papers_tokens_decode_one_by_one_as_together(factor):
    vqvae = small("OnlineVQVAE", factor, arch="paper", n_convs=0)
    latents = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(0))
    together = vqvae.decode_latents(latents, torch.full((2,), 12 * factor))
    cache = vqvae.new_cache(2)
    parts = [vqvae.decode_latents(latents[:, s : s + 1], torch.full((2,), factor), cache) for s in range(12)]
    torch.testing.assert_close(torch.cat(parts, 1), together, atol=1e-4, rtol=1e-4)


def test_the_papers_pooling_by_hand():
    """Neither frames of another token nor those past the end reach a token, but through the convolution."""
    pool = PooledConv(1, 2, causal=True)
    pool.conv.weight.data = torch.tensor([[[0.0, 1.0]]])  # the frame itself
    pool.conv.bias.data.zero_()
    frames = torch.tensor([[3.0, 5.0, -1.0, -4.0]])[..., None]
    assert pool(frames, torch.ones(1, 4, dtype=torch.bool)).flatten().tolist() == [5.0, -1.0]
    pool.conv.weight.data = torch.tensor([[[1.0, 0.0]]])  # the frame before
    assert pool(frames, torch.ones(1, 4, dtype=torch.bool)).flatten().tolist() == [3.0, 5.0]


def test_sine_positions_by_hand():
    positions = sine_positions(3, 2, 4, torch.device("cpu"))
    angles = torch.tensor([[3.0, 0.03], [4.0, 0.04]])
    torch.testing.assert_close(positions[:, ::2], angles.sin())
    torch.testing.assert_close(positions[:, 1::2], angles.cos())
