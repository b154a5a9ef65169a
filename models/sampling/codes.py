"""Tokenizers that share their codes: the same encoder and codebooks, another decoder.

So one generator, trained on the codes of a CausalVQVAE, can also be streamed by an OnlineVQVAE.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoint import find_checkpoint, load_vqvae
from models.errors import PoseGPTError
from models.networks.config import VQVAEConfig
from models.networks.vqvae import VQVAE

FREE_SETTINGS = ("model", "dropout", "quantizer_dropout", "ema_decay")
"""Settings that do not decide what weights mean: tokenizers that share their codes may differ in them."""


def take_codes(network: VQVAE, source: Path, fps: float) -> None:
    """Give a new tokenizer the encoder, codebooks and statistics of a trained one, frozen.

    The decoder starts on the other one's, too, and stays free. `hold_codes` must follow every `train()`.

    Raises PoseGPTError if there is no such tokenizer, or it does not fit.
    """
    folder = find_checkpoint(source, "vqvae")
    trained, about = load_vqvae(folder)
    if (about.body_type, about.fps) != (network.config.body_type, fps):
        raise PoseGPTError(
            f"{folder} was trained on {about.body_type} at {about.fps:g} fps, "
            f"the data is {network.config.body_type} at {fps:g} fps",
            "prepare the data like that, or train without `encoder`",
            "encoder",
        )
    if trained.causal_encoder != network.causal_encoder:
        raise PoseGPTError(
            f"the encoder of {folder} is that of an {trained.config.model}, "
            f"which {network.config.model} cannot share",
            "give as `encoder` a CausalVQVAE or an OnlineVQVAE",
            "encoder",
        )
    differing = _differing(network.config, trained.config)
    if differing:
        theirs = [f"{name}={getattr(trained.config, name)}" for name in differing]
        ours = [f"{name}={getattr(network.config, name)}" for name in differing]
        raise PoseGPTError(
            f"{folder} has {', '.join(theirs)}; this run has {', '.join(ours)}",
            f"give {' '.join(theirs)}",
            differing,
        )

    # All weights, so that the decoder starts from the trained one's; then only what makes codes is frozen.
    network.load_state_dict(trained.state_dict())
    for module in _code_modules(network):
        module.requires_grad_(False)


def hold_codes(network: VQVAE) -> None:
    """Put what makes the codes in evaluation mode: no dropout there, and the codebooks stay as they are."""
    for module in _code_modules(network):
        module.eval()


def code_weight_names(network: VQVAE) -> set[str]:
    """Names of all weights and buffers that the codes, and what they stand for, depend on."""
    # Names inside a part are not those inside the network, so weights are found by identity.
    own: set[int] = set()
    for module in _code_modules(network):
        own.update(id(tensor) for tensor in module.state_dict(keep_vars=True).values())
    whole = network.state_dict(keep_vars=True)
    return {"mean", "std"} | {name for name, tensor in whole.items() if id(tensor) in own}


def same_codes(one: VQVAE, other: VQVAE) -> bool:
    """Whether two tokenizers make the same codes of a motion: by their weights, up to half precision."""
    if one.causal_encoder != other.causal_encoder or _differing(one.config, other.config):
        return False
    # Features are normalised before they are encoded.
    if not _same(one.mean, other.mean) or not _same(one.std, other.std):
        return False
    pairs = zip(_code_modules(one), _code_modules(other), strict=True)
    return all(_same_weights(a, b) for a, b in pairs)


def _code_modules(network: VQVAE) -> list[nn.Module]:
    """All parts of a tokenizer that its codes, and what they stand for, depend on."""
    return [
        network.embed,
        network.encoder_convs,
        network.encoder_frame_blocks,
        network.merge,
        network.encoder_blocks,
        network.to_latent,
        network.quantizer,
    ]


def _differing(one: VQVAEConfig, other: VQVAEConfig) -> list[str]:
    """Names of the settings in which they may not differ, and do."""
    differing: list[str] = []
    for name in VQVAEConfig.model_fields:
        if name not in FREE_SETTINGS and getattr(one, name) != getattr(other, name):
            differing.append(name)
    return differing


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(_same(a[name], b[name]) for name in a)


def _same(one: Tensor, other: Tensor) -> bool:
    """Checkpoints may be stored in half precision, as the bundled one is."""
    return torch.equal(one.half(), other.to(one.device).half())
