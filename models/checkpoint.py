"""Checkpoints: a folder with model.safetensors and config.json. Nothing is ever unpickled.

A generator's checkpoint holds its tokenizer in the subfolder `tokenizer`, so that it is complete by itself,
and may hold an OnlineVQVAE of the same vocabulary in `streaming`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

from pydantic import Field

from models.body.skeleton import BodyType
from models.config import Config
from models.errors import PoseGPTError, SettingsError
from models.files import atomic_folder, parse_json, read_bytes, write_atomically
from models.label_facts import LabelFacts
from models.leftovers import standing_folder
from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.networks.classifier import Classifier
    from models.networks.gpt import GPT
    from models.networks.vqvae import VQVAE

StageName = Literal["vqvae", "gpt", "classifier"]
PRETRAINED = Path(__file__).parent / "pretrained"
TOKENIZER = "tokenizer"
STREAMING = "streaming"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
FORMAT = 1
_LARGEST_CONFIG = 1 << 26
_C = TypeVar("_C", bound=Config)
_N = TypeVar("_N", bound="nn.Module")


class CheckpointInfo(Config):
    """What a checkpoint says of itself in config.json."""

    format: int = FORMAT
    """Version of this file's layout."""
    stage: StageName
    """Which network it holds."""
    network: dict[str, Any]
    """The network's config."""
    body_type: BodyType
    """Body whose motion it knows."""
    fps: float
    """Frames per second of that motion."""
    labels: tuple[str, ...]
    """Label vocabulary, in the order of the network's input."""
    label_facts: dict[str, LabelFacts] = Field(default_factory=dict)
    """What is known of the labels, of a generator."""
    phrases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """What people call the labels, beyond the bundled phrases, of a generator; first a description."""
    data_fingerprint: str
    """Fingerprint of the training data."""
    tokenizer_sha256: str = ""
    """Checksum of the tokenizer's weights, of a generator."""
    weights_sha256: str = ""
    """Checksum of model.safetensors."""
    licence: str = ""
    """Terms of its weights in one sentence, which the motion it generates carries along."""
    step: int = 0
    """Training steps."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Validation figures at that step."""


def find_checkpoint(path: Path | None, stage: StageName) -> Path:
    """Folder of a checkpoint: the bundled one (None), a checkpoint, a run, or a generator's tokenizer.

    Raises PoseGPTError if there is none, or only one of another stage.
    """
    if path is None:
        return PRETRAINED / "gpt" / TOKENIZER if stage == "vqvae" else PRETRAINED / stage
    train_hint = f"train one: posegpt train {stage} --data DIR"
    if path.is_file():
        raise PoseGPTError(f"{path} is a file, expected the folder of a {stage} run", train_hint)
    if not path.is_dir():
        raise PoseGPTError(f"{path} does not exist, expected the folder of a {stage} run", train_hint)

    # A folder may be a checkpoint itself, or a run, whose best checkpoint comes first.
    checkpoints = path / "checkpoints"
    tried = [path, standing_folder(checkpoints / "best"), standing_folder(checkpoints / "last")]
    found = [folder for folder in tried if (folder / CONFIG).is_file()]
    if stage == "vqvae":
        found += [folder / TOKENIZER for folder in found if (folder / TOKENIZER / CONFIG).is_file()]
    if not found:
        raise PoseGPTError(f"{path} holds no checkpoint (no {CONFIG}, no checkpoints/best)", train_hint)

    # A run whose best and last differ in stage is not ours, but a copy gone wrong: take what fits.
    stages = [read_info(folder).stage for folder in found]
    if stage not in stages:
        raise PoseGPTError(f"{path} holds a {stages[0]}, expected a {stage}", train_hint)
    return found[stages.index(stage)]


def read_info(folder: Path) -> CheckpointInfo:
    """config.json of a checkpoint folder; raises PoseGPTError if it is damaged or of another kind."""
    path = folder / CONFIG
    if not path.exists() and folder.is_relative_to(PRETRAINED):
        raise PoseGPTError(f"no checkpoint came with this installation ({path})", "install posegpt again")
    try:
        info = CheckpointInfo.model_validate(parse_json(read_bytes(path, _LARGEST_CONFIG)))
    except (ValueError, PoseGPTError) as error:
        raise PoseGPTError(f"{path} is not a posegpt checkpoint: {error}", "use another run") from error
    if info.format != FORMAT:
        raise PoseGPTError(
            f"{folder} has checkpoint format {info.format}, expected {FORMAT}", "update posegpt"
        )
    return info


def load_vqvae(folder: Path, device: str = "cpu") -> "tuple[VQVAE, CheckpointInfo]":
    """Tokenizer in evaluation mode, float32."""
    from models.networks.vqvae import make_vqvae

    return _load(make_vqvae, VQVAEConfig, folder, device)


def load_gpt(folder: Path, device: str = "cpu") -> "tuple[GPT, CheckpointInfo]":
    """Generator in evaluation mode, float32."""
    from models.networks.gpt import GPT

    return _load(GPT, GPTConfig, folder, device)


def load_classifier(folder: Path, device: str = "cpu") -> "tuple[Classifier, CheckpointInfo]":
    """Classifier in evaluation mode, float32."""
    from models.networks.classifier import Classifier

    return _load(Classifier, ClassifierConfig, folder, device)


def check_tokenizer(folder: Path, info: CheckpointInfo, tokenizer: CheckpointInfo) -> None:
    """Raises PoseGPTError if a generator in `folder` was trained on another tokenizer's codes."""
    if info.tokenizer_sha256 and info.tokenizer_sha256 != tokenizer.weights_sha256:
        raise PoseGPTError(
            f"{folder} was trained with the tokenizer {info.tokenizer_sha256[:12]}, "
            f"got {tokenizer.weights_sha256[:12]}",
            "use the tokenizer of its training, or train the generator again",
        )


def _load(
    make: "Callable[[_C], _N]", kind: type[_C], folder: Path, device: str
) -> "tuple[_N, CheckpointInfo]":
    """A network with its weights, in evaluation mode, and what its checkpoint says of itself."""
    from models.networks.weights import build, read_tensors

    info = read_info(folder)
    config = _network(kind, info, folder)
    tensors = read_tensors(folder / WEIGHTS, info.weights_sha256)
    return build(make, config, tensors, folder).to(device), info


def read_weights(folder: Path, info: CheckpointInfo, expected: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Tensors of model.safetensors, checked against the checksum and the network's names and shapes."""
    from models.networks.weights import fitting, read_tensors

    return fitting(expected, read_tensors(folder / WEIGHTS, info.weights_sha256), folder)


def save_checkpoint(
    folder: Path,
    info: CheckpointInfo,
    state: "dict[str, Tensor]",
    tokenizer: Path | None = None,
    extra: Mapping[str, Callable[[Any], object]] | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint folder whole or not at all; the one before it is whole until then.

    Args:
        tokenizer: checkpoint folder of the tokenizer that goes along with a generator.
        extra: what writes further files, by their names (optimizer state).
        half: store floating-point weights in half precision.

    Raises PoseGPTError if it cannot be written.
    """
    import torch
    from safetensors.torch import save

    # The weights' checksum goes into config.json, so they are laid out in memory first.
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        stored = tensor.half() if half and tensor.dtype == torch.float32 else tensor
        tensors[name] = stored.contiguous().cpu()
    blob = save(tensors)
    sums = {"weights_sha256": hashlib.sha256(blob).hexdigest()}
    if tokenizer:
        sums["tokenizer_sha256"] = read_info(tokenizer).weights_sha256
    about = info.model_copy(update=sums).model_dump(mode="json")

    with _new_checkpoint(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(blob)
        (temporary / CONFIG).write_text(json.dumps(about, indent=1) + "\n")
        for name, write in (extra or {}).items():
            with (temporary / name).open("wb") as file:
                _write(write, file)
        # A generator is complete by itself: its tokenizer is copied into it.
        if tokenizer:
            (temporary / TOKENIZER).mkdir()
            for name in (WEIGHTS, CONFIG):
                shutil.copyfile(tokenizer / name, temporary / TOKENIZER / name)


def write_info(folder: Path, info: CheckpointInfo) -> None:
    """Replace what a checkpoint says of itself; its weights stay. Raises PoseGPTError if it cannot."""
    about = json.dumps(info.model_dump(mode="json"), indent=1) + "\n"
    write_atomically(folder / CONFIG, about.encode(), force=True)


def link_checkpoint(source: Path, folder: Path) -> None:
    """The same checkpoint under another name, without a copy of its content if the disk can do that.

    Raises PoseGPTError if it cannot be written.
    """
    with _new_checkpoint(folder) as temporary:
        shutil.copytree(source, temporary, copy_function=_link, dirs_exist_ok=True)


@contextmanager
def _new_checkpoint(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which then takes the place of `folder`."""
    try:
        with atomic_folder(folder, force=True) as temporary:
            yield temporary
    except (OSError, PoseGPTError) as error:
        # An error of the block comes as it is, one of making and placing the folder is explained already.
        cause = error.__cause__ if isinstance(error, PoseGPTError) else error
        if not isinstance(cause, OSError):
            raise
        reason = cause.strerror or cause
        raise PoseGPTError(
            f"cannot write the checkpoint {folder}: {reason}; the one before it stays as it was",
            "make room, then go on with resume=True",
            "resume",
        ) from cause


class _Watched:
    """A file for torch.save, which hides why a write failed: it makes a RuntimeError of a full disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _write(write: Callable[[Any], object], file: BinaryIO) -> None:
    """Let `write` fill a file; raises OSError with the system's own reason if that fails."""
    watched = _Watched(file)
    try:
        write(watched)
        file.flush()
    except RuntimeError:
        if watched.error is None:
            raise
        raise watched.error from None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)


def network_settings(info: CheckpointInfo) -> dict[str, Any]:
    """Settings of a checkpoint's network, with the names and defaults of this version."""
    kind = next(kind for kind, stage in _STAGE_OF.items() if stage == info.stage)
    return kind.model_validate(info.network).model_dump(mode="json")


def _network(kind: type[_C], info: CheckpointInfo, folder: Path) -> _C:
    """The config of a checkpoint's network; raises PoseGPTError if it is of another stage or damaged."""
    expected = _STAGE_OF[kind]
    if info.stage != expected:
        raise PoseGPTError(f"{folder} holds a {info.stage}, expected a {expected}", "use another run")
    try:
        config = kind.model_validate(info.network)
    except SettingsError as error:
        raise PoseGPTError(f"{folder / CONFIG}: {error}", "use another run") from error
    # A tokenizer knows no labels; the other networks have an input or an output for each.
    n_labels = getattr(config, "n_labels", len(info.labels))
    if n_labels != len(info.labels):
        raise PoseGPTError(
            f"{folder / CONFIG}: expected {n_labels} labels, got {len(info.labels)}", "use another run"
        )
    return config


_STAGE_OF: dict[type[Config], StageName] = {
    VQVAEConfig: "vqvae",
    GPTConfig: "gpt",
    ClassifierConfig: "classifier",
}
