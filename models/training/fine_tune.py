"""Fine-tune: start a run from the weights of a checkpoint instead of from random ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from models.checkpoint import (
    StageName,
    find_checkpoint,
    load_classifier,
    load_gpt,
    load_vqvae,
    network_settings,
    read_info,
)
from models.config import Config
from models.errors import PoseGPTError
from models.sampling.codes import FREE_SETTINGS
from models.training.data_source import DataInfo
from models.training.stages.stage import TrainStage

PRETRAINED_NAME = Path("pretrained")
"""Names the bundled checkpoint, unless there is a folder of that name."""

_LOAD = {"vqvae": load_vqvae, "gpt": load_gpt, "classifier": load_classifier}
_LABEL_DIMENSIONS: dict[StageName, dict[str, int]] = {
    "vqvae": {},
    "gpt": {"embed_labels.weight": 1},
    "classifier": {"head.weight": 0, "head.bias": 0},
}
"""Weights that have an entry per label, and along which dimension."""
_OF_WORDS = ("words.vectors", "words.of_label")
"""Weights of the words of the labels: other labels have other words, so the file's own vectors stay."""
_NO_LABELS = "no_labels"
_EMBEDDED = "embed_labels.weight"
"""Weights (D, L) of the labels, and one or several rows (D,) in their place where none is given."""
_NAME_HEAD = "name_head."
"""Weights that have an entry per own name."""
_FREE_SETTINGS = {
    "vqvae": set(FREE_SETTINGS),
    "gpt": {
        "n_labels",
        "n_words",
        "label_groups",
        "gpt_embd_pdrop",
        "gpt_resid_pdrop",
        "gpt_attn_pdrop",
        "label_dropout",
        "label_subset",
        "seqlen_dropout",
        "past_dropout",
        "label_changes",
        "token_corruption",
    },
    "classifier": {"n_labels", "names", "styles", "dropout", "scale_noise", "joint_noise"},
}
"""Settings of a network that do not decide what its weights mean."""


def decisive_settings(source: Path, stage: StageName) -> dict[str, Any]:
    """Settings of a checkpoint's network that decide what its weights mean, so that a run must share them.

    Raises PoseGPTError if there is no such checkpoint.
    """
    found = network_settings(read_info(_find(source, stage)))
    return {name: value for name, value in found.items() if name not in _FREE_SETTINGS[stage]}


def fine_tune_from(stage: TrainStage, source: Path, info: DataInfo) -> None:
    """Give the stage's network the weights of a checkpoint of the same architecture.

    Labels are matched by name: those that the checkpoint knows keep what it learned of them.

    Raises PoseGPTError if there is no such checkpoint, or it does not fit.
    """
    folder = _find(source, stage.stage)
    trained, about = _LOAD[stage.stage](folder)
    if (about.body_type, about.fps) != (info.body_type, info.fps):
        raise PoseGPTError(
            f"{folder} was trained on {about.body_type} at {about.fps:g} fps, "
            f"the data is {info.body_type} at {info.fps:g} fps",
            "prepare the data like that, or start from random weights",
        )
    _refuse_other_network(stage, cast(Config, trained.config).model_dump(mode="json"), folder)

    # What the stage has taken from elsewhere stays, and new labels keep their random weights.
    initial = stage.network.state_dict()
    weights = trained.state_dict() | {name: initial[name] for name in stage.fixed()}
    weights |= {name: initial[name] for name in _OF_WORDS if name in initial}
    for name, dim in _LABEL_DIMENSIONS[stage.stage].items():
        if name in weights:
            weights[name] = _by_label(weights[name], about.labels, initial[name], info.labels, dim)
    weights = _with_own_names(weights, cast(Config, trained.config), initial, stage)
    if _NO_LABELS in weights and weights[_NO_LABELS].shape != initial[_NO_LABELS].shape:
        weights |= _with_own_groups(weights, initial)
    stage.network.load_state_dict(weights)


def _find(source: Path, stage: StageName) -> Path:
    """The folder of a checkpoint, or of the bundled one by its name."""
    is_bundled = source == PRETRAINED_NAME and not source.exists()
    return find_checkpoint(None if is_bundled else source, stage)


def _with_own_names(
    weights: dict[str, Tensor], config: Config, initial: dict[str, Tensor], stage: TrainStage
) -> dict[str, Tensor]:
    """The weights with a classifier's scores of names, matched by name as labels are."""
    theirs = getattr(config, "names", ())
    ours = cast(Sequence[str], stage.network_config().get("names", ()))
    matched = {name: tensor for name, tensor in weights.items() if not name.startswith(_NAME_HEAD)}
    for name, tensor in initial.items():
        if name.startswith(_NAME_HEAD):
            matched[name] = _by_label(weights[name], theirs, tensor, ours, 0) if theirs else tensor
    return matched


def _with_own_groups(weights: dict[str, Tensor], initial: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of labels for data with actions alone, from those of actions and styles, or the other way.

    What a motion is told of its labels is a sum over the kinds, each with a row that says "none of them".
    """
    learned = weights[_NO_LABELS]
    if initial[_NO_LABELS].dim() == 2:
        # Styles are new: without one, nothing is added to what the action says.
        return {_NO_LABELS: torch.cat([learned[None], torch.zeros_like(initial[_NO_LABELS][1:])])}

    # Without styles, every action is one without a style, as the network has learned it.
    found = {_NO_LABELS: learned.sum(0)}
    if _EMBEDDED in weights:
        found[_EMBEDDED] = weights[_EMBEDDED] + learned[1:].sum(0)[:, None]
    return found


def _refuse_other_network(stage: TrainStage, theirs: dict[str, object], folder: Path) -> None:
    ours = stage.network_config()
    decisive = [name for name in theirs if name not in _FREE_SETTINGS[stage.stage]]
    names = [name for name in decisive if theirs[name] != ours[name]]
    if names:
        differences = ", ".join(f"{name} {theirs[name]} (here {ours[name]})" for name in names)
        settings = ", ".join(f"{name}={theirs[name]}" for name in names)
        raise PoseGPTError(f"{folder} has {differences}", f"use {settings}", names)


def _by_label(
    learned: Tensor, known: Sequence[str], initial: Tensor, labels: Sequence[str], dim: int
) -> Tensor:
    """`initial` with the entries, along `dim`, of those labels that are known."""
    # Rows of the shared labels, in the new order and in the checkpoint's.
    both = [label for label in labels if label in known]
    to = torch.tensor([labels.index(label) for label in both], dtype=torch.long)
    origin = torch.tensor([known.index(label) for label in both], dtype=torch.long)
    return initial.index_copy(dim, to, learned.index_select(dim, origin))
