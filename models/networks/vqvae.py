"""The tokenizer: a transformer VQ-VAE from motion to discrete codes and back.

PoseGPT (Lucas et al., ECCV 2022), section 3.1. `arch="paper"` is its layout. Differences of the modern one:
features are relative to the heading by default; convolutions at frame rate stand before and after the
transformer; frames are merged and split by linear layers per token; attention looks at a window, with rotary
positions, so that length is free. In both features are normalised, and OnlineVQVAE is strictly causal.

Letters of shapes: B motions, T frames, F features, S tokens, K books, J joints.
"""

from dataclasses import dataclass

import roma
import torch
from einops import rearrange
from torch import Tensor, nn

from models.networks.config import VQVAEConfig
from models.networks.features import Pose, Root, features_to_motion, motion_to_features
from models.networks.layers import (
    BlockSizes,
    ConvBlock,
    ConvCache,
    KVCache,
    Transformer,
    make_norm,
    window_mask,
)
from models.networks.quantizer import Quantized, make_quantizer
from models.networks.resolution import PooledConv, TransposedConv


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A motion after its way through the tokens."""

    features: Tensor
    """(B, T, F) decoded features."""
    target: Tensor
    """(B, T, F) features of the input."""
    quantized: Quantized


@dataclass(frozen=True, eq=False)
class DecoderCache:
    """What a causal decoder must remember from one token to the next."""

    blocks: KVCache
    convs: list[ConvCache]
    split: ConvCache
    """The last token, of the paper's architecture."""


class VQVAE(nn.Module):
    """Motion tokenizer; the three variants differ in what encoder and decoder may see."""

    causal_encoder = True
    causal_decoder = False
    mean: Tensor
    std: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        dim, f = config.hid_dim, config.factor
        is_paper = config.arch == "paper"
        sizes = BlockSizes(dim, config.heads, config.dropout, config.dropout, config.arch, sine=is_paper)

        def convs(causal: bool) -> nn.ModuleList:
            return nn.ModuleList(ConvBlock(dim, causal) for _ in range(config.n_convs))

        self.register_buffer("mean", torch.zeros(config.n_features))
        self.register_buffer("std", torch.ones(config.n_features))
        self.embed = nn.Linear(config.n_features, dim)
        self.encoder_convs = convs(self.causal_encoder)
        self.encoder_frame_blocks = Transformer(config.frame_layers, sizes)
        self.merge: nn.Module = nn.Linear(f * dim, dim)
        if is_paper:
            self.merge = PooledConv(dim, f, self.causal_encoder)
        self.encoder_blocks = Transformer(config.n_layers, sizes)
        self.to_latent = nn.Sequential(make_norm(dim, config.arch), nn.Linear(dim, config.e_dim))
        self.quantizer = make_quantizer(config)
        self.from_latent = nn.Linear(config.e_dim, dim)
        self.decoder_blocks = Transformer(config.n_layers, sizes)
        self.split: nn.Module = nn.Linear(dim, f * dim)
        if is_paper:
            self.split = TransposedConv(dim, f, self.causal_decoder)
        self.decoder_frame_blocks = Transformer(config.frame_layers, sizes)
        self.decoder_convs = convs(self.causal_decoder)
        last = nn.Linear(dim, config.n_features)
        self.to_features = nn.Sequential(make_norm(dim, config.arch), last)
        if is_paper:
            self.to_features = nn.Sequential(
                make_norm(dim, config.arch), nn.Linear(dim, dim), nn.ReLU(), last
            )

    def forward(self, poses: Tensor, trans: Tensor, length: Tensor) -> Reconstruction:
        """Through the bottleneck and back: poses (B, T, J, 3) rotvec, trans (B, T, 3), length (B,)."""
        target = self.features(poses, trans)
        latents = self.encode_latents(target, length)
        quantized = self.quantizer(latents, self.token_mask(target.shape[1], length))
        features = self.decode_latents(quantized.latents, length)[:, : target.shape[1]]
        return Reconstruction(features, target, quantized)

    def features(self, poses: Tensor, trans: Tensor) -> Tensor:
        """Features (..., T, F) of poses (..., T, J, 3) rotvec and trans (..., T, 3)."""
        with torch.autocast(poses.device.type, enabled=False):
            return motion_to_features(roma.rotvec_to_rotmat(poses), trans, self.config.translation)

    def encode(self, poses: Tensor, trans: Tensor, length: Tensor | None = None) -> Tensor:
        """Codes (B, ceil(T / factor), K) of a motion; those past the length are meaningless."""
        if length is None:
            length = poses.new_full((len(poses),), poses.shape[1], dtype=torch.long)
        latents = self.encode_latents(self.features(poses, trans), length)
        quantized: Quantized = self.quantizer(latents, self.token_mask(poses.shape[1], length))
        return quantized.codes

    def decode(self, codes: Tensor, start: Root | None = None, length: Tensor | None = None) -> Pose:
        """Motion of S * factor frames from codes (B, S, K), standing at a start (default: the origin)."""
        if length is None:
            length = codes.new_full((len(codes),), codes.shape[1] * self.config.factor)
        features = self.decode_latents(self.quantizer.lookup(codes), length)
        return features_to_motion(features, self.config.translation, start)

    def encode_latents(self, features: Tensor, length: Tensor) -> Tensor:
        """Latents (B, S, e_dim) before quantization of features (B, T, F)."""
        factor = self.config.factor
        # Fill up to whole tokens. Whatever stands after the last frame is replaced by that frame, here and
        # in a cropped motion, so that padding changes nothing.
        frames = torch.arange(self.n_tokens(features.shape[1]) * factor, device=length.device)
        frames = torch.minimum(frames, (length - 1)[:, None])
        features = features.gather(1, frames[..., None].expand(-1, -1, features.shape[-1]))

        # At frame rate.
        x = self.embed((features - self.mean) / self.std).float()
        token_mask = self.token_mask(features.shape[1], length)
        frame_mask = token_mask.repeat_interleave(factor, 1)
        for conv in self.encoder_convs:
            x = conv(x, frame_mask)

        x = self._frame_blocks(self.encoder_frame_blocks, x, frame_mask, self.causal_encoder)

        # At token rate: a token's frames become one vector.
        if self.config.arch == "paper":
            x = self.merge(x, frame_mask).float()
        else:
            x = self.merge(rearrange(x, "b (s f) d -> b s (f d)", f=factor)).float()
        mask = self._attention_mask(token_mask, self.causal_encoder)
        return self.to_latent(self.encoder_blocks(x, mask))

    def decode_latents(self, latents: Tensor, length: Tensor, cache: DecoderCache | None = None) -> Tensor:
        """Features (B, S * factor, F) of quantized latents (B, S, e_dim); a cache holds earlier ones."""
        factor = self.config.factor
        token_mask = self.token_mask(latents.shape[1] * factor, length)

        # At token rate. With a cache, all that is held may be seen.
        mask = None if cache else self._attention_mask(token_mask, self.causal_decoder)
        x = self.from_latent(latents).float()
        x = self.decoder_blocks(x, mask, cache.blocks if cache else None)

        # At frame rate.
        if self.config.arch == "paper":
            # A token past the end must have no part in the last valid frame.
            x = self.split(x * token_mask[..., None], cache.split if cache else None).float()
        else:
            x = rearrange(self.split(x).float(), "b s (f d) -> b (s f) d", f=factor)
        frame_mask = token_mask.repeat_interleave(factor, 1)
        x = self._frame_blocks(self.decoder_frame_blocks, x, frame_mask, self.causal_decoder)
        for i, conv in enumerate(self.decoder_convs):
            x = conv(x, frame_mask, cache.convs[i] if cache else None)
        return self.to_features(x).float() * self.std + self.mean

    def n_tokens(self, n_frames: int) -> int:
        return -(-n_frames // self.config.factor)

    def token_mask(self, n_frames: int, length: Tensor) -> Tensor:
        """(B, S) bool: tokens that hold at least one valid frame."""
        first_frame = torch.arange(self.n_tokens(n_frames), device=length.device) * self.config.factor
        return first_frame < length[:, None]

    def _frame_blocks(self, blocks: Transformer, x: Tensor, frame_mask: Tensor, causal: bool) -> Tensor:
        """Blocks at the rate of frames, whose window is as long as that of tokens."""
        if not len(blocks):
            return x
        mask = self._attention_mask(frame_mask, causal, self.config.window * self.config.factor)
        return blocks(x, mask)

    def _attention_mask(self, valid: Tensor, causal: bool, window: int | None = None) -> Tensor:
        """(B, 1, S, S) of valid tokens (B, S), or of frames; every query sees at least itself."""
        n = valid.shape[1]
        near = window_mask(n, window or self.config.window, causal, valid.device)
        itself = torch.eye(n, dtype=torch.bool, device=valid.device)
        return (near & (valid[:, None] | itself))[:, None]


class OfflineVQVAE(VQVAE):
    """Encoder and decoder see the whole motion."""

    causal_encoder = False


class CausalVQVAE(VQVAE):
    """A token depends on no later frame, so that any observed past can be tokenized (the paper's choice)."""


class OnlineVQVAE(VQVAE):
    """A frame depends on no later token either, so that frames can be shown as tokens arrive."""

    causal_decoder = True

    def new_cache(self, batch: int) -> DecoderCache:
        """For decode_latents, one token at a time."""
        frames = self.from_latent.weight.new_zeros(batch, 2, self.config.hid_dim)
        return DecoderCache(
            self.decoder_blocks.new_cache(batch, self.config.window),
            [ConvCache(frames) for _ in self.decoder_convs],
            ConvCache(frames[:, :1]),
        )


def make_vqvae(config: VQVAEConfig) -> VQVAE:
    """The tokenizer that a config describes, with new weights."""
    return _VARIANTS[config.model](config)


_VARIANTS: dict[str, type[VQVAE]] = {
    "OfflineVQVAE": OfflineVQVAE,
    "CausalVQVAE": CausalVQVAE,
    "OnlineVQVAE": OnlineVQVAE,
}
