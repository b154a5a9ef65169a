"""The generator and its sampling: cache against full recomputation, every condition, every draw."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from models.config import upgrade_names
from models.distributed import float64_device
from models.errors import PoseGPTError, SettingsError
from models.networks.condition import Condition
from models.networks.config import GPTConfig
from models.networks.gpt import GPT
from models.networks.inference import bare, lay_out_for_products
from models.networks.layers import sine_positions
from models.sampling.sampler import CodeRequest, sample_codes, sample_from
from models.sampling.settings import CodeSettings
from models.training.config import GPTRun


def small(**more):
    torch.manual_seed(0)
    sizes = {"n_codebook": 3, "codes_per_book": 16, "n_labels": 5, "gpt_blocksize": 8}
    config = GPTConfig(**sizes | {"gpt_nlayer": 2, "gpt_nhead": 2, "gpt_nembd": 32} | more)
    gpt = GPT(config).eval()
    for p in gpt.parameters():  # away from the timid initial weights, so that differences show
        p.data += torch.randn_like(p) * 0.2
    return gpt


def condition(*labels, duration=8):
    k_hot = torch.zeros(len(labels), 5)
    for row, label in enumerate(labels):
        k_hot[row, label] = 1
    return Condition.of(k_hot, torch.full((len(labels),), duration))


def rngs(*values):
    return [torch.Generator().manual_seed(v) for v in values]


@pytest.mark.parametrize("arch", ["modern", "paper"])
@pytest.mark.parametrize("head", ["autoregressive", "independent", "mlp"])
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("concat", [True, False])
@torch.no_grad()
def test_cached_equals_full(arch, head, every, concat):
    gpt = small(arch=arch, head=head, embed_every_step=every, concat_emb=concat)
    given, codes = condition(1, 2), torch.randint(16, (2, 7, 3))
    cache, added = gpt.blocks.new_cache(2, 8), gpt.embed_condition(given, 8)
    hidden = [gpt.extend(part, added, cache) for part in codes[:, :6].split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(hidden, 1), gpt.hidden(codes[:, :-1], given), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arch", ["modern", "paper"])
def test_a_bare_twin_computes_the_same_with_the_same_weights(arch):
    gpt, codes = small(arch=arch), torch.randint(16, (2, 7, 3))
    twin = bare(gpt)
    assert torch.equal(twin(codes, condition(1, 2)), gpt(codes, condition(1, 2)))
    assert twin.blocks[0].attn.qkv.weight is gpt.blocks[0].attn.qkv.weight


@pytest.mark.parametrize("arch", ["modern", "paper"])
def test_weights_laid_out_for_products_keep_their_values(arch):
    gpt, codes = small(arch=arch), torch.randint(16, (2, 7, 3))
    before, expected = deepcopy(gpt.state_dict()), gpt(codes, condition(1, 2))
    lay_out_for_products(gpt)
    # Wider than its input; the other way round, rows are the longer side already.
    assert gpt.blocks[0].attn.qkv.weight.t().is_contiguous()
    down = gpt.blocks[0].mlp.down if arch == "modern" else gpt.blocks[0].mlp[2]
    assert down.weight.is_contiguous()
    for name, weight in gpt.state_dict().items():
        assert torch.equal(weight, before[name])
    torch.testing.assert_close(gpt(codes, condition(1, 2)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["autoregressive", "independent", "mlp"])
def test_books_one_by_one_equal_all_at_once(head):
    gpt = small(head=head)
    codes = torch.randint(16, (2, 7, 3))
    logits = gpt(codes, condition(1, 2))
    hidden = gpt.hidden(codes[:, :-1], condition(1, 2))
    known = hidden[:, 4]
    for k in range(3):
        torch.testing.assert_close(gpt.head.logits_of(k, known), logits[:, 4, k], atol=1e-5, rtol=1e-4)
        known = gpt.head.with_code(k, known, codes[:, 4, k])


@pytest.mark.parametrize("head", ["autoregressive", "independent", "mlp"])
def test_logits_see_the_past_only(head):
    gpt = small(head=head)
    codes = torch.randint(16, (1, 7, 3))
    logits = gpt(codes, condition(0))
    changed = codes.clone()
    changed[:, 4, 1] = (changed[:, 4, 1] + 1) % 16
    now = gpt(changed, condition(0))
    torch.testing.assert_close(now[:, :4], logits[:, :4])
    torch.testing.assert_close(now[:, 4, :2], logits[:, 4, :2])
    assert torch.allclose(now[:, 4, 2], logits[:, 4, 2]) == (head != "autoregressive")
    assert not torch.allclose(now[:, 5], logits[:, 5])


@pytest.mark.parametrize("on", [True, False])
def test_each_condition_counts_when_on_and_not_when_off(on):
    codes = torch.randint(16, (1, 7, 3))
    by_class, by_length = small(class_conditional=on), small(seqlen_conditional=on)
    assert torch.equal(by_class(codes, condition(0)), by_class(codes, condition(1))) != on
    assert torch.equal(by_length(codes, condition(0)), by_length(codes, condition(0, duration=5))) != on


def test_hidden_labels_do_not_count():
    gpt, codes = small(), torch.randint(16, (1, 7, 3))
    torch.testing.assert_close(gpt(codes, condition(0).hidden()), gpt(codes, condition(1).hidden()))


def test_labels_per_token_act_from_their_token_on():
    gpt, codes = small(), torch.randint(16, (1, 7, 3))
    walk = torch.eye(5)[torch.tensor([[0] * 7])]
    wave = torch.eye(5)[torch.tensor([[0] * 4 + [1] * 3])]
    duration = torch.tensor([7])
    a, b = gpt(codes, Condition.of(walk, duration)), gpt(codes, Condition.of(wave, duration))
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])
    torch.testing.assert_close(a, gpt(codes, condition(0, duration=7)))


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_seed_gives_the_same_alone_and_among_others(guidance):
    gpt = small()
    settings = CodeSettings(guidance=guidance, top_p=0.95)
    batch = sample_codes(gpt, CodeRequest(condition(1, 2, 3), rngs(5, 6, 7), settings), 20).codes
    alone = sample_codes(gpt, CodeRequest(condition(2), rngs(6), settings), 20).codes
    assert torch.equal(batch[1:2], alone)
    assert not torch.equal(batch[1], batch[2])
    assert batch.shape == (3, 20, 3)  # 20 tokens, though attention sees 8


def test_the_past_is_kept():
    gpt, past = small(), torch.randint(16, (1, 4, 3))
    codes = sample_codes(gpt, CodeRequest(condition(1), rngs(0), CodeSettings(), past=past), 10).codes
    assert torch.equal(codes[:, :4], past)
    assert codes.shape[1] == 10


def test_greedy_is_the_argmax_of_the_full_forward():
    gpt = small(head="independent")
    codes = sample_codes(
        gpt, CodeRequest(condition(1), rngs(0), CodeSettings(greedy=True, guidance=1)), 6
    ).codes
    assert torch.equal(gpt(codes, condition(1)).argmax(-1), codes)


@torch.no_grad()
def test_beyond_the_block_the_newer_half_is_computed_anew():
    gpt, first = small(head="independent"), 0
    labels = torch.eye(5)[torch.tensor([[0] * 11 + [1] * 9])]
    given = Condition.of(labels, torch.tensor([8]))
    codes = sample_codes(gpt, CodeRequest(given, rngs(0), CodeSettings(greedy=True, guidance=1)), 20).codes
    for s in range(20):
        if s - first == 8:
            first += 4
        seen = gpt.hidden(codes[:, first:s], replace(given, labels=labels[:, first:]))[:, -1]
        assert torch.equal(gpt.head.logits_of(0, seen).argmax(-1), codes[:, s, 0])


def test_draw_follows_the_distribution_and_its_cuts():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, 4)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0))

    def shares(**settings):
        return torch.bincount(sample_from(logits, uniform, CodeSettings(**settings)), minlength=4) / 4000

    torch.testing.assert_close(shares(), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03, rtol=0)
    torch.testing.assert_close(shares(top_k=2), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    torch.testing.assert_close(shares(top_p=0.7), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    torch.testing.assert_close(shares(min_p=0.4), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    torch.testing.assert_close(shares(top_k=1), torch.tensor([1.0, 0, 0, 0]))
    assert shares(temperature=0.5)[0] > 0.6


def test_what_apples_gpus_cannot_compute_is_drawn_on_the_cpu():
    """They have no float64, and ended every run that sampled on them."""
    assert float64_device(torch.device("mps")).type == "cpu"
    assert float64_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}, {"min_p": 2}, {"guidance": -1},
     {"guidance": float("inf")}, {"temperature": float("inf")}],
)  # fmt: skip
def test_wrong_sampling_is_refused(wrong):
    with pytest.raises(PoseGPTError):
        CodeSettings(**wrong)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_end_comes_where_it_is_sampled(guidance):
    gpt = small(gen_eos=True)
    settings = CodeSettings(guidance=guidance)
    never = sample_codes(gpt, CodeRequest(condition(0, 1), rngs(0, 1), settings), 30)
    assert never.n_tokens.tolist() == [30, 30]
    with torch.no_grad():
        gpt.head.out[0, :, 16] = 0
        gpt.head.out[0] *= 0.1  # all about equally likely, the end too
    ending = sample_codes(gpt, CodeRequest(condition(0, 1), rngs(0, 1), settings, until_end=True), 99)
    assert ending.n_tokens.max() < 99
    assert ending.codes.shape[1] == ending.n_tokens.max() + 1
    alone = sample_codes(gpt, CodeRequest(condition(1), rngs(1), settings, until_end=True), 99)
    assert alone.n_tokens[0] == ending.n_tokens[1]
    assert torch.equal(alone.codes[0, : alone.n_tokens[0]], ending.codes[1, : alone.n_tokens[0]])


def test_half_a_block_holds_a_token():
    """What is computed anew where the block is full; of a block of one it was nothing."""
    gpt = small(gpt_blocksize=2)
    assert sample_codes(gpt, CodeRequest(condition(1), rngs(0), CodeSettings()), 5).codes.shape == (1, 5, 3)
    with pytest.raises(SettingsError, match="gpt_blocksize"):
        small(gpt_blocksize=1)


def test_only_clips_that_end_teach_the_end():
    gpt = small(gen_eos=True)
    codes, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 4])
    cut = gpt.loss(codes, length, condition(0, 1), torch.tensor([False, False]))
    both = gpt.loss(codes, length, condition(0, 1))
    second = gpt.loss(codes, length, condition(0, 1), torch.tensor([False, True]))
    assert cut < second < both


@pytest.mark.parametrize("n_tokens", [7, 8])
@pytest.mark.parametrize("arch", ["modern", "paper"])
def test_the_end_is_learned_at_the_token_after_the_last(arch, n_tokens):
    """Of each clip by itself; one that fills the block of 8 tokens has no room for it."""
    gpt = small(arch=arch, gen_eos=True)
    codes, length = torch.randint(16, (3, n_tokens, 3)), torch.tensor([n_tokens, 4, 1])
    total = 0.0
    for i, n in enumerate(length.tolist()):
        clip, only = codes[i : i + 1, :n], condition(i)
        total += F.cross_entropy(gpt(clip, only).flatten(0, 2), clip.flatten(), reduction="sum")
        if n < 8:
            last = gpt.hidden(clip, only)[:, -1]
            total -= gpt.head.logits_of(0, last).log_softmax(-1)[0, 16]
    torch.testing.assert_close(gpt.loss(codes, length, condition(0, 1, 2)), total / (3 * length.sum()))


def test_the_blocks_run_alike_whether_clips_end_or_not():
    """Where processes share the weights all of them meet in each block: one that stays away hangs all."""
    gpt, runs = small(gen_eos=True), []
    gpt.blocks[0].register_forward_hook(lambda *_: runs.append(None))
    codes, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 4])
    for ended in ([False, False], [True, False]):
        gpt.loss(codes, length, condition(0, 1), torch.tensor(ended)).backward()
    assert len(runs) == 2


@pytest.mark.parametrize("gen_eos", [True, False])
def test_loss_ignores_what_lies_beyond_the_length(gen_eos):
    gpt = small(gen_eos=gen_eos)
    codes = torch.randint(16, (2, 7, 3))
    length = torch.tensor([7, 4])
    changed = codes.clone()
    changed[1, 4:] = (changed[1, 4:] + 3) % 16
    loss = gpt.loss(codes, length, condition(0, 1))
    torch.testing.assert_close(loss, gpt.loss(changed, length, condition(0, 1)))
    changed[1, 3] = (changed[1, 3] + 3) % 16
    assert not torch.allclose(loss, gpt.loss(changed, length, condition(0, 1)))


def test_training_hides_and_corrupts():
    gpt = small(
        label_dropout=1.0, gpt_embd_pdrop=0, gpt_resid_pdrop=0, gpt_attn_pdrop=0, token_corruption=0
    ).train()
    codes, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 7])
    torch.testing.assert_close(
        gpt.loss(codes, length, condition(0, 0)), gpt.loss(codes, length, condition(1, 1))
    )
    both = Condition.of(torch.tensor([[1.0, 1, 0, 0, 0]] * 200), torch.full((200,), 7))
    seen = small(label_subset=1.0, label_dropout=0)._hide(both).labels[:, :2].sum(1)
    assert set(seen.tolist()) == {1.0, 2.0}
    noisy = small(
        label_dropout=0, gpt_embd_pdrop=0, gpt_resid_pdrop=0, gpt_attn_pdrop=0, token_corruption=0.5
    ).train()
    assert not torch.allclose(
        noisy.loss(codes, length, condition(0, 0)), noisy.loss(codes, length, condition(0, 0))
    )


def test_what_older_versions_called_the_architecture_is_still_read():
    """Their checkpoints and runs say `style`."""
    assert GPTConfig.model_validate({"style": "paper"}).arch == "paper"
    assert upgrade_names({"network": {"style": "paper"}, "seed": 1}, GPTRun) == {
        "network": {"arch": "paper"},
        "seed": 1,
    }


@pytest.mark.parametrize(("kind", "learns"), [("sine_frozen", False), ("sine_ft", True), ("scratch", True)])
def test_durations_are_embedded_as_sines(kind, learns):
    gpt = GPT(GPTConfig(gpt_blocksize=8, gpt_nlayer=1, gpt_nhead=2, gpt_nembd=32, seqlen_emb=kind))
    table = gpt.embed_steps.weight
    expected = sine_positions(0, len(table), 32, torch.device("cpu"))
    assert torch.equal(table.data, expected) == (kind != "scratch")
    assert table.requires_grad == learns
