"""The generator: a causal transformer over tokens, given actions, a duration and any past.

PoseGPT (Lucas et al., ECCV 2022), section 3.2. `arch="paper"` is its layout (LayerNorm, GELU, learned
positions); the modern one uses RMSNorm, SwiGLU, rotary positions and QK-norm. Differences from the paper: a
token may predict its books one after the other (the paper's "autoregressive" head is a small MLP here), and
labels and duration are hidden at random in training, for classifier-free guidance (Ho and Salimans 2021).

Letters of shapes: B sequences, S tokens, K books (codes a token), C codes a book, D width, L labels.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from models.networks import fused
from models.networks.condition import HIDDEN, Condition, PhaseEmbedding, WordEmbedding
from models.networks.config import GPTConfig
from models.networks.layers import BlockSizes, KVCache, Transformer, make_norm, sine_positions


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
        self.layers = nn.ModuleList()
        if config.head == "mlp":
            self.layers.extend(nn.Sequential(nn.Linear(dim, dim), nn.ReLU()) for _ in range(k))

    def forward(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Training: hidden (B, S, D) and true codes (B, S, K) to logits (B, S, K, C)."""
        by_book = self.by_book(hidden.flatten(0, 1), codes.flatten(0, 1))
        return rearrange(by_book, "k (b s) c -> b s k c", b=len(hidden))

    def by_book(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Hidden (N, D) and true codes (N, K) to logits (K, N, C)."""
        n_books = self.out.shape[0]
        if self.layers:
            x = torch.stack([layer(hidden) for layer in self.layers])
        elif not self.autoregressive:
            x = repeat(hidden, "n d -> k n d", k=n_books)
        else:
            # What book k knows of the books before it: the sum of their codes' embeddings.
            known = hidden
            books: list[Tensor] = []
            for k in range(n_books):
                books.append(known + self.place[k])
                known = self.with_code(k, known, codes[:, k])
            x = self._mix(torch.stack(books))
        return torch.bmm(x, self.out.to(x.dtype))

    def logits_of(self, k: int, hidden: Tensor) -> Tensor:
        """Sampling: logits (B, C) of book k, given hidden (B, D) that knows the books before it."""
        x = hidden
        if self.autoregressive:
            x = self._mix(hidden + self.place[k])
        elif self.layers:
            x = self.layers[k](hidden)
        return x @ self.out[k].to(x.dtype)

    def with_code(self, k: int, hidden: Tensor, codes: Tensor) -> Tensor:
        """Sampling: hidden (B, D) that knows the codes (B,) of book k, too."""
        is_last = k == self.out.shape[0] - 1
        if not self.autoregressive or is_last:
            return hidden
        return hidden + self.embed[k](codes)

    def _mix(self, x: Tensor) -> Tensor:
        if fused.applies_to(x):
            return x + self.mlp(fused.rms_norm(x, self.norm))
        return x + self.mlp(self.norm(x))


class GPT(nn.Module):
    """Predicts the codes of token s from the tokens before it and the condition."""

    groups: Tensor
    """(G, L) bool: the labels of each group."""

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
            if config.action_emb == "scratch":
                self.embed_labels = nn.Linear(config.n_labels, dim, bias=False)
            else:
                is_frozen = config.action_emb == "words_frozen"
                self.words = WordEmbedding(config.n_labels, config.n_words, config.word_dim, dim, is_frozen)
            groups = sorted(set(config.label_groups))
            self.no_labels = nn.Parameter(torch.zeros(len(groups), dim) if groups else torch.zeros(dim))
            in_group = [[of == group for of in config.label_groups] for group in groups]
            everything = [[True] * config.n_labels]
            self.register_buffer("groups", torch.tensor(in_group or everything), persistent=False)
            parts += 1
        if config.seqlen_conditional:
            self.embed_steps = nn.Embedding(config.gpt_blocksize + 1, dim)
            self.no_steps = nn.Parameter(torch.zeros(dim))
            parts += 1
        if config.phase_conditional:
            self.phase = PhaseEmbedding(dim)
            parts += 1
        if config.text_dim:
            self.embed_text = nn.Linear(config.text_dim, dim)
            self.no_text = nn.Parameter(torch.zeros(dim))
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
        if config.seqlen_conditional and config.seqlen_emb != "scratch":
            table = self.embed_steps.weight
            table.data.copy_(sine_positions(0, len(table), dim, table.device))
            table.requires_grad_(config.seqlen_emb == "sine_ft")

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
        n_past = cache.length if cache else 0
        x = self._embed(codes, embedded, n_past)
        return self.norm(self.blocks(self.drop(x), cache=cache))

    def _embed(self, codes: Tensor, embedded: Tensor, n_past: int = 0) -> Tensor:
        """What goes into the blocks, (B, n, D), or (B, n + 1, D) without a past; see extend."""
        by_book = [embed(codes[..., k]) for k, embed in enumerate(self.embed)]
        x = self.join(torch.cat(by_book, -1))
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
        return x

    def embed_condition(self, condition: Condition, n: int) -> Tensor:
        """What the condition adds to the embeddings of the first n positions: (B, n, D)."""
        dim = len(self.start)
        x = self.start.new_zeros(len(condition.duration), 1, dim)
        if self.concat:
            x = x + self.concat.bias
        for k, part in enumerate(self._condition_parts(condition), start=1):
            if not self.config.embed_every_step:
                # Only the start carries the condition.
                part = F.pad(part[:, :1], (0, 0, 0, 1))
            if self.concat:
                # The linear layer over the concatenated parts, part by part, so that what is the same at all
                # tokens is computed once. The first columns are those of the tokens, see _embed.
                part = F.linear(part, self.concat.weight[:, k * dim : (k + 1) * dim])
            x = x + part
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
        seen = codes
        if self.training:
            condition = self._hide(condition)
            seen = self._corrupt(codes)

        # The end of a clip is predicted after its last token, for which a full block has no room.
        with_end = self.config.gen_eos and codes.shape[1] < self.config.gpt_blocksize
        seen = seen if with_end else seen[:, :-1]
        x = self._embed(seen, self.embed_condition(condition, seen.shape[1] + 1))
        has_end = length < self.config.gpt_blocksize
        if ended is not None:
            has_end = has_end & ended
        loss_of = self._loss_of_rows if self.blocks.trains_rows(x) else self._loss_of_all
        return loss_of(x, codes, length, has_end) / (length.sum() * codes.shape[-1])

    def _loss_of_all(self, x: Tensor, codes: Tensor, length: Tensor, has_end: Tensor) -> Tensor:
        """Summed cross-entropy from what goes into the blocks (B, P, D), all positions computed."""
        hidden = self.norm(self.blocks(self.drop(x)))
        logits = self.head(hidden[:, : codes.shape[1]], codes)
        valid = torch.arange(codes.shape[1], device=length.device) < length[:, None]
        target = codes.masked_fill(~valid[..., None], -100)
        logits = rearrange(logits, "b s k c -> (b s k) c")
        loss = F.cross_entropy(logits.float(), target.flatten(), reduction="sum")
        if self.config.gen_eos:
            loss = loss + self._end_loss(hidden[has_end, length[has_end]])
        return loss

    def _loss_of_rows(self, x: Tensor, codes: Tensor, length: Tensor, has_end: Tensor) -> Tensor:
        """The same, and only those positions are computed that predict something."""
        batch, n_positions = x.shape[:2]
        position = torch.arange(n_positions, device=length.device)
        predicts_code = position < length[:, None]
        predicts_end = (position == length[:, None]) & has_end[:, None] & self.config.gen_eos
        is_row = predicts_code | predicts_end

        rows = is_row.flatten().nonzero()[:, 0]
        hidden = fused.take_rows(x.flatten(0, 1), rows)
        if self.training and self.config.gpt_embd_pdrop:
            masks = fused.DropoutMasks(hidden.numel(), hidden.dtype)
            hidden = hidden * masks.next(hidden.shape, self.config.gpt_embd_pdrop)
        hidden = self.blocks.forward_rows(hidden, batch, n_positions, rows)
        hidden = fused.rms_norm(hidden, self.norm, hidden.dtype)

        target = codes[predicts_code[:, : codes.shape[1]]]
        of_codes = hidden
        if self.config.gen_eos:
            of_codes = fused.take_rows(hidden, predicts_code[is_row].nonzero()[:, 0])
        logits = self.head.by_book(of_codes, target)
        target = rearrange(target, "n k -> (k n)")
        loss = F.cross_entropy(logits.flatten(0, 1).float(), target, reduction="sum")
        if self.config.gen_eos:
            loss = loss + self._end_loss(hidden[predicts_end[is_row]])
        return loss

    def _condition_parts(self, condition: Condition) -> list[Tensor]:
        """Embeddings of what is given: (B, S, D), or (B, 1, D) for what is the same at all tokens."""
        parts = []
        if self.config.class_conditional:
            parts.append(self._embed_labels(condition))
        if self.config.seqlen_conditional:
            x = self.embed_steps(condition.duration.clamp(max=self.config.gpt_blocksize))
            x = torch.where(condition.hide_duration[:, None], self.no_steps.to(x.dtype), x)
            parts.append(x[:, None])
        if self.config.phase_conditional:
            unknown = torch.full_like(condition.duration, HIDDEN)[:, None]
            position = unknown if condition.position is None else condition.position
            remaining = unknown if condition.remaining is None else condition.remaining
            parts.append(self.phase(position, remaining))
        if self.config.text_dim:
            parts.append(self._embed_text(condition))
        return parts

    def _embed_text(self, condition: Condition) -> Tensor:
        """(B, S, D), or (B, 1, D): sentence vectors, and one for "nothing is said"."""
        if condition.text is None:
            return self.no_text.expand(len(condition.duration), 1, -1)
        text = condition.text.to(self.no_text.dtype)
        is_hidden = (text == 0).all(-1, keepdim=True)
        if condition.hide_text is not None:
            is_hidden = is_hidden | condition.hide_text[:, None, None]
        # Unit vectors are short beside embeddings: scaled, their numbers are about 1.
        x = self.embed_text(text * self.config.text_dim**0.5)
        return torch.where(is_hidden, self.no_text.to(x.dtype), x)

    def _embed_labels(self, condition: Condition) -> Tensor:
        """(B, S, D), or (B, 1, D): the sum over groups of the mean (of words, the maximum) of their labels.

        Each group has a vector for "none", so that an action without a style is as sharp as one with it.
        """
        labels = condition.labels if condition.labels.dim() == 3 else condition.labels[:, None]
        labels = labels.to(self.no_labels.dtype)
        is_hidden = condition.hide_labels[:, None, None]
        embedded: list[Tensor] = []
        for group, none in zip(self.groups, self.no_labels.view(len(self.groups), -1), strict=True):
            of_group = labels * group
            count = of_group.sum(-1, keepdim=True)
            if self.config.action_emb == "scratch":
                x = self.embed_labels(of_group / count.clamp(min=1))
            else:
                x = self.words(of_group)
            embedded.append(torch.where(is_hidden | (count == 0), none.to(x.dtype), x))
        return torch.stack(embedded).sum(0)

    def _end_loss(self, hidden: Tensor) -> Tensor:
        """Summed cross-entropy of end-of-sequence, a class of book 0, from hidden states (N, D)."""
        logits = self.head.logits_of(0, hidden)
        target = torch.full((len(hidden),), self.config.codes_per_book, device=hidden.device)
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
            is_past = torch.arange(labels.shape[1], device=device) < begin[:, None]
            labels = labels * ~is_past[..., None]
            condition = condition.without_phase(is_past, is_past)

            if condition.text is not None:
                condition = replace(condition, text=condition.text * ~is_past[..., None])

        # A forecast knows neither where its past began nor, without a length, where it ends. What guidance
        # steers away from, Condition.hidden, knows no labels besides.
        hide_labels = condition.hide_labels | (uniform[0] < self.config.label_dropout)
        if self.config.phase_conditional:
            hidden = torch.rand(2, n, device=device) < self.config.seqlen_dropout
            hidden |= hide_labels & (torch.rand(n, device=device) < 0.5)
            condition = condition.without_phase(*hidden[:, :, None])
        condition = replace(
            condition,
            labels=labels,
            hide_labels=hide_labels,
            hide_duration=condition.hide_duration | (uniform[1] < self.config.seqlen_dropout),
        )
        if condition.text is None or condition.hide_text is None:
            return condition
        return self._hide_one_of_two(condition, uniform[0] < self.config.label_dropout)

    def _hide_one_of_two(self, condition: Condition, is_unguided: Tensor) -> Condition:
        """Labels or text hidden at random, so that either is enough; both where `is_unguided` (B,)."""
        assert condition.hide_text is not None
        hide_labels = condition.hide_labels
        hide_text = condition.hide_text | is_unguided
        # Without labels, the text is all that there is.
        if self.config.class_conditional:
            uniform = torch.rand_like(hide_labels, dtype=torch.float32)
            text_alone = uniform < self.config.text_alone
            labels_alone = uniform > 1 - self.config.labels_alone
            hide_text = hide_text | (labels_alone & ~hide_labels)
            hide_labels = hide_labels | text_alone
        return replace(condition, hide_labels=hide_labels, hide_text=hide_text)

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
