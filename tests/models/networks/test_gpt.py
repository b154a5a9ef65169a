"""The generator and its sampling: cache against full recomputation, every condition, every draw."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from models.config import GPTConfig
from models.distributed import float64_device
from models.errors import PoseGPTError, SettingsError
from models.networks.gpt import GPT, Condition
from models.networks.layers import bare
from models.sampling.generate import Sampling, draw, sample_indices


def small(**more):
    torch.manual_seed(0)
    sizes = {"n_codebook": 3, "codes_per_book": 16, "n_labels": 5, "gpt_blocksize": 8}
    config = GPTConfig(**sizes | {"gpt_nlayer": 2, "gpt_nhead": 2, "gpt_nembd": 32} | more)
    gpt = GPT(config).eval()
    for p in gpt.parameters():  # away from the timid initial weights, so that differences show
        p.data += torch.randn_like(p) * 0.2
    return gpt


def condition(*labels, steps=8):
    k_hot = torch.zeros(len(labels), 5)
    for row, label in enumerate(labels):
        k_hot[row, label] = 1
    return Condition.of(k_hot, torch.full((len(labels),), steps))


def seeds(*values):
    return [torch.Generator().manual_seed(v) for v in values]


@pytest.mark.parametrize("style", ["modern", "paper"])
@pytest.mark.parametrize("head", ["autoregressive", "independent"])
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("concat", [True, False])
@torch.no_grad()
def test_cached_equals_full(style, head, every, concat):
    gpt = small(style=style, head=head, embed_every_step=every, concat_emb=concat)
    given, indices = condition(1, 2), torch.randint(16, (2, 7, 3))
    cache, added = gpt.blocks.new_cache(2, 8), gpt.given(given, 8)
    hidden = [gpt.extend(part, added, cache) for part in indices[:, :6].split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(hidden, 1), gpt.hidden(indices[:, :-1], given), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("style", ["modern", "paper"])
def test_a_bare_twin_computes_the_same_with_the_same_weights(style):
    gpt, indices = small(style=style), torch.randint(16, (2, 7, 3))
    twin = bare(gpt)
    assert torch.equal(twin(indices, condition(1, 2)), gpt(indices, condition(1, 2)))
    assert twin.blocks[0].attn.qkv.weight is gpt.blocks[0].attn.qkv.weight


@pytest.mark.parametrize("head", ["autoregressive", "independent"])
def test_books_one_by_one_equal_all_at_once(head):
    gpt = small(head=head)
    indices = torch.randint(16, (2, 7, 3))
    logits = gpt(indices, condition(1, 2))
    hidden = gpt.hidden(indices[:, :-1], condition(1, 2))
    known = hidden[:, 4]
    for k in range(3):
        torch.testing.assert_close(gpt.head.book(k, known), logits[:, 4, k], atol=1e-5, rtol=1e-4)
        known = gpt.head.tell(k, known, indices[:, 4, k])


@pytest.mark.parametrize("head", ["autoregressive", "independent"])
def test_logits_see_the_past_only(head):
    gpt = small(head=head)
    indices = torch.randint(16, (1, 7, 3))
    logits = gpt(indices, condition(0))
    changed = indices.clone()
    changed[:, 4, 1] = (changed[:, 4, 1] + 1) % 16
    now = gpt(changed, condition(0))
    torch.testing.assert_close(now[:, :4], logits[:, :4])
    torch.testing.assert_close(now[:, 4, :2], logits[:, 4, :2])
    assert torch.allclose(now[:, 4, 2], logits[:, 4, 2]) == (head == "independent")
    assert not torch.allclose(now[:, 5], logits[:, 5])


@pytest.mark.parametrize("on", [True, False])
def test_each_condition_counts_when_on_and_not_when_off(on):
    indices = torch.randint(16, (1, 7, 3))
    by_class, by_length = small(class_conditional=on), small(seqlen_conditional=on)
    assert torch.equal(by_class(indices, condition(0)), by_class(indices, condition(1))) != on
    assert torch.equal(by_length(indices, condition(0)), by_length(indices, condition(0, steps=5))) != on


def test_hidden_labels_do_not_count():
    gpt, indices = small(), torch.randint(16, (1, 7, 3))
    torch.testing.assert_close(gpt(indices, condition(0).hidden()), gpt(indices, condition(1).hidden()))


def test_labels_per_step_act_from_their_step_on():
    gpt, indices = small(), torch.randint(16, (1, 7, 3))
    walk = torch.eye(5)[torch.tensor([[0] * 7])]
    wave = torch.eye(5)[torch.tensor([[0] * 4 + [1] * 3])]
    steps = torch.tensor([7])
    a, b = gpt(indices, Condition.of(walk, steps)), gpt(indices, Condition.of(wave, steps))
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])
    torch.testing.assert_close(a, gpt(indices, condition(0, steps=7)))


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_seed_gives_the_same_alone_and_among_others(guidance):
    gpt = small()
    how = Sampling(guidance=guidance, top_p=0.95)
    batch = sample_indices(gpt, condition(1, 2, 3), 20, seeds(5, 6, 7), how).indices
    alone = sample_indices(gpt, condition(2), 20, seeds(6), how).indices
    assert torch.equal(batch[1:2], alone)
    assert not torch.equal(batch[1], batch[2])
    assert batch.shape == (3, 20, 3)  # 20 steps, though attention sees 8


def test_the_past_is_kept():
    gpt, past = small(), torch.randint(16, (1, 4, 3))
    indices = sample_indices(gpt, condition(1), 10, seeds(0), Sampling(), past=past).indices
    assert torch.equal(indices[:, :4], past)
    assert indices.shape[1] == 10


def test_greedy_is_the_argmax_of_the_full_forward():
    gpt = small(head="independent")
    indices = sample_indices(gpt, condition(1), 6, seeds(0), Sampling(greedy=True, guidance=1)).indices
    assert torch.equal(gpt(indices, condition(1)).argmax(-1), indices)


@torch.no_grad()
def test_beyond_the_block_the_newer_half_is_computed_anew():
    gpt, first = small(head="independent"), 0
    labels = torch.eye(5)[torch.tensor([[0] * 11 + [1] * 9])]
    given = Condition.of(labels, torch.tensor([8]))
    indices = sample_indices(gpt, given, 20, seeds(0), Sampling(greedy=True, guidance=1)).indices
    for s in range(20):
        if s - first == 8:
            first += 4
        seen = gpt.hidden(indices[:, first:s], replace(given, labels=labels[:, first:]))[:, -1]
        assert torch.equal(gpt.head.book(0, seen).argmax(-1), indices[:, s, 0])


def test_draw_follows_the_distribution_and_its_cuts():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, 4)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0))

    def shares(**how):
        return torch.bincount(draw(logits, uniform, Sampling(**how)), minlength=4) / 4000

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
        Sampling(**wrong)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_end_comes_where_it_is_sampled(guidance):
    gpt = small(gen_eos=True)
    how = Sampling(guidance=guidance)
    never = sample_indices(gpt, condition(0, 1), 30, seeds(0, 1), how)
    assert never.steps.tolist() == [30, 30]
    with torch.no_grad():
        gpt.head.out[0, :, 16] = 0
        gpt.head.out[0] *= 0.1  # all about equally likely, the end too
    drawn = sample_indices(gpt, condition(0, 1), 99, seeds(0, 1), how, until_end=True)
    assert drawn.steps.max() < 99
    assert drawn.indices.shape[1] == drawn.steps.max() + 1
    alone = sample_indices(gpt, condition(1), 99, seeds(1), how, until_end=True)
    assert alone.steps[0] == drawn.steps[1]
    assert torch.equal(alone.indices[0, : alone.steps[0]], drawn.indices[1, : alone.steps[0]])


def test_half_a_block_holds_a_step():
    """What is computed anew where the block is full; of a block of one it was nothing."""
    gpt = small(gpt_blocksize=2)
    assert sample_indices(gpt, condition(1), 5, seeds(0), Sampling()).indices.shape == (1, 5, 3)
    with pytest.raises(SettingsError, match="gpt_blocksize"):
        small(gpt_blocksize=1)


def test_only_clips_that_end_teach_the_end():
    gpt = small(gen_eos=True)
    indices, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 4])
    cut = gpt.loss(indices, length, condition(0, 1), torch.tensor([False, False]))
    both = gpt.loss(indices, length, condition(0, 1))
    second = gpt.loss(indices, length, condition(0, 1), torch.tensor([False, True]))
    assert cut < second < both


@pytest.mark.parametrize("steps", [7, 8])
@pytest.mark.parametrize("style", ["modern", "paper"])
def test_the_end_is_learned_at_the_step_after_the_last(style, steps):
    """Of each clip by itself; one that fills the block of 8 steps has no room for it."""
    gpt = small(style=style, gen_eos=True)
    indices, length = torch.randint(16, (3, steps, 3)), torch.tensor([steps, 4, 1])
    total = 0.0
    for i, n in enumerate(length.tolist()):
        clip, only = indices[i : i + 1, :n], condition(i)
        total += F.cross_entropy(gpt(clip, only).flatten(0, 2), clip.flatten(), reduction="sum")
        if n < 8:
            last = gpt.hidden(clip, only)[:, -1]
            total -= gpt.head.book(0, last).log_softmax(-1)[0, 16]
    torch.testing.assert_close(gpt.loss(indices, length, condition(0, 1, 2)), total / (3 * length.sum()))


def test_the_blocks_run_alike_whether_clips_end_or_not():
    """Where processes share the weights all of them meet in each block: one that stays away hangs all."""
    gpt, runs = small(gen_eos=True), []
    gpt.blocks[0].register_forward_hook(lambda *_: runs.append(None))
    indices, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 4])
    for ended in ([False, False], [True, False]):
        gpt.loss(indices, length, condition(0, 1), torch.tensor(ended)).backward()
    assert len(runs) == 2


@pytest.mark.parametrize("gen_eos", [True, False])
def test_loss_ignores_what_lies_beyond_the_length(gen_eos):
    gpt = small(gen_eos=gen_eos)
    indices = torch.randint(16, (2, 7, 3))
    length = torch.tensor([7, 4])
    changed = indices.clone()
    changed[1, 4:] = (changed[1, 4:] + 3) % 16
    loss = gpt.loss(indices, length, condition(0, 1))
    torch.testing.assert_close(loss, gpt.loss(changed, length, condition(0, 1)))
    changed[1, 3] = (changed[1, 3] + 3) % 16
    assert not torch.allclose(loss, gpt.loss(changed, length, condition(0, 1)))


def test_training_hides_and_corrupts():
    gpt = small(
        label_dropout=1.0, gpt_embd_pdrop=0, gpt_resid_pdrop=0, gpt_attn_pdrop=0, token_corruption=0
    ).train()
    indices, length = torch.randint(16, (2, 7, 3)), torch.tensor([7, 7])
    torch.testing.assert_close(
        gpt.loss(indices, length, condition(0, 0)), gpt.loss(indices, length, condition(1, 1))
    )
    both = Condition.of(torch.tensor([[1.0, 1, 0, 0, 0]] * 200), torch.full((200,), 7))
    seen = small(label_subset=1.0, label_dropout=0)._hide(both).labels[:, :2].sum(1)
    assert set(seen.tolist()) == {1.0, 2.0}
    noisy = small(
        label_dropout=0, gpt_embd_pdrop=0, gpt_resid_pdrop=0, gpt_attn_pdrop=0, token_corruption=0.5
    ).train()
    assert not torch.allclose(
        noisy.loss(indices, length, condition(0, 0)), noisy.loss(indices, length, condition(0, 0))
    )
