"""A generator with its tokenizer, and what all generation needs of it: conditions, seeds, decoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import roma
import torch
from torch import Tensor

from models.body.skeleton import BodyType
from models.checkpoint import TOKENIZER, check_tokenizer, find_checkpoint, load_gpt, load_vqvae
from models.distributed import resolve_device
from models.errors import PoseGPTError
from models.label_facts import LabelFacts, own_guidance
from models.motion import Motion
from models.networks.condition import Condition
from models.networks.features import Pose, Root
from models.networks.gpt import GPT
from models.networks.inference import lay_out_for_products
from models.networks.vqvae import VQVAE
from models.sampling.settings import GUIDANCE, CodeSettings
from models.text.encoder import load_encoder


@dataclass(frozen=True, eq=False)
class Generator:
    """A GPT with its tokenizer."""

    gpt: GPT
    vqvae: VQVAE
    labels: tuple[str, ...]
    """Vocabulary of the GPT's labels."""
    fps: float
    body_type: BodyType
    device: str
    licence: str = ""
    """Terms of its weights; its motions carry them."""
    facts: Mapping[str, LabelFacts] = field(default_factory=dict)
    """What is known of the labels: usual lengths, guidance."""


def load_generator(gpt: Path | None = None, device: str = "auto") -> Generator:
    """A generator from a run or checkpoint folder; None is the bundled one."""
    device = resolve_device(device)
    folder = find_checkpoint(gpt, "gpt")
    network, info = load_gpt(folder, device)
    vqvae, about = load_vqvae(folder / TOKENIZER, device)
    check_tokenizer(folder, info, about)
    lay_out_for_products(network)
    return Generator(
        network, vqvae, info.labels, info.fps, info.body_type, device, info.licence, info.label_facts
    )


def make_condition(
    generator: Generator,
    labels: Sequence[str],
    duration: Tensor,
    hide_duration: bool = False,
    text: str = "",
) -> Condition:
    """The condition of motions of the same labels and text, one for each duration (B,) in tokens."""
    k_hot = torch.zeros(len(duration), len(generator.labels), device=generator.device)
    for label in labels:
        if label not in generator.labels:
            raise PoseGPTError(
                f"the checkpoint does not know the label '{label}'", "posegpt actions lists them"
            )
        k_hot[:, generator.labels.index(label)] = 1
    duration = duration.to(generator.device)
    if hide_duration:
        condition = Condition.of(k_hot, duration)
        condition = replace(condition, hide_duration=torch.ones_like(condition.hide_duration))
    else:
        condition = Condition.of_whole(k_hot, duration)
    if text:
        vector = _vector_of(generator, text)
        condition = condition.with_text(vector.expand(len(duration), 1, -1))
    return condition


def _vector_of(generator: Generator, text: str) -> Tensor:
    """(1, V) sentence vector, as the GPT was trained with; raises PoseGPTError if it was trained without."""
    name = generator.gpt.config.text_vectors
    if not name:
        raise PoseGPTError("this checkpoint was not trained on texts", "give labels, or train with text=True")
    return torch.from_numpy(load_encoder(name).encode([text])).to(generator.device)


def guidance_for(generator: Generator, labels: Sequence[Sequence[str]], settings: CodeSettings) -> Tensor:
    """(B,) guidance of motions with these labels: that of the settings, or else each action's own."""
    if settings.guidance is not None:
        own = [settings.guidance] * len(labels)
    else:
        own = [own_guidance(generator.facts, of, GUIDANCE) for of in labels]
    return torch.tensor(own, device=generator.device)


def make_rngs(seed: int, n: int) -> list[torch.Generator]:
    """Random states of n motions, each from a seed of its own."""
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def check_length(n_frames: int | None) -> None:
    """Raises PoseGPTError for less than one frame."""
    if n_frames is not None and n_frames < 1:
        raise PoseGPTError(f"expected at least 1 frame, got {n_frames}", "n_frames=64", "n_frames")


@torch.no_grad()
def decode(
    generator: Generator,
    codes: Tensor,
    lengths: Tensor,
    labels: tuple[str, ...] = (),
    start: Root | None = None,
) -> list[Motion]:
    """Motions of `lengths` (B,) frames from codes (B, S, K)."""
    pose = generator.vqvae.decode(codes, start, lengths)
    motions = to_motions(generator, pose, labels)
    return [motion.crop(0, int(n)) for motion, n in zip(motions, lengths, strict=True)]


def to_motions(generator: Generator, pose: Pose, labels: tuple[str, ...]) -> list[Motion]:
    """One motion for each of the B poses."""
    poses = roma.rotmat_to_rotvec(pose.rotmats).cpu().numpy()
    trans = pose.trans.cpu().numpy()
    name = " + ".join(labels)
    motions = []
    for rotvecs, path in zip(poses, trans, strict=True):
        made = Motion(rotvecs, path, generator.fps, generator.body_type, labels, name)
        motions.append(replace(made, licence=generator.licence))
    return motions
