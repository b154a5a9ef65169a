"""Checkpoints: a folder with model.safetensors and config.json. Nothing is ever unpickled.

A generator's checkpoint holds its tokenizer in the subfolder `tokenizer`, so that it is complete by itself,
and may hold an OnlineVQVAE of the same vocabulary in `streaming`.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

from pydantic import Field

from models.body.skeleton import BodyType
from models.config import Config
from models.errors import PoseGPTError, SettingsError
from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.networks.classifier import Classifier
    from models.networks.gpt import GPT
    from models.networks.vqvae import VQVAE

Stage = Literal["vqvae", "gpt", "classifier"]
PRETRAINED = Path(__file__).parent / "pretrained"
TOKENIZER = "tokenizer"
STREAMING = "streaming"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 1
_REPLACED = "-old"
_C = TypeVar("_C", bound=Config)
_N = TypeVar("_N", bound="nn.Module")


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
    names = ("best", "last")
    tried = [path, *(path / "checkpoints" / name for name in names)]
    # Where a process was killed while it put a new checkpoint in place, the one before it stands here.
    tried += [replaced_by(path / "checkpoints" / name) for name in names]
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
    except (OSError, ValueError, SettingsError) as error:
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
    from models.networks.vqvae import make_vqvae

    info = read_info(folder)
    return _load(make_vqvae, _network(VQVAEConfig, info, folder), folder, info).to(device), info


def load_gpt(folder: Path, device: str = "cpu") -> "tuple[GPT, CheckpointInfo]":
    """Generator in evaluation mode, float32."""
    from models.networks.gpt import GPT

    info = read_info(folder)
    return _load(GPT, _network(GPTConfig, info, folder), folder, info).to(device), info


def load_classifier(folder: Path, device: str = "cpu") -> "tuple[Classifier, CheckpointInfo]":
    """Classifier in evaluation mode, float32."""
    from models.networks.classifier import Classifier

    info = read_info(folder)
    return _load(Classifier, _network(ClassifierConfig, info, folder), folder, info).to(device), info


def check_tokenizer(folder: Path, info: CheckpointInfo, tokenizer: CheckpointInfo) -> None:
    """Raises PoseGPTError where a generator in `folder` was trained on another tokenizer's codes."""
    if info.tokenizer_sha256 and info.tokenizer_sha256 != tokenizer.weights_sha256:
        raise PoseGPTError(
            f"{folder} was trained with the tokenizer {info.tokenizer_sha256[:12]}, "
            f"got {tokenizer.weights_sha256[:12]}",
            "use the tokenizer of its training, or train the generator again",
        )


def _load(make: "Callable[[_C], _N]", config: _C, folder: Path, info: CheckpointInfo) -> "_N":
    """A network with its weights, in evaluation mode; what a file does not fill is never made room for."""
    import torch
    from torch.overrides import TorchFunctionMode

    class NoInit(TorchFunctionMode):
        """Leaves initial values out: on the device `meta` they would import torch._dynamo, two seconds."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__module__", None) == "torch.nn.init":
                return None  # what they return is never used
            return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))

    try:
        with torch.device("meta"), NoInit():
            expected = make(config).state_dict()
    except (RuntimeError, OverflowError) as error:
        raise PoseGPTError(f"{folder / CONFIG}: {_first_line(error)}", "use another run") from error
    weights = read_weights(folder, info, expected)
    network = make(config)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


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
    extra: Mapping[str, Callable[[BinaryIO], object]] | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint folder whole or not at all; the one before it is whole until then.

    Args:
        tokenizer: checkpoint folder of the tokenizer that goes along with a generator.
        extra: what writes further files, by their names (optimizer state).
        half: store floating-point weights in half precision.

    Raises PoseGPTError where it cannot be written.
    """
    import torch
    from safetensors.torch import save

    tensors = {
        name: (t.half() if half and t.dtype == torch.float32 else t).contiguous().cpu()
        for name, t in state.items()
    }
    blob = save(tensors)
    sums = {"weights_sha256": hashlib.sha256(blob).hexdigest()}
    if tokenizer:
        sums["tokenizer_sha256"] = read_info(tokenizer).weights_sha256
    about = json.dumps(info.model_copy(update=sums).model_dump(mode="json"), indent=1) + "\n"
    with _new_folder(folder) as temporary:
        _write(temporary / WEIGHTS, lambda file: file.write(blob))
        _write(temporary / CONFIG, lambda file: file.write(about.encode()))
        for name, write in (extra or {}).items():
            _write(temporary / name, write)
        if tokenizer:
            (temporary / TOKENIZER).mkdir()
            for name in (WEIGHTS, CONFIG):
                with (tokenizer / name).open("rb") as source:
                    _write(temporary / TOKENIZER / name, partial(shutil.copyfileobj, source))


def link_checkpoint(source: Path, folder: Path) -> None:
    """The same checkpoint under another name, without copying what it holds where the disk can do that.

    Raises PoseGPTError where it cannot be written.
    """
    with _new_folder(folder) as temporary:
        shutil.copytree(source, temporary, copy_function=_link, dirs_exist_ok=True)


def replaced_by(folder: Path) -> Path:
    """Where a checkpoint stands for the moment in which another takes its place."""
    return folder.with_name(f".{folder.name}{_REPLACED}")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder of checkpoints."""
    for path in folder.glob(".*-*"):
        name, replaced = path.name.removeprefix(".").removesuffix(_REPLACED), path.name.endswith(_REPLACED)
        if replaced and not (folder / name).exists():
            path.rename(folder / name)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which then takes the place of `folder`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            _replace_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # torch.save makes a RuntimeError of a full disk
        reason = error.strerror if isinstance(error, OSError) else _first_line(error)
        raise PoseGPTError(
            f"cannot write the checkpoint {folder}: {reason}; the one before it stays as it was",
            "make room, then go on with --resume",
        ) from error


def _replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; at any moment one of them, or the one replaced, is whole."""
    old = replaced_by(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A file that is on the disk itself before its folder takes its name: power may fail, too."""
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)


def _network(kind: "type[_C]", info: CheckpointInfo, folder: Path) -> "_C":
    expected = _STAGE_OF[kind]
    if info.stage != expected:
        raise PoseGPTError(f"{folder} holds a {info.stage}, expected a {expected}", "use another run")
    try:
        return kind.model_validate(info.network)
    except SettingsError as error:
        raise PoseGPTError(f"{folder / CONFIG}: {_first_line(error)}", "use another run") from error


_STAGE_OF: dict[type[Config], Stage] = {
    VQVAEConfig: "vqvae",
    GPTConfig: "gpt",
    ClassifierConfig: "classifier",
}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
