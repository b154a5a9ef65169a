"""Checkpoints: a folder with model.safetensors and config.json. Nothing is ever unpickled.

A generator's checkpoint holds its tokenizer in the subfolder `tokenizer`, so that it is complete by itself,
and may hold an OnlineVQVAE of the same vocabulary in `streaming`.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from models.config import ClassifierConfig, Config, GPTConfig, VQVAEConfig
from models.errors import PoseGPTError
from models.skeleton import BodyType

if TYPE_CHECKING:
    from torch import Tensor

    from models.classifier import Classifier
    from models.gpt import GPT
    from models.vqvae import VQVAE

Stage = Literal["vqvae", "gpt", "classifier"]
PRETRAINED = Path(__file__).parent / "pretrained"
TOKENIZER = "tokenizer"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 1
_C = TypeVar("_C", bound=Config)

STREAMING = "streaming"

class CheckpointInfo(Config):
    """What a checkpoint says of itself in config.json."""

    format: int = FORMAT
    """Version of this file's layout."""
    stage: Stage
    """Which network it holds."""
    network: dict[str, Any]
    """The network's config."""
    body_type: BodyType
    """Body whose motion it knows."""
    fps: float
    """Frames a second of that motion."""
    labels: tuple[str, ...]
    """Label vocabulary, in the order of the network's input."""
    data_fingerprint: str
    """Fingerprint of the training data."""
    weights_sha256: str = ""
    """Checksum of model.safetensors."""
    step: int = 0
    """Training steps."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Validation figures at that step."""


def find_checkpoint(path: Path | None, stage: Stage) -> Path:
    """Folder of a checkpoint: the one in the box (None), a checkpoint, a run, or a generator's tokenizer.

    Raises PoseGPTError where there is none, or only one of another stage.
    """
    if path is None:
        return PRETRAINED / "gpt" / TOKENIZER if stage == "vqvae" else PRETRAINED / stage
    train_hint = f"train one: posegpt train {stage} --data DIR"
    if path.is_file():
        raise PoseGPTError(f"{path} is a file, expected the folder of a {stage} run", train_hint)
    if not path.is_dir():
        raise PoseGPTError(f"{path} does not exist, expected the folder of a {stage} run", train_hint)
    tried = [path, path / "checkpoints" / "best", path / "checkpoints" / "last"]
    found = [folder for folder in tried if (folder / CONFIG).is_file()]
    if stage == "vqvae":
        found += [folder / TOKENIZER for folder in found if (folder / TOKENIZER / CONFIG).is_file()]
    if not found:
        raise PoseGPTError(f"{path} holds no checkpoint (no {CONFIG}, no checkpoints/best)", train_hint)
    stages = {}
    for folder in found:
        if (of := read_info(folder).stage) == stage:
            return folder
        stages[of] = folder
    raise PoseGPTError(f"{path} holds a {next(iter(stages))}, expected a {stage}", train_hint)


def read_info(folder: Path) -> CheckpointInfo:
    """config.json of a checkpoint folder; raises PoseGPTError where it is damaged or of another kind."""
    path = folder / CONFIG
    if not path.exists() and folder.is_relative_to(PRETRAINED):
        raise PoseGPTError(f"no checkpoint came with this installation ({path})", "install posegpt again")
    try:
        info = CheckpointInfo.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, ValueError) as error:
        raise PoseGPTError(
            f"{path} is not a posegpt checkpoint: {_first_line(error)}", "use another run"
        ) from error
    if info.format != FORMAT:
        raise PoseGPTError(
            f"{folder} has checkpoint format {info.format}, expected {FORMAT}", "update posegpt"
        )
    return info


def load_vqvae(folder: Path, device: str = "cpu") -> "tuple[VQVAE, CheckpointInfo]":
    """Tokenizer in evaluation mode, float32."""
    from models.vqvae import make_vqvae

    info = read_info(folder)
    model = make_vqvae(_network(VQVAEConfig, info, folder))
    model.load_state_dict(read_weights(folder, info, model.state_dict()))
    return model.to(device).eval().requires_grad_(False), info


def load_gpt(folder: Path, device: str = "cpu") -> "tuple[GPT, CheckpointInfo]":
    """Generator in evaluation mode, float32."""
    from models.gpt import GPT

    info = read_info(folder)
    model = GPT(_network(GPTConfig, info, folder))
    model.load_state_dict(read_weights(folder, info, model.state_dict()))
    return model.to(device).eval().requires_grad_(False), info


def load_classifier(folder: Path, device: str = "cpu") -> "tuple[Classifier, CheckpointInfo]":
    """Classifier in evaluation mode, float32."""
    from models.classifier import Classifier

    info = read_info(folder)
    model = Classifier(_network(ClassifierConfig, info, folder))
    model.load_state_dict(read_weights(folder, info, model.state_dict()))
    return model.to(device).eval().requires_grad_(False), info


def read_weights(folder: Path, info: CheckpointInfo, expected: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Tensors of model.safetensors, checked against the checksum and the network's names and shapes."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / WEIGHTS
    try:
        blob = path.read_bytes()
        tensors = load(blob)
    except (OSError, SafetensorError) as error:
        raise PoseGPTError(
            f"{path} cannot be read: {_first_line(error)}", "copy the checkpoint again"
        ) from error
    if info.weights_sha256 and hashlib.sha256(blob).hexdigest() != info.weights_sha256:
        raise PoseGPTError(f"{path} does not match the checksum in {CONFIG}", "copy the checkpoint again")
    for name, tensor in expected.items():
        got = tuple(tensors[name].shape) if name in tensors else "nothing"
        if got != tuple(tensor.shape):
            raise PoseGPTError(f"{path}: {name} expected {tuple(tensor.shape)}, got {got}", "use another run")
    return {name: tensors[name].to(tensor.dtype) for name, tensor in expected.items()}


def save_checkpoint(
    folder: Path,
    info: CheckpointInfo,
    state: "dict[str, Tensor]",
    tokenizer: Path | None = None,
    extra: "dict[str, bytes] | None" = None,
    half: bool = False,
) -> None:
    """Write a checkpoint folder whole or not at all.

    Args:
        tokenizer: checkpoint folder of the tokenizer that goes along with a generator.
        extra: further files by name (optimizer state).
        half: store floating-point weights in half precision.
    """
    import torch
    from safetensors.torch import save

    tensors = {
        name: (t.half() if half and t.dtype == torch.float32 else t).contiguous().cpu()
        for name, t in state.items()
    }
    blob = save(tensors)
    info = info.model_copy(update={"weights_sha256": hashlib.sha256(blob).hexdigest()})
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (temporary / WEIGHTS).write_bytes(blob)
        (temporary / CONFIG).write_text(json.dumps(info.model_dump(mode="json"), indent=1) + "\n")
        for name, content in (extra or {}).items():
            (temporary / name).write_bytes(content)
        if tokenizer:
            shutil.copytree(
                tokenizer, temporary / TOKENIZER, ignore=lambda _, names: set(names) - {WEIGHTS, CONFIG}
            )
        temporary.chmod(0o755)
        _replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; at any moment one of them, or the backup, is whole."""
    backup = folder.with_name(f".{folder.name}-old")
    shutil.rmtree(backup, ignore_errors=True)
    if folder.exists():
        folder.rename(backup)
    new.rename(folder)
    shutil.rmtree(backup, ignore_errors=True)


def _network(kind: "type[_C]", info: CheckpointInfo, folder: Path) -> "_C":
    expected = _STAGE_OF[kind]
    if info.stage != expected:
        raise PoseGPTError(f"{folder} holds a {info.stage}, expected a {expected}", "use another run")
    try:
        return kind.model_validate(info.network)
    except ValidationError as error:
        raise PoseGPTError(f"{folder / CONFIG}: {_first_line(error)}", "use another run") from error


_STAGE_OF: dict[type[Config], Stage] = {
    VQVAEConfig: "vqvae",
    GPTConfig: "gpt",
    ClassifierConfig: "classifier",
}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
