"""Settings of training: a run of each stage, and its losses. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from models.config import Config, Decay, Dropout, Positive, Seed, Share, Weight
from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig, VQVAEModel

_LONGEST_NAME = 100
"""Characters of a run's name."""


class LossConfig(Config):
    """Weights of the tokenizer's losses; 0 turns a term off."""

    loss: Literal["l2", "l1", "geodesic", "gaussian", "laplacian"] = "l2"
    """Distance on rotations; gaussian and laplacian: likelihoods with learned scales, of the path too."""
    terms: Literal["ours", "paper"] = "ours"
    """How rotations and path are compared. paper: as negative log-likelihoods, the path by where it leads;
    ours: the path by its steps and where it leads, as distances."""
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
    alpha_acceleration: Weight = 0.0
    """Joint accelerations: steadies a causal decoder, which trembles from token to token."""
    alpha_contact: Weight = 0.1
    """Speed of feet while the true feet stand."""
    alpha_vert: Weight = 0.0
    """Body vertices, translation included."""
    l2_verts: bool = False
    """Compare vertices by half their squared distance along each axis instead of the distance."""
    freq_vert: Positive = 2
    """Steps from one vertex loss to the next."""
    tprop_vert: Share = 0.1
    """Share of frames in the vertex loss, evenly spaced from a place that moves from step to step."""
    prop_vert: Share = 1.0
    """Share of the batch's windows in the vertex loss."""
    vertex_share: Share = 0.1
    """Share of the body's vertices in the vertex loss."""
    alpha_codebook: Weight = 0.25
    """Commitment of the latents to their codes."""


class WindowsConfig(Config):
    """Which windows of a data set make the batches."""

    old_names: ClassVar[Mapping[str, str]] = {"balance": "balance_actions"}
    per_frame: ClassVar[bool] = False
    """Whether every frame has labels of its own, instead of the window as a whole."""

    seq_len: Positive = 64
    """Frames in a training window."""
    min_seq_len: Positive = 16
    """Shortest window kept."""
    train_batch_size: Positive = 64
    """Windows per step, all devices together."""
    balance_actions: Share = 0.0
    """How often rare actions appear: 0 as often as in the data, 1 all actions equally."""
    balance_sets: Share = 0.0
    """How often small sets appear (the top folders of what was prepared, e.g. those of AMASS): 0 as often
    as in the data, 1 all sets equally."""
    start_share: Share = 0.0
    """Share of training windows that begin where their clip begins."""
    mirror: bool = True
    """Mirror half of the training windows, left to right."""
    time_warp: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Play training windows faster or slower, each by a random factor of up to exp(time_warp)."""
    rotate: bool = False
    """Turn training windows about the vertical at random (useful if the network sees the world's axes)."""
    tilt: Annotated[float, Field(ge=0, le=90)] = 0.0
    """Degrees by which training windows are tilted at most, about the axis to their left, at random."""
    roll: Annotated[float, Field(ge=0, le=90)] = 0.0
    """Degrees by which training windows are rolled at most, about the axis ahead, at random."""
    mask_trans: bool = False
    """Poses only: every window stays where it is, at translation zero."""
    n_train: Positive | None = None
    """Number of training clips to use, a few of them to overfit on purpose (none: all)."""
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
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up: fall to zero, or stay."""
    weight_decay: Weight = 0.01
    """AdamW's weight decay (0: plain Adam)."""
    ab1: Decay = 0.9
    """Adam's first beta."""
    ab2: Decay = 0.99
    """Adam's second beta."""
    warmup: Annotated[int, Field(ge=0)] = 200
    """Steps of linear warm-up."""
    grad_clip: Weight = 1.0
    """Largest gradient norm (0: any)."""
    ema: Share = 0.999
    """Decay of the averaged weights (EMA) that checkpoints hold (0: no average)."""
    iter: Positive | None = None
    """Training steps in all (none: iters_per_epoch times max_epochs)."""
    iters_per_epoch: Positive = 1000
    """Steps per epoch; an epoch has no other meaning than this number of steps."""
    max_epochs: Positive = 20
    """Epochs."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which to stop (the learning rate follows whichever limit comes first)."""
    eval_every: Positive = 500
    """Steps between validations, each followed by a checkpoint."""
    eval_batches: Positive = 8
    """Batches per validation."""
    second_data: Path | None = None
    """A second data set to validate on, too; its figures are called `second ...`."""
    log_freq: Positive = 20
    """Steps from one row of metrics.jsonl and TensorBoard to the next; loss terms are means over them."""
    visu_every: Positive = 1
    """Validations from one with pictures to the next."""
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
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the forward pass (auto: bf16-mixed where the device computes it fast)."""
    compile: bool = False
    """Compile the network's blocks (CUDA only): slower to start, then faster."""
    debug: bool = False
    """Ten steps on small batches, to see whether everything runs."""
    dummy_data: bool = False
    """Procedural motions instead of --data."""

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        if not name.strip() or name in (".", "..") or "/" in name or len(name) > _LONGEST_NAME:
            raise ValueError("must be the name of one folder")
        return name

    @property
    def n_steps(self) -> int:
        """Training steps in all."""
        return self.iter or self.iters_per_epoch * self.max_epochs


class VQVAERun(RunConfig):
    """`posegpt train vqvae`."""

    encoder: Path | None = None
    """Tokenizer whose encoder and codebooks are kept; only a decoder is trained, as for streaming."""
    body_model: Path | None = None
    """Folder of official SMPL-family files for the joint and vertex losses (none: the bundled body)."""
    network: VQVAEConfig = VQVAEConfig()
    """The network."""
    elbo: bool = False
    """Validate by the evidence lower bound, too (nats per number of root, body and path)."""
    losses: LossConfig = LossConfig()
    """The losses."""


class TokenizerShape(Config):
    """What the tokenizer of a generator must be like; another one is refused (none: anything)."""

    vq_n_codebook: Positive | None = None
    """Number of its codebooks."""
    vq_n_e: Positive | None = None
    """Number of its codes."""
    vq_e_dim: Positive | None = None
    """Width of its latents."""
    vq_hid_dim: Positive | None = None
    """Width of its encoder and decoder."""
    vq_dropout: Dropout | None = None
    """Dropout that it was trained with."""


class GPTRun(RunConfig, FrameLabelWindowsConfig):
    """`posegpt train gpt`."""

    old_names: ClassVar[Mapping[str, str]] = {**WindowsConfig.old_names, "eos_force": "end_at_cut"}

    vqvae: Path | None = None
    """Tokenizer: a run or checkpoint folder (none: the bundled one)."""
    vq_model: VQVAEModel | None = None
    """What --vqvae must be; another tokenizer is refused."""
    word_vectors: Path | None = None
    """Text file with the vectors of words (GloVe's, word2vec's) for --action-emb."""
    text: bool = False
    """Condition on texts of the clips, and for clips without any on phrases of their labels. With labels \
beside them, either is enough when sampling; --no-class-conditional leaves labels out."""
    text_encoder: Literal["words", "minilm"] = "words"
    """With --text: the bundled word vectors, or the sentence encoder of posegpt[text]."""
    balance_actions: Share = 0.5
    start_share: Share = 0.25
    end_at_cut: bool = False
    """With --gen-eos: every window ends where it is cut, not only those that hold their clip's end."""
    eval_fid: bool = False
    """Validate by the FID of generated motion, too, with one clip per validation window."""
    fid_every: Positive = 1
    """Validations from one that judges generated motion to the next."""
    eval_classif: bool = False
    """Validate by the classifier's accuracy on generated motion, too."""
    classifier: Path | None = None
    """Classifier of --eval-fid and --eval-classif: a run or checkpoint folder (none: the bundled one)."""
    expected: TokenizerShape = TokenizerShape()
    """What the tokenizer must be like."""
    network: GPTConfig = GPTConfig()
    """The network."""


class ClassifierRun(RunConfig):
    """`posegpt train classifier`."""

    network: ClassifierConfig = ClassifierConfig()
    """The network."""
