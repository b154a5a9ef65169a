"""The generator: a causal transformer over tokens, given actions, a duration and any past.

PoseGPT (Lucas et al., ECCV 2022), section 3.2. `arch="paper"` is its layout (LayerNorm, GELU, learned
positions); the modern one uses RMSNorm, SwiGLU, rotary positions and QK-norm. Differences from the paper: a
token may predict its books one after the other (the paper's "autoregressive" head is a small MLP here), and
labels and duration are hidden at random in training, for classifier-free guidance (Ho and Salimans 2021).

Letters of shapes: B sequences, S tokens, K books (codes a token), C codes a book, D width, L labels.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from models.networks.config import GPTConfig
from models.networks.layers import BlockSizes, KVCache, Transformer, make_norm


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

    @classmethod
    def of(cls, labels: Tensor, duration: Tensor) -> "Condition":
        """Nothing hidden, but clips without any label count as unlabelled, as do tokens without any."""
        unlabelled = labels.flatten(1).sum(1) == 0
        return cls(labels, duration, unlabelled, torch.zeros_like(unlabelled))

    def hidden(self) -> "Condition":
        """The same without its labels: what guidance steers away from."""
        return replace(self, hide_labels=torch.ones_like(self.hide_labels))

    def with_hidden(self) -> "Condition":
        """The motions, and then the same without their labels."""
        parts = zip(vars(self).values(), vars(self.hidden()).values(), strict=True)
        return Condition(*(torch.cat(pair) for pair in parts))


class BookHead(nn.Module):
    """Logits of the K books of a token: independent, or each given the codes of the books before it."""

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

    def forward(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Training: hidden (B, S, D) and true codes (B, S, K) to logits (B, S, K, C)."""
        n_books = self.out.shape[0]
        x = repeat(hidden, "b s d -> b s k d", k=n_books)
        if self.autoregressive:
            # What book k knows of the books before it: the sum of their codes' embeddings.
            known = [torch.zeros_like(hidden)]
            for k in range(n_books - 1):
                known.append(known[-1] + self.embed[k](codes[..., k]))
            x = self._mix(x + torch.stack(known, -2) + self.place)
        return torch.einsum("...kd,kdc->...kc", x, self.out.to(x.dtype))

    def logits_of(self, k: int, hidden: Tensor) -> Tensor:
        """Sampling: logits (B, C) of book k, given hidden (B, D) that knows the books before it."""
        x = self._mix(hidden + self.place[k]) if self.autoregressive else hidden
        return x @ self.out[k].to(x.dtype)

    def with_code(self, k: int, hidden: Tensor, codes: Tensor) -> Tensor:
        """Sampling: hidden (B, D) that knows the codes (B,) of book k, too."""
        is_last = k == self.out.shape[0] - 1
        if not self.autoregressive or is_last:
            return hidden
        return hidden + self.embed[k](codes)

    def _mix(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


class GPT(nn.Module):
    """Predicts the codes of token s from the tokens before it and the condition."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        dim, c = config.gpt_nembd, config.codes_per_book
        self.embed = nn.ModuleList(
            nn.Embedding(c, dim // config.n_codebook) for _ in range(config.n_codebook)
        )
        self.join = nn.Linear(dim // config.n_codebook * config.n_codebook, dim)
        self.start = nn.Parameter(torch.zeros(dim))

        # `embed_steps` and `no_steps` keep the names that old checkpoints have: steps were tokens there.
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

        if config.arch == "paper":
            self.positions = nn.Parameter(torch.zeros(config.gpt_blocksize, dim))
        self.drop = nn.Dropout(config.gpt_embd_pdrop)
        sizes = BlockSizes(dim, config.gpt_nhead, config.gpt_resid_pdrop, config.gpt_attn_pdrop, config.arch)
        self.blocks = Transformer(config.gpt_nlayer, sizes)
        self.norm = make_norm(dim, config.arch)
        self.head = BookHead(config)
        self.apply(_init)

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        """Logits (B, S, K, C) of every token of codes (B, S, K), each from the tokens before it."""
        hidden = self.hidden(codes[:, :-1], condition)
        return self.head(hidden, codes)

    def hidden(self, codes: Tensor, condition: Condition) -> Tensor:
        """Hidden states (B, S + 1, D) before each token of codes (B, S, K), and after the last."""
        return self.extend(codes, self.embed_condition(condition, codes.shape[1] + 1))

    def extend(self, codes: Tensor, embedded: Tensor, cache: KVCache | None = None) -> Tensor:
        """Hidden states after each of the tokens that follow the start, or a past.

        Args:
            codes: (B, n, K) tokens that the cache does not hold yet.
            embedded: (B, S, D) what the condition adds at every position, from the start on.
            cache: the past; it is extended.

        Returns:
            (B, n, D), after each of the tokens; if nothing was held (B, n + 1, D), the start before them.
        """
        by_book = [embed(codes[..., k]) for k, embed in enumerate(self.embed)]
        x = self.join(torch.cat(by_book, -1))
        n_past = cache.length if cache else 0
        if not n_past:
            x = torch.cat([self.start.to(x.dtype).expand(len(x), 1, -1), x], 1)

        # A linear layer over the concatenation of tokens and condition is the sum of its two halves; the
        # condition's half is in `embedded` already.
        if self.concat:
            x = F.linear(x, self.concat.weight[:, : x.shape[-1]])
        positions = slice(n_past, n_past + x.shape[1])
        x = (x + embedded[:, positions]).float()
        if self.config.arch == "paper":
            x = x + self.positions[positions]
        return self.norm(self.blocks(self.drop(x), cache=cache))

    def embed_condition(self, condition: Condition, n: int) -> Tensor:
        """What the condition adds to the embeddings of the first n positions: (B, n, D)."""
        dim = len(self.start)
        parts = self._condition_parts(condition)
        if not self.config.embed_every_step:
            # Only the start carries the condition.
            parts = [F.pad(part[:, :1], (0, 0, 0, 1)) for part in parts]
        if self.concat:
            x = F.linear(torch.cat(parts, -1), self.concat.weight[:, dim:], self.concat.bias)
        else:
            x = sum(parts, self.start.new_zeros(len(condition.duration), 1, dim))
        if x.shape[1] == 1:
            return x.expand(-1, n, -1)
        # The last set of labels lasts.
        n_missing = max(0, n - x.shape[1])
        return torch.cat([x[:, :n], x[:, -1:].expand(-1, n_missing, -1)], 1)

    def loss(
        self, codes: Tensor, length: Tensor, condition: Condition, ended: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy (nats a code) over valid tokens.

        Args:
            codes: (B, S, K) true codes.
            length: (B,) valid tokens.
            condition: see Condition; in training, parts of it are hidden at random here.
            ended: (B,) bool, clips that end after their last token (gen_eos only; None: all of them).
        """
        valid = torch.arange(codes.shape[1], device=length.device) < length[:, None]
        seen = codes
        if self.training:
            condition = self._hide(condition)
            seen = self._corrupt(codes)

        # The end of a clip is predicted after its last token, for which a full block has no room.
        with_end = self.config.gen_eos and codes.shape[1] < self.config.gpt_blocksize
        hidden = self.hidden(seen if with_end else seen[:, :-1], condition)
        logits = self.head(hidden[:, : codes.shape[1]], codes)

        target = codes.masked_fill(~valid[..., None], -100)
        logits = rearrange(logits, "b s k c -> (b s k) c")
        loss = F.cross_entropy(logits.float(), target.flatten(), reduction="sum")
        if self.config.gen_eos:
            loss = loss + self._end_loss(hidden, length, ended)
        return loss / (valid.sum() * codes.shape[-1])

    def _condition_parts(self, condition: Condition) -> list[Tensor]:
        """Label and duration embeddings, each (B, S, D) for labels per token, else (B, 1, D)."""
        parts = []
        if self.config.class_conditional:
            # (B, S, L): the embedding of several labels is the mean of theirs.
            labels = condition.labels if condition.labels.dim() == 3 else condition.labels[:, None]
            labels = labels.to(self.embed_labels.weight.dtype)
            count = labels.sum(-1, keepdim=True)
            x = self.embed_labels(labels / count.clamp(min=1))
            is_hidden = condition.hide_labels[:, None, None] | (count == 0)
            parts.append(torch.where(is_hidden, self.no_labels.to(x.dtype), x))
        if self.config.seqlen_conditional:
            x = self.embed_steps(condition.duration.clamp(max=self.config.gpt_blocksize))
            x = torch.where(condition.hide_duration[:, None], self.no_steps.to(x.dtype), x)
            parts.append(x[:, None].expand(-1, parts[0].shape[1] if parts else 1, -1))
        return parts

    def _end_loss(self, hidden: Tensor, length: Tensor, ended: Tensor | None) -> Tensor:
        """Cross-entropy of the end-of-sequence class of book 0, at the token after each clip's last."""
        fits = length < self.config.gpt_blocksize
        ends = fits if ended is None else fits & ended
        logits = self.head.logits_of(0, hidden[ends, length[ends]])
        target = torch.full_like(length[ends], self.config.codes_per_book)
        return F.cross_entropy(logits.float(), target, reduction="sum")

    def _hide(self, condition: Condition) -> Condition:
        """The condition with parts of it hidden at random, as sampling may leave them out."""
        labels = condition.labels
        device, n = labels.device, len(labels)
        uniform = torch.rand(3, n, device=device)

        # Some labels of some clips: who asks for a walk need not know the clips' other labels.
        is_partial = (uniform[2] < self.config.label_subset)[:, None]
        kept = (torch.rand(n, labels.shape[-1], device=device) < 0.5) | ~is_partial
        fewer = labels * (kept if labels.dim() == 2 else kept[:, None])
        labels = torch.where(fewer.sum(-1, keepdim=True) > 0, fewer, labels)

        # All labels up to a random token, as of an observed past, of which nobody says what it shows.
        if labels.dim() == 3 and self.config.embed_every_step:
            begin = (torch.rand(n, device=device) * condition.duration).floor()
            begin = begin * (torch.rand(n, device=device) < self.config.past_dropout)
            is_shown = torch.arange(labels.shape[1], device=device) >= begin[:, None]
            labels = labels * is_shown[..., None]

        return Condition(
            labels,
            condition.duration,
            condition.hide_labels | (uniform[0] < self.config.label_dropout),
            condition.hide_duration | (uniform[1] < self.config.seqlen_dropout),
        )

    def _corrupt(self, codes: Tensor) -> Tensor:
        """Codes of which some are replaced at random, against exposure bias."""
        wrong = torch.randint_like(codes, self.config.codes_per_book)
        uniform = torch.rand(codes.shape, device=codes.device)
        return torch.where(uniform < self.config.token_corruption, wrong, codes)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
