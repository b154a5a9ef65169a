"""What a generated motion should be: its labels, its duration, and the place of each token in its action."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

HIDDEN = -1
"""A place in an action that is not given."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What a motion should be."""

    labels: Tensor
    """(B, L) k-hot, or (B, S, L) one set per token."""
    duration: Tensor
    """(B,) tokens, int64."""
    hide_labels: Tensor
    """(B,) bool: generate as if no label were given."""
    hide_duration: Tensor
    """(B,) bool: generate as if no duration were given."""
    position: Tensor | None = None
    """(B, S) tokens since the action began, int64; HIDDEN where it is not known (None: nowhere)."""
    remaining: Tensor | None = None
    """(B, S) tokens until the action ends, the present one included; as `position`."""
    text: Tensor | None = None
    """(B, S, V) sentence vectors of tokens, or (B, 1, V); zeros where nothing is said (None: nowhere)."""
    hide_text: Tensor | None = None
    """(B,) bool: generate as if nothing were said (None: nothing is hidden)."""

    @classmethod
    def of(cls, labels: Tensor, duration: Tensor) -> "Condition":
        """Nothing hidden, but clips without any label count as unlabelled, as do tokens without any."""
        unlabelled = labels.flatten(1).sum(1) == 0
        return cls(labels, duration, unlabelled, torch.zeros_like(unlabelled))

    @classmethod
    def of_whole(
        cls, labels: Tensor, duration: Tensor, before: Tensor | int = 0, after: Tensor | int = 0
    ) -> "Condition":
        """Whole actions: each begins with its first token and ends with its last.

        Args:
            labels: (B, L) k-hot.
            duration: (B,) tokens.
            before: (B,) tokens of the action that come before; above 0 for a part of an action.
            after: (B,) tokens that come after.
        """
        step = torch.arange(int(duration.max()), device=labels.device).expand(len(labels), -1)
        position = step + torch.as_tensor(before, device=labels.device).view(-1, 1)
        end = duration + torch.as_tensor(after, device=labels.device)
        remaining = (end[:, None] - step).clamp(min=1)
        return replace(cls.of(labels, duration), position=position, remaining=remaining)

    def hidden(self) -> "Condition":
        """Nothing asked for: without labels, texts and places. It is what guidance steers away from.

        Places count as much as labels: steered away from no end in particular, an action is brought to its
        own.
        """
        everything = torch.ones_like(self.hide_labels)
        hide_text = None if self.text is None else everything
        plain = self.without_phase(everything[:, None], everything[:, None])
        return replace(plain, hide_labels=everything, hide_text=hide_text)

    def with_text(self, text: Tensor) -> "Condition":
        """The same with sentence vectors (B, S, V)."""
        return replace(self, text=text, hide_text=torch.zeros_like(self.hide_labels))

    def with_hidden(self) -> "Condition":
        """The motions, and then the same without their labels."""
        hidden = self.hidden()
        doubled: dict[str, Any] = {}
        for field in fields(self):
            shown = getattr(self, field.name)
            doubled[field.name] = None if shown is None else torch.cat([shown, getattr(hidden, field.name)])
        return replace(self, **doubled)

    def without_phase(self, position: Tensor, remaining: Tensor) -> "Condition":
        """Places hidden where the masks (B, S) or (B, 1) say so."""
        return replace(
            self,
            position=None if self.position is None else self.position.masked_fill(position, HIDDEN),
            remaining=None if self.remaining is None else self.remaining.masked_fill(remaining, HIDDEN),
        )

    def from_token(self, offset: int) -> "Condition":
        """The condition of tokens offset, offset + 1, ...; the last labels and places go on."""

        def cut(per_token: Tensor) -> Tensor:
            return per_token[:, min(offset, per_token.shape[1] - 1) :]

        return replace(
            self,
            labels=cut(self.labels) if self.labels.dim() == 3 else self.labels,
            position=None if self.position is None else cut(self.position),
            remaining=None if self.remaining is None else cut(self.remaining),
            text=None if self.text is None else cut(self.text),
        )


class PhaseEmbedding(nn.Module):
    """Where a token stands in its action: an embedding of the tokens before it and of those that remain.

    Both are told apart exactly up to N_EXACT tokens and by ratio beyond. Their share is embedded too, because
    half-way through an action means the same in a quick bow and in a slow one.
    """

    N_EXACT = 16
    N_PLACES = 64
    N_SHARES = 32

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The last row of each table stands for "not known".
        self.position = nn.Embedding(self.N_PLACES + 1, dim)
        self.remaining = nn.Embedding(self.N_PLACES + 1, dim)
        self.share = nn.Embedding(self.N_SHARES + 1, dim)

    def forward(self, position: Tensor, remaining: Tensor) -> Tensor:
        """(B, S) tokens before and from here on, HIDDEN where unknown, to (B, S, D)."""
        total = (position + remaining).clamp(min=1)
        share = (self.N_SHARES * position // total).clamp(0, self.N_SHARES - 1)
        is_unknown = (position == HIDDEN) | (remaining == HIDDEN)
        share = share.masked_fill(is_unknown, self.N_SHARES)
        return (
            self.position(self._place(position)) + self.remaining(self._place(remaining)) + self.share(share)
        )

    def _place(self, count: Tensor) -> Tensor:
        """Rows of a table for counts: one each up to N_EXACT, then eight per octave."""
        octaves = (count.clamp(min=self.N_EXACT) / self.N_EXACT).log2()
        row = torch.where(count < self.N_EXACT, count, self.N_EXACT + (8 * octaves).long())
        return row.clamp(max=self.N_PLACES - 1).masked_fill(count == HIDDEN, self.N_PLACES)


class WordEmbedding(nn.Module):
    """Labels by the vectors of their words: the largest of all words' embeddings, channel by channel.

    As the original has it for GloVe (its `action_emb`), after Miech et al., End-to-End Learning of Visual
    Representations from Uncurated Instructional Videos, CVPR 2020.
    """

    of_label: Tensor
    """(L, W) bool: the words of each label."""

    def __init__(self, n_labels: int, n_words: int, word_dim: int, dim: int, is_frozen: bool) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(n_words, word_dim), requires_grad=not is_frozen)
        self.register_buffer("of_label", torch.zeros(n_labels, n_words, dtype=torch.bool))
        self.project = nn.Linear(word_dim, dim, bias=False)

    def forward(self, labels: Tensor) -> Tensor:
        """(B, S, L) k-hot to (B, S, D); zeros where there is no label."""
        # Few sets of labels occur, however many tokens have them.
        sets, place = torch.unique((labels > 0).flatten(0, 1), dim=0, return_inverse=True)
        is_in = (sets[:, :, None] & self.of_label).any(1)
        words = self.project(self.vectors)
        largest = words.masked_fill(~is_in[..., None], -torch.inf).amax(1)
        largest = largest.masked_fill(~is_in.any(1, keepdim=True), 0.0)
        return largest[place].unflatten(0, labels.shape[:2])
