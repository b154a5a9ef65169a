"""Settings of training: a run of each stage, and its losses. Imports no torch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from models.config import Config, Decay, Positive, Seed, Share, Weight
from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig, VQVAEModel

_LONGEST_NAME = 100
"""Characters of a run's name."""


class LossConfig(Config):
    """Weights of the tokenizer's losses; 0 turns a term off."""

    loss: Literal["l2", "l1", "geodesic", "gaussian", "laplacian"] = "l2"
    """Distance on rotations; gaussian and laplacian: likelihoods with learned scales, of the path too."""
    alpha_body: Weight = 5.0
    """Rotations of the body's joints."""
    alpha_root: Weight = 5.0
    """Root orientation."""
    alpha_trans: Weight = 0.5
    """Translation channels and the integrated trajectory."""
    alpha_joint: Weight = 2.0
    """Joint positions by forward kinematics."""
    alpha_velocity: Weight = 0.2
    """Joint velocities."""
    alpha_contact: Weight = 0.1
    """Speed of feet while the true feet stand."""
    alpha_vert: Weight = 0.0
    """Body vertices, on a fixed subset."""
    freq_vert: Positive = 2
    """Steps from one vertex loss to the next."""
    tprop_vert: Share = 0.1
    """Share of frames in the vertex loss."""
    prop_vert: Share = 0.1
    """Share of vertices in the vertex loss."""
    alpha_codebook: Weight = 0.25
    """Commitment of the latents to their codes."""


class WindowsConfig(Config):
    """Which windows of a data set make the batches."""

    per_frame: ClassVar[bool] = False
    """Whether every frame has labels of its own, instead of the window as a whole."""

    seq_len: Positive = 64
    """Frames in a training window."""
    min_seq_len: Positive = 16
    """Shortest window kept."""
    train_batch_size: Positive = 64
    """Windows per step, all devices together."""
    balance: Share = 0.0
    """How often rare actions appear: 0 as often as in the data, 1 all actions equally."""
    start_share: Share = 0.0
    """Share of training windows that begin where their clip begins."""
    mirror: bool = True
    """Mirror half of the training windows, left to right."""
    time_warp: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Play training windows faster or slower, each by a random factor of up to exp(time_warp)."""
    rotate: bool = False
    """Turn training windows about the vertical at random (useful if the network sees the world's axes)."""
    seed: Seed = 0
    """Seed of weights, data order and dropout."""


class FrameLabelWindowsConfig(WindowsConfig):
    """Windows in which the action may change, as the generator sees them."""

    per_frame: ClassVar[bool] = True

    join_share: Share = 0.25
    """Share of training windows (of 22 frames and more) made of two clips, so that the action changes."""
    token_copies: Annotated[int, Field(ge=0)] = 16
    """Augmented copies of the data that are used in turn, their tokens kept in OUT/tokens (0: always new)."""


class RunConfig(WindowsConfig):
    """One training run, of any stage."""

    data: Path | None = None
    """Prepared data set (a folder that `posegpt prepare` wrote)."""
    out: Path = Path("runs")
    """Folder of runs; this one becomes OUT/<stage>/NAME."""
    name: str = "default"
    """Name of the run, and of its folder."""
    init: Path | None = None
    """Run or checkpoint to fine-tune: start from its weights (`pretrained`: the bundled one)."""
    accumulate: Positive = 1
    """Batches per step: gradients are accumulated over them, in the memory of one batch. The learned
    codebooks of a tokenizer (pq, rvq) are still updated once per batch."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load batches (0: in the training process, which is enough for a local disk)."""
    prefetch_factor: Positive = 4
    """Batches that each of them prepares ahead."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate."""
    weight_decay: Weight = 0.01
    """AdamW's weight decay."""
    ab1: Decay = 0.9
    """Adam's first beta."""
    ab2: Decay = 0.99
    """Adam's second beta."""
    warmup: Annotated[int, Field(ge=0)] = 200
    """Steps of linear warm-up."""
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""
    ema: Share = 0.999
    """Decay of the averaged weights (EMA) that checkpoints hold (0: no average)."""
    iter: Positive = 20000
    """Training steps; the learning rate falls to zero over them."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which to stop (the learning rate follows whichever limit comes first)."""
    eval_every: Positive = 500
    """Steps between validations, each followed by a checkpoint."""
    eval_batches: Positive = 8
    """Batches per validation."""
    n_visu_to_save: Annotated[int, Field(ge=0)] = 2
    """Clips rendered as video at every validation, into the run's samples/ (0: none)."""
    keep: Annotated[int, Field(ge=0)] = 0
    """Number of latest checkpoints kept beside the best and the last (as checkpoints/step-000500)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    devices: Positive = 1
    """Devices on each machine; torchrun and SLURM set it themselves."""
    num_nodes: Positive = 1
    """Machines."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several devices share the work: ddp a copy of the network on each, fsdp a part of it on each."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the forward pass."""
    compile: bool = False
    """Compile the network's blocks (CUDA only): slower to start, then faster."""
    debug: bool = False
    """Ten steps on small batches: does everything run?"""
    dummy_data: bool = False
    """Procedural motions instead of --data."""

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        if not name.strip() or name in (".", "..") or "/" in name or len(name) > _LONGEST_NAME:
            raise ValueError("must be the name of one folder")
        return name


class VQVAERun(RunConfig):
    """`posegpt train vqvae`."""

    encoder: Path | None = None
    """Tokenizer whose encoder and codebooks are kept; only a decoder is trained, as for streaming."""
    body_model: Path | None = None
    """Folder of official SMPL-family files for the joint and vertex losses (none: the bundled body)."""
    network: VQVAEConfig = VQVAEConfig()
    """The network."""
    losses: LossConfig = LossConfig()
    """The losses."""


class GPTRun(RunConfig, FrameLabelWindowsConfig):
    """`posegpt train gpt`."""

    vqvae: Path | None = None
    """Tokenizer: a run or checkpoint folder (none: the bundled one)."""
    vq_model: VQVAEModel | None = None
    """What --vqvae must be; another tokenizer is refused."""
    balance: Share = 0.5
    start_share: Share = 0.25
    eos_force: bool = False
    """With --gen-eos: every window ends where it is cut, not only those that hold their clip's end."""
    eval_fid: bool = False
    """Validate by the FID of generated motion, too, with one clip per validation window."""
    eval_classif: bool = False
    """Validate by the classifier's accuracy on generated motion, too."""
    classifier: Path | None = None
    """Classifier of --eval-fid and --eval-classif: a run or checkpoint folder (none: the bundled one)."""
    network: GPTConfig = GPTConfig()
    """The network."""


class ClassifierRun(RunConfig):
    """`posegpt train classifier`."""

    network: ClassifierConfig = ClassifierConfig()
    """The network."""
