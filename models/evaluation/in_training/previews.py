"""What a network in training makes of validation windows: motions to look at, each with a line about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from models.batch import Batch
from models.evaluation.motions.generated import Prompt, PromptSampler
from models.motion import Motion
from models.networks.classifier import Classifier
from models.networks.features import Root, features_to_motion, yaw_of
from models.networks.vqvae import VQVAE
from models.sampling.generate import Generator
from models.training.data_source import DataInfo


@dataclass(frozen=True, eq=False)
class Preview:
    """Motions with a title for each."""

    motions: list[Motion]
    titles: list[str]


def first_windows(batch: Batch, n: int) -> Batch:
    """The first n windows of a batch."""
    own = None if batch.own is None else batch.own[:n]
    return Batch(batch.poses[:n], batch.trans[:n], batch.length[:n], batch.labels[:n], own)


def label_names(batch: Batch, vocabulary: Sequence[str]) -> list[tuple[str, ...]]:
    """Labels of each window, its own name first; all of them, if they change within it."""
    k_hot = batch.labels.amax(1) if batch.labels.dim() == 3 else batch.labels
    own = [-1] * len(k_hot) if batch.own is None else batch.own.tolist()
    names = []
    for row, first in zip(k_hot.cpu(), own, strict=True):
        columns = row.nonzero()[:, 0].tolist()
        columns.sort(key=lambda column: column != first)
        names.append(tuple(vocabulary[column] for column in columns))
    return names


def to_motions(batch: Batch, info: DataInfo) -> list[Motion]:
    """The windows of a batch without their padding, at the data's frame rate."""
    names = label_names(batch, info.labels)
    return _motions(batch.poses, batch.trans, batch.length, names, info)


@torch.no_grad()
def reconstructed(vqvae: VQVAE, batch: Batch, info: DataInfo) -> Preview:
    """Each window, and beside it what is left of it after its way through the tokens."""
    start = Root(yaw_of(roma.rotvec_to_rotmat(batch.poses[:, 0, 0])), batch.trans[:, 0])
    made = vqvae(batch.poses, batch.trans, batch.length).features.float()
    pose = features_to_motion(made, vqvae.config.translation, start)
    poses = roma.rotmat_to_rotvec(pose.rotmats)
    truth = to_motions(batch, info)
    decoded = _motions(poses, pose.trans, batch.length, [m.labels for m in truth], info)
    pairs = [motion for pair in zip(truth, decoded, strict=True) for motion in pair]
    return Preview(pairs, ["truth", "reconstruction"] * len(truth))


@torch.no_grad()
def generated(generator: Generator, batch: Batch, seed: int) -> Preview:
    """Motions with the labels and durations of the windows; those without labels are left out."""
    prompts = prompts_of(batch, generator.labels)
    motions = PromptSampler(generator).motions(prompts, (seed,))
    return Preview(motions, [" + ".join(prompt.labels) for prompt in prompts])


@torch.no_grad()
def classified(classifier: Classifier, batch: Batch, info: DataInfo) -> Preview:
    """The windows, each with its likeliest label and whether that is a true one."""
    motions = to_motions(batch, info)
    likely = classifier(batch.poses, batch.trans, batch.length).logits.sigmoid().max(1)
    titles = [
        f"{info.labels[k]} {share:.0%}, {'right' if info.labels[k] in motion.labels else 'wrong'}"
        for motion, k, share in zip(motions, likely.indices.tolist(), likely.values.tolist(), strict=True)
    ]
    return Preview(motions, titles)


def prompts_of(batch: Batch, vocabulary: Sequence[str]) -> list[Prompt]:
    """Labels, durations and places in their clips of the windows that have labels."""
    prompts: list[Prompt] = []
    for k, own in enumerate(label_names(batch, vocabulary)):
        n_frames = int(batch.length[k])
        before, after = 0, 0
        if batch.position is not None and batch.remaining is not None:
            before = max(0, int(batch.position[k, 0]))
            after = max(0, int(batch.remaining[k, n_frames - 1]) - 1)
        if own:
            prompts.append(Prompt(own, n_frames, None, before, after))
    return prompts


def _motions(
    poses: Tensor, trans: Tensor, length: Tensor, labels: Sequence[tuple[str, ...]], info: DataInfo
) -> list[Motion]:
    rows = zip(poses.cpu().numpy(), trans.cpu().numpy(), length.tolist(), labels, strict=True)
    return [Motion(p[:n], t[:n], info.fps, info.body_type, names) for p, t, n, names in rows]
