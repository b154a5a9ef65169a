"""Passes of many callers through the sampler at once: requests put together, and codes shared out again."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.motion import Motion
from models.networks.condition import HIDDEN, Condition
from models.sampling.generator import Generator, decode
from models.sampling.plans import Plan, to_motions_of
from models.sampling.sampler import CodeRequest, SampledCodes


def can_join(one: Plan, other: Plan) -> bool:
    """Whether two plans may be sampled in one batch: settings of the codes and length of the past agree."""
    settings = [plan.request.settings.model_dump(exclude={"n", "seed", "guidance"}) for plan in (one, other)]
    same_end = one.request.until_end == other.request.until_end
    return settings[0] == settings[1] and same_end and one.n_past == other.n_past


def join_requests(requests: Sequence[CodeRequest]) -> CodeRequest:
    """One request for the sequences of all of them, in order; each sequence comes out as it would alone.

    Guidance has been decided for each (`guidance` is set), and the plans can be joined.
    """
    first = requests[0]
    if len(requests) == 1:
        return first
    # Each sequence keeps its own random state, and with it its own numbers.
    rngs = [rng for request in requests for rng in request.rngs]
    past = None
    if first.past is not None:
        past = torch.cat([request.past for request in requests if request.past is not None])
    guidance = torch.cat([request.guidance for request in requests if request.guidance is not None])
    condition = join_conditions([request.condition for request in requests])
    return replace(first, condition=condition, rngs=rngs, past=past, guidance=guidance)


def join_conditions(conditions: Sequence[Condition]) -> Condition:
    """The conditions of all motions, in order.

    Labels per token and places are made as long as the longest: nothing is known past a motion's end.
    """
    labels = [condition.labels for condition in conditions]
    if any(part.dim() == 3 for part in labels):
        n_tokens = max(part.shape[1] for part in labels if part.dim() == 3)
        labels = [_per_token(part, n_tokens) for part in labels]
    return Condition(
        torch.cat(labels),
        torch.cat([condition.duration for condition in conditions]),
        torch.cat([condition.hide_labels for condition in conditions]),
        torch.cat([condition.hide_duration for condition in conditions]),
        _join_places([condition.position for condition in conditions], conditions),
        _join_places([condition.remaining for condition in conditions], conditions),
        *_join_texts(conditions),
    )


def motions_of(
    generator: Generator, plans: Sequence[Plan], sampled: Sequence[SampledCodes]
) -> list[list[Motion]]:
    """The motions of each plan; equally long ones without a past are decoded together."""
    # Decoding many at once costs little more than decoding one.
    made: dict[int, list[Motion]] = {}
    groups: dict[int, list[int]] = {}
    for k, plan in enumerate(plans):
        if plan.past is None:
            groups.setdefault(sampled[k].codes.shape[1], []).append(k)
        else:
            made[k] = to_motions_of(generator, plan, sampled[k])
    for members in groups.values():
        codes = torch.cat([sampled[k].codes for k in members])
        lengths = torch.cat([plans[k].lengths_of(generator, sampled[k]) for k in members])
        motions = iter(decode(generator, codes, lengths))
        for k in members:
            made[k] = [_labelled(next(motions), plans[k].labels) for _ in plans[k].frames]
    return [made[k] for k in range(len(plans))]


def _labelled(motion: Motion, labels: tuple[str, ...]) -> Motion:
    return replace(motion, labels=labels, name=" + ".join(labels))


def _per_token(labels: Tensor, n_tokens: int) -> Tensor:
    """(B, L) or (B, S, L) labels as (B, n_tokens, L); the last ones go on."""
    if labels.dim() == 2:
        return labels[:, None].expand(-1, n_tokens, -1)
    missing = n_tokens - labels.shape[1]
    return torch.cat([labels, labels[:, -1:].expand(-1, missing, -1)], 1)


def _join_texts(conditions: Sequence[Condition]) -> tuple[Tensor | None, Tensor | None]:
    """Sentence vectors (B, S, V) of all motions, zeros where a motion has none, and which are hidden (B,)."""
    texts = [condition.text for condition in conditions if condition.text is not None]
    if not texts:
        return None, None
    n_tokens = max(text.shape[1] for text in texts)
    # HIDDEN stands for "not known", both for motions without places and past the end of short ones.
    whole: list[Tensor] = []
    hidden: list[Tensor] = []
    for condition in conditions:
        n = len(condition.duration)
        text = condition.text
        if text is None:
            text = texts[0].new_zeros(n, 1, texts[0].shape[-1])
        whole.append(_per_token(text, n_tokens))
        is_hidden = condition.hide_text
        hidden.append(torch.zeros_like(condition.hide_labels) if is_hidden is None else is_hidden)
    return torch.cat(whole), torch.cat(hidden)


def _join_places(places: Sequence[Tensor | None], conditions: Sequence[Condition]) -> Tensor | None:
    """(B, S) places of all motions, HIDDEN where a motion has none; None if no motion has any."""
    n_tokens = max((part.shape[1] for part in places if part is not None), default=0)
    if not n_tokens:
        return None
    # HIDDEN stands for "not known", both for motions without places and past the end of short ones.
    whole: list[Tensor] = []
    for part, condition in zip(places, conditions, strict=True):
        if part is None:
            part = condition.duration.new_full((len(condition.duration), 1), HIDDEN)
        whole.append(pad(part, (0, n_tokens - part.shape[1]), value=HIDDEN))
    return torch.cat(whole)
