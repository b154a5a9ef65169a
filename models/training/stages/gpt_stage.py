"""Training stage of the generator (GPT): predict the tokens of windows from labels and duration."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.batch import Batch
from models.checkpoint import CheckpointInfo, StageName, find_checkpoint, load_vqvae
from models.errors import PoseGPTError
from models.networks.condition import Condition
from models.networks.gpt import GPT
from models.networks.vqvae import VQVAE
from models.text.encoder import load_encoder
from models.training.config import GPTRun
from models.training.data_source import DataInfo
from models.training.stages.stage import TrainStage, autocast
from models.training.stages.token_cache import MOST_CODES, TokenCache
from models.training.word_vectors import WordVectors, read_word_vectors


class GPTStage(TrainStage):
    """Predict the tokens of windows, given their labels and duration."""

    stage: StageName = "gpt"
    network: GPT
    best_metric = "nll"

    def __init__(self, run: GPTRun, info: DataInfo) -> None:
        super().__init__()
        self.run = run
        self.tokenizer = find_checkpoint(run.vqvae, "vqvae")
        vqvae, about = load_vqvae(self.tokenizer)
        if run.vq_model not in (None, vqvae.config.model):
            raise PoseGPTError(
                f"{self.tokenizer} is a {vqvae.config.model}, expected a {run.vq_model}",
                f"use vq_model={vqvae.config.model}, or another vqvae",
                ("vq_model", "vqvae"),
            )
        _check_shape(run, vqvae, self.tokenizer)
        if about.body_type != info.body_type or about.fps != info.fps:
            raise PoseGPTError(
                f"{self.tokenizer} was trained on {about.body_type} at {about.fps:g} fps, "
                f"the data is {info.body_type} at {info.fps:g} fps",
                "train another tokenizer on this data",
            )

        # Learned positions end where training ended; rotary ones go on.
        n_tokens = vqvae.n_tokens(run.seq_len)
        longest = run.network.gpt_blocksize
        if run.network.arch == "paper" and n_tokens > longest:
            raise PoseGPTError(
                f"windows of {run.seq_len} frames are {n_tokens} tokens, learned positions only {longest}",
                f"use gpt_blocksize={n_tokens}, or shorter windows",
                "gpt_blocksize",
            )
        # In a list, so that torch does not take it for a part of what is trained, averaged and saved.
        self._vqvae = [vqvae]
        labels_change = run.join_share > 0 or info.per_frame
        words = _word_vectors(run, info)
        self.config = run.network.replaced(
            text_dim=load_encoder(run.text_encoder).dim if run.text else 0,
            text_vectors=run.text_encoder if run.text else "",
            n_words=0 if words is None else len(words.vectors),
            word_dim=0 if words is None else words.vectors.shape[1],
            n_codebook=vqvae.config.n_codebook,
            codes_per_book=vqvae.config.codes_per_book,
            n_labels=len(info.labels),
            label_changes=labels_change and run.network.embed_every_step,
            label_groups=_label_groups(info) if run.network.arch == "modern" else (),
        )
        self.network = GPT(self.config)
        if words is not None:
            self.network.words.vectors.data.copy_(words.vectors)
            self.network.words.of_label.copy_(words.of_label)
        self._cache = token_cache(run, about, info, vqvae) if vqvae.causal_encoder else None

    @property
    def tokenizer_in_use(self) -> VQVAE:
        return self._vqvae[0]

    def prepare_batch(self, batch: Batch) -> Batch:
        frames = batch.length
        if self.config.seqlen_conditional:
            frames = torch.minimum(frames, self._random_lengths(len(frames)).to(frames))
        # Only a causal encoder gives the frames before a cut the same tokens whatever comes after it.
        causal = self.tokenizer_in_use.causal_encoder
        with autocast(self.run, batch.length.device):
            tokens = self._training_tokens(batch) if causal else self._tokenize(batch, frames)
        return replace(batch, length=frames, ended=self._ended(batch, frames), tokens=tokens)

    def _random_lengths(self, n: int) -> Tensor:
        """(n,) frames to cut windows to, half of them longer than any window: so every duration is learned.

        Windows are cut between tokens: with a causal encoder, those before the cut stay the same.
        """
        factor = self.tokenizer_in_use.config.factor
        shortest = min(self.run.min_seq_len, self.run.seq_len)
        lengths = torch.randint(shortest, 2 * self.run.seq_len, (n,))
        return (lengths // factor * factor).clamp(min=factor)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        length = self._n_tokens(batch.length)
        with autocast(self.run, batch.length.device):
            tokens = self._tokenize(batch, batch.length) if batch.tokens is None else batch.tokens
            nll = self.network.loss(tokens, length, self._condition(batch, length), batch.ended)
        return {"nll": nll}

    def counts(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return {"nll": self._n_tokens(batch.length).sum()}

    @torch.no_grad()
    def validate(self, network: GPT, batches: Iterable[Batch]) -> dict[str, float]:
        """Negative log-likelihood (nats per code) and share of codes predicted right."""
        nll = 0.0
        right = 0.0
        count = 0
        for batch in batches:
            codes = self._tokenize(batch, batch.length)
            length = self._n_tokens(batch.length)
            condition = self._condition(batch, length)
            valid = torch.arange(codes.shape[1], device=length.device) < length[:, None]
            logits = network(codes, condition)
            n = int(valid.sum()) * codes.shape[-1]
            ended = self._ended(batch, batch.length)
            nll += float(network.loss(codes, length, condition, ended)) * n
            right += float((logits.argmax(-1) == codes)[valid].sum())
            count += n
        return {"nll": nll / count, "accuracy": right / count}

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def _ended(self, batch: Batch, frames: Tensor) -> Tensor:
        """(B,) bool: windows whose first `frames` reach to their clip's end.

        One that is not filled holds its clip's end; a cut one does not.
        """
        is_filled = frames == batch.poses.shape[1]
        return (frames == batch.length) & ~is_filled | self.run.end_at_cut

    def _condition(self, batch: Batch, length: Tensor) -> Condition:
        """Labels and place in its clip of each token's first frame, and the duration (B,) of the window."""
        factor = self.tokenizer_in_use.config.factor
        labels = batch.labels
        # Labels of the window hold for each of its frames.
        if labels.dim() == 2:
            labels = labels[:, None].expand(-1, batch.poses.shape[1], -1)
        condition = Condition.of(labels[:, ::factor], length)
        if batch.text is not None and self.config.text_dim:
            condition = condition.with_text(batch.text[:, ::factor])

        # Sources without clips, such as motions in memory, know no places.
        if batch.position is None or batch.remaining is None:
            return condition
        position = batch.position[:, ::factor] // factor
        remaining = -(-batch.remaining[:, ::factor] // factor)
        return replace(condition, position=position, remaining=remaining)

    def _training_tokens(self, batch: Batch) -> Tensor:
        """(B, S, K) codes of the whole windows, from the cache on disk; what it lacks is added."""
        if self._cache is None or batch.rows is None:
            return self._tokenize(batch, batch.length)

        # The same windows come again after some epochs: their tokens are kept.
        tokens = self._cache.read(batch.rows)
        if tokens is None:
            tokens = self._tokenize(batch, batch.length)
            self._cache.write(batch.rows, tokens)
        return tokens

    @torch.no_grad()
    def _tokenize(self, batch: Batch, length: Tensor) -> Tensor:
        """Codes (B, S, K) of the first `length` frames."""
        return self.tokenizer_in_use.to(length.device).encode(batch.poses, batch.trans, length)

    def _n_tokens(self, length: Tensor) -> Tensor:
        """(B,) number of tokens of windows of (B,) frames."""
        return -(-length // self.tokenizer_in_use.config.factor)


def _word_vectors(run: GPTRun, info: DataInfo) -> WordVectors | None:
    """The vectors of the labels' words, if labels are embedded by them; PoseGPTError if there are none."""
    if run.network.action_emb == "scratch":
        if run.word_vectors is not None:
            raise PoseGPTError(
                "word vectors are not used by action_emb=scratch", "use action_emb=words_frozen", "action_emb"
            )
        return None
    if run.word_vectors is None:
        raise PoseGPTError(
            f"action_emb={run.network.action_emb} needs word vectors",
            "give word_vectors=FILE, e.g. glove.6B.50d.txt",
            "word_vectors",
        )
    return read_word_vectors(run.word_vectors, info.labels)


def _label_groups(info: DataInfo) -> tuple[int, ...]:
    """Group of each label: 0 for actions, 1 for styles; none if there is but one kind."""
    groups = tuple(int(label in info.styles) for label in info.labels)
    return groups if len(set(groups)) > 1 else ()


CACHE_KEY = (
    "seq_len",
    "min_seq_len",
    "train_batch_size",
    "seed",
    "mirror",
    "rotate",
    "tilt",
    "roll",
    "mask_trans",
    "n_train",
    "balance_actions",
    "balance_sets",
    "time_warp",
    "start_share",
    "join_share",
    "precision",
)
"""Settings that decide which windows a run trains on, and what their tokens are."""


def _check_shape(run: GPTRun, vqvae: VQVAE, folder: Path) -> None:
    """Raises PoseGPTError if the tokenizer is not what the run expects."""
    for name, expected in run.expected.model_dump().items():
        actual = getattr(vqvae.config, name.removeprefix("vq_"))
        if expected is not None and expected != actual:
            raise PoseGPTError(
                f"{folder} has {name.removeprefix('vq_')} {actual}, expected {expected}",
                f"use {name}={actual}, or another `vqvae`",
                (name, "vqvae"),
            )


def token_cache(run: GPTRun, tokenizer: CheckpointInfo, info: DataInfo, vqvae: VQVAE) -> TokenCache | None:
    """The cache of the tokens of a run's training windows; None if the run keeps none."""
    if not run.token_copies or vqvae.config.codes_per_book > MOST_CODES:
        return None
    key = {name: getattr(run, name) for name in CACHE_KEY}
    key |= {"tokenizer": tokenizer.weights_sha256, "data": info.fingerprint}
    return TokenCache(run.out / "tokens", key, vqvae.n_tokens(run.seq_len), vqvae.config.n_codebook)
