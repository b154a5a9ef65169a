"""The generator: a causal transformer over token steps, given actions, a duration and any past.

PoseGPT (Lucas et al., ECCV 2022), section 3.2. `style="paper"` is its layout (LayerNorm, GELU, learned
positions); the modern style uses RMSNorm, SwiGLU, rotary positions and QK-norm. Where we differ: a step
may predict its books one after the other (the paper's "autoregressive" head is a small MLP here), and
labels and duration are hidden at random in training, for classifier-free guidance (Ho and Salimans 2021).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import GPTConfig
from models.networks.layers import KVCache, Transformer, make_norm


@dataclass(frozen=True, eq=False)
class Condition:
    """What a motion should be."""

    labels: Tensor
    """(B, L) k-hot, or (B, S, L) one set a step."""
    steps: Tensor
    """(B,) duration in token steps, int64."""
    hide_labels: Tensor
    """(B,) bool: generate as if no label were given."""
    hide_steps: Tensor
    """(B,) bool: generate as if no duration were given."""

    @classmethod
    def of(cls, labels: Tensor, steps: Tensor) -> "Condition":
        """Nothing hidden, but clips without any label count as unlabelled, as do steps without any."""
        unlabelled = labels.flatten(1).sum(1) == 0
        return cls(labels, steps, unlabelled, torch.zeros_like(unlabelled))

    def hidden(self) -> "Condition":
        """The same without its labels: what guidance steers away from."""
        return Condition(self.labels, self.steps, torch.ones_like(self.hide_labels), self.hide_steps)

    def with_hidden(self) -> "Condition":
        """The motions, and then the same without their labels."""
        parts = zip(vars(self).values(), vars(self.hidden()).values(), strict=True)
        return Condition(*(torch.cat(pair) for pair in parts))


class BookHead(nn.Module):
    """Logits of the K books of a step: independent, or each given the indices of those before it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        k, c, dim = config.n_codebook, config.codes_per_book, config.gpt_nembd
        self.autoregressive = config.head == "autoregressive"
        self.out = nn.Parameter(torch.empty(k, dim, c + config.gen_eos))
        nn.init.normal_(self.out, std=0.02)
        if self.autoregressive:
            self.embed = nn.ModuleList(nn.Embedding(c, dim) for _ in range(k - 1))
            self.place = nn.Parameter(torch.zeros(k, dim))
            self.norm = nn.RMSNorm(dim)
            self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))

    def forward(self, hidden: Tensor, indices: Tensor) -> Tensor:
        """Training: hidden (B, S, D) and true indices (B, S, K) to logits (B, S, K, C)."""
        n_books = self.out.shape[0]
        x = hidden.unsqueeze(-2).expand(*hidden.shape[:-1], n_books, -1)
        if self.autoregressive:
            given = [torch.zeros_like(hidden)]
            for k in range(n_books - 1):
                given.append(given[-1] + self.embed[k](indices[..., k]))
            x = self._mix(x + torch.stack(given, -2) + self.place)
        return torch.einsum("...kd,kdc->...kc", x, self.out.to(x.dtype))

    def book(self, k: int, hidden: Tensor) -> Tensor:
        """Sampling: logits (B, C) of book k, given hidden (B, D) that knows the books before it."""
        x = self._mix(hidden + self.place[k]) if self.autoregressive else hidden
        return x @ self.out[k].to(x.dtype)

    def tell(self, k: int, hidden: Tensor, index: Tensor) -> Tensor:
        """Sampling: hidden (B, D) that knows the index (B,) of book k, too."""
        knows_more = self.autoregressive and k < len(self.embed)
        return hidden + self.embed[k](index) if knows_more else hidden

    def _mix(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class GPT(nn.Module):
    """Predicts the indices of step s from the indices before it and the condition."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        dim, c = config.gpt_nembd, config.codes_per_book
        self.embed = nn.ModuleList(
            nn.Embedding(c, dim // config.n_codebook) for _ in range(config.n_codebook)
        )
        self.join = nn.Linear(dim // config.n_codebook * config.n_codebook, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        parts = 1
        if config.class_conditional:
            self.embed_labels = nn.Linear(config.n_labels, dim, bias=False)
            self.no_labels = nn.Parameter(torch.zeros(dim))
            parts += 1
        if config.seqlen_conditional:
            self.embed_steps = nn.Embedding(config.gpt_blocksize + 1, dim)
            self.no_steps = nn.Parameter(torch.zeros(dim))
            parts += 1
        self.concat = nn.Linear(parts * dim, dim) if config.concat_emb and parts > 1 else None
        if config.style == "paper":
            self.positions = nn.Parameter(torch.zeros(config.gpt_blocksize, dim))
        self.drop = nn.Dropout(config.gpt_embd_pdrop)
        self.blocks = Transformer(
            config.gpt_nlayer,
            dim,
            config.gpt_nhead,
            config.gpt_resid_pdrop,
            config.gpt_attn_pdrop,
            config.style,
        )
        self.norm = make_norm(dim, config.style)
        self.head = BookHead(config)
        self.apply(_init)

    def forward(self, indices: Tensor, condition: Condition) -> Tensor:
        """Logits (B, S, K, C) of every step of indices (B, S, K), each from the steps before it."""
        hidden = self.hidden(indices[:, :-1], condition)
        return self.head(hidden, indices)

    def hidden(self, indices: Tensor, condition: Condition) -> Tensor:
        """Hidden states (B, S + 1, D) before each step of indices (B, S, K), and after the last."""
        return self.extend(indices, self.given(condition, indices.shape[1] + 1))

    def extend(self, indices: Tensor, given: Tensor, cache: KVCache | None = None) -> Tensor:
        """Hidden states after each of the steps that follow the start, or a past.

        Args:
            indices: (B, n, K) steps that the cache does not hold yet.
            given: (B, S, D) what the condition adds at every position, from the start on.
            cache: the past; it is extended.

        Returns:
            (B, n, D), after each of the steps; where nothing was held (B, n + 1, D), the start before them.
        """
        x = self.join(torch.cat([embed(indices[..., k]) for k, embed in enumerate(self.embed)], -1))
        past = cache.length if cache else 0
        if not past:
            x = torch.cat([self.start.to(x.dtype).expand(len(x), 1, -1), x], 1)
        if self.concat:
            x = F.linear(x, self.concat.weight[:, : x.shape[-1]])
        x = (x + given[:, past : past + x.shape[1]]).float()
        if self.config.style == "paper":
            x = x + self.positions[past : past + x.shape[1]]
        return self.norm(self.blocks(self.drop(x), cache=cache))

    def given(self, condition: Condition, n: int) -> Tensor:
        """What the condition adds to the embeddings of the first n positions: (B, n, D)."""
        dim = len(self.start)
        parts = self._condition_parts(condition)
        if not self.config.embed_every_step:
            # Only the start carries the condition.
            parts = [F.pad(part[:, :1], (0, 0, 0, 1)) for part in parts]
        if self.concat:
            x = F.linear(torch.cat(parts, -1), self.concat.weight[:, dim:], self.concat.bias)
        else:
            x = sum(parts, self.start.new_zeros(len(condition.steps), 1, dim))
        if x.shape[1] == 1:
            return x.expand(-1, n, -1)
        # The last set of labels lasts.
        return torch.cat([x[:, :n], x[:, -1:].expand(-1, max(0, n - x.shape[1]), -1)], 1)

    def loss(
        self, indices: Tensor, length: Tensor, condition: Condition, ended: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy (nats an index) over valid steps.

        Args:
            indices: (B, S, K) true indices.
            length: (B,) valid steps.
            condition: see Condition; in training, parts of it are hidden at random here.
            ended: (B,) bool, clips that end after their last step (gen_eos only; None: all of them).
        """
        valid = torch.arange(indices.shape[1], device=length.device) < length[:, None]
        given = indices
        if self.training:
            condition = self._hide(condition)
            given = self._corrupt(indices)
        # The end of a clip is told after its last step, for which a full block has no room.
        with_end = self.config.gen_eos and indices.shape[1] < self.config.gpt_blocksize
        hidden = self.hidden(given if with_end else given[:, :-1], condition)
        logits = self.head(hidden[:, : indices.shape[1]], indices)
        target = indices.masked_fill(~valid[..., None], -100)
        loss = F.cross_entropy(logits.flatten(0, 2).float(), target.flatten(), reduction="sum")
        if self.config.gen_eos:
            loss = loss + self._end_loss(hidden, length, ended)
        return loss / (valid.sum() * indices.shape[-1])

    def _condition_parts(self, condition: Condition) -> list[Tensor]:
        """Label and duration embeddings, each (B, S, D) for labels per step, else (B, 1, D)."""
        parts = []
        if self.config.class_conditional:
            labels = condition.labels if condition.labels.dim() == 3 else condition.labels[:, None]
            labels = labels.to(self.embed_labels.weight.dtype)
            count = labels.sum(-1, keepdim=True)
            x = self.embed_labels(labels / count.clamp(min=1))
            hidden = condition.hide_labels[:, None, None] | (count == 0)
            parts.append(torch.where(hidden, self.no_labels.to(x.dtype), x))
        if self.config.seqlen_conditional:
            x = self.embed_steps(condition.steps.clamp(max=self.config.gpt_blocksize))
            x = torch.where(condition.hide_steps[:, None], self.no_steps.to(x.dtype), x)
            parts.append(x[:, None].expand(-1, parts[0].shape[1] if parts else 1, -1))
        return parts

    def _end_loss(self, hidden: Tensor, length: Tensor, ended: Tensor | None) -> Tensor:
        """Cross-entropy of the end-of-sequence class of book 0, at the step after each clip's last."""
        fits = length < self.config.gpt_blocksize
        ends = fits if ended is None else fits & ended
        logits = self.head.book(0, hidden[ends, length[ends]])
        target = torch.full_like(length[ends], self.config.codes_per_book)
        return F.cross_entropy(logits.float(), target, reduction="sum")

    def _hide(self, condition: Condition) -> Condition:
        device = condition.steps.device
        draw = torch.rand(3, len(condition.steps), device=device)
        # Some labels of some clips: who asks for a walk need not know the clips' other labels.
        partial = (draw[2] < self.config.label_subset)[:, None]
        labels = condition.labels
        kept = (torch.rand(len(labels), labels.shape[-1], device=device) < 0.5) | ~partial
        fewer = labels * (kept if labels.dim() == 2 else kept[:, None])
        some = fewer.sum(-1, keepdim=True) > 0
        labels = torch.where(some, fewer, labels)
        if labels.dim() == 3 and self.config.embed_every_step:
            # As of an observed past, of which nobody says what it shows.
            begin = (torch.rand(len(labels), device=device) * condition.steps).floor()
            begin = begin * (torch.rand(len(labels), device=device) < self.config.past_dropout)
            labels = labels * (torch.arange(labels.shape[1], device=device) >= begin[:, None])[..., None]
        return Condition(
            labels,
            condition.steps,
            condition.hide_labels | (draw[0] < self.config.label_dropout),
            condition.hide_steps | (draw[1] < self.config.seqlen_dropout),
        )

    def _corrupt(self, indices: Tensor) -> Tensor:
        wrong = torch.randint_like(indices, self.config.codes_per_book)
        draw = torch.rand(indices.shape, device=indices.device)
        return torch.where(draw < self.config.token_corruption, wrong, indices)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
