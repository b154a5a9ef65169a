"""Frozen configs of every network and run, and their presets. Imports no torch.

A field's docstring is its help on the command line; its default is the default everywhere.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from models.body.skeleton import BodyType, n_joints
from models.errors import SettingsError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
VQVAEModel = Literal["OfflineVQVAE", "CausalVQVAE", "OnlineVQVAE"]

FADE_FRAMES = 10
"""Frames of the hand-over where one motion goes on as another (a third of a second at 30 fps)."""
DEFAULT_GUIDANCE = 3.0
"""Of sampling: of the checkpoint in the box one "turn" in two turns without it (1), all of them at 3."""


class Config(BaseModel):
    """Base of all configs: immutable, unknown keys refused, docstrings are field descriptions.

    Raises SettingsError, naming the field, if a value does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        # Called for nested configs and by model_validate() too: what it raises passes through pydantic.
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _settings_error(error.errors()[0], type(self)) from error

    def replaced(self, **values: Any) -> Self:
        """A copy with these values, checked like a new one."""
        return type(self).model_validate(dict(self) | values)


def _settings_error(first: ErrorDetails, config: type[Config]) -> SettingsError:
    """pydantic's first complaint about a config, in the field's name."""
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        named = [name for name in config.model_fields if re.search(rf"\b{name}\b", message)]
        return SettingsError(message, "change one of them", named)

    name = str(first["loc"][0])
    if name not in config.model_fields:
        close = difflib.get_close_matches(name, config.model_fields, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(config.model_fields)}"
        return SettingsError(f"unknown setting '{name}'", hint)
    about = (config.model_fields[name].description or "").partition("\n")[0]
    if first["type"] == "missing":
        return SettingsError(f"{name} is missing", f"{name}: {about}", name)
    said = re.sub(r"^Input should be", f"{name} must be", message)
    if said == message:
        said = f"{name}: {message[0].lower()}{message[1:]}"
    return SettingsError(f"{said}, got {first['input']!r}", f"{name}: {about}", name)


class VQVAEConfig(Config):
    """The tokenizer's architecture (PoseGPT section 3.1)."""

    model: VQVAEModel = "CausalVQVAE"
    """OfflineVQVAE sees all frames, CausalVQVAE has a causal encoder, OnlineVQVAE a causal decoder too."""
    body_type: BodyType = "smpl"
    """Body whose joints are modelled."""
    translation: Literal["heading", "delta"] = "heading"
    """Root motion: relative to the current heading, or per-frame deltas in the world."""
    quantizer: Literal["pq", "rvq", "fsq"] = "pq"
    """Product (the paper's), residual, or finite scalar quantization."""
    n_codebook: Positive = 2
    """Number of books (for rvq: the depth)."""
    n_e: Positive = 512
    """Codes in all books together."""
    e_dim: Positive = 256
    """Width of the latent that is quantized, split over the books."""
    hid_dim: Positive = 256
    """Width of encoder and decoder."""
    n_layers: Positive = 4
    """Transformer blocks in the encoder, and again in the decoder."""
    heads: Positive = 4
    """Attention heads."""
    n_convs: Annotated[int, Field(ge=0)] = 2
    """Convolution blocks at frame rate before (encoder) and after (decoder) the transformer."""
    factor: Literal[1, 2, 4] = 2
    """Frames a token."""
    window: Positive = 32
    """Tokens that attention reaches back (and, in a decoder that is not causal, ahead)."""
    dropout: Dropout = 0.0
    """Dropout in encoder and decoder."""
    quantizer_dropout: Share = 0.2
    """rvq only: share of training steps that use fewer books."""
    ema_decay: Share = 0.99
    """Decay of the codebooks' moving averages."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_e % self.n_codebook:
            raise ValueError(f"n_e ({self.n_e}) must be a multiple of n_codebook ({self.n_codebook})")
        if self.quantizer != "rvq" and self.e_dim % self.n_codebook:
            raise ValueError(f"e_dim ({self.e_dim}) must be a multiple of n_codebook ({self.n_codebook})")
        if self.hid_dim % (2 * self.heads):
            raise ValueError(f"hid_dim ({self.hid_dim}) must be an even multiple of heads ({self.heads})")
        return self

    @property
    def codes_per_book(self) -> int:
        return self.n_e // self.n_codebook

    @property
    def n_features(self) -> int:
        """Width of the network's input: 6D rotations, then four (heading) or three (delta) root channels."""
        return n_joints(self.body_type) * 6 + (4 if self.translation == "heading" else 3)


class GPTConfig(Config):
    """The generator's architecture (PoseGPT section 3.2)."""

    style: Literal["modern", "paper"] = "modern"
    """modern: RMSNorm, SwiGLU, rotary positions, QK-norm. paper: LayerNorm, GELU, learned positions."""
    n_codebook: Positive = 2
    """Indices a step; set by the tokenizer."""
    codes_per_book: Positive = 256
    """Codes a book; set by the tokenizer."""
    n_labels: Positive = 60
    """Size of the label vocabulary; set by the data."""
    gpt_blocksize: Annotated[int, Field(ge=2)] = 512
    """Longest sequence of steps that attention sees."""
    gpt_nlayer: Positive = 8
    """Transformer blocks."""
    gpt_nhead: Positive = 4
    """Attention heads."""
    gpt_nembd: Positive = 256
    """Width."""
    gpt_embd_pdrop: Dropout = 0.2
    """Dropout after the embedding."""
    gpt_resid_pdrop: Dropout = 0.2
    """Dropout on the residual branches."""
    gpt_attn_pdrop: Dropout = 0.2
    """Dropout on attention weights."""
    head: Literal["autoregressive", "independent"] = "autoregressive"
    """Books of a step predicted one after the other, or independently."""
    class_conditional: bool = True
    """Condition on action labels."""
    seqlen_conditional: bool = True
    """Condition on the duration."""
    gen_eos: bool = False
    """Learn an end-of-sequence token."""
    embed_every_step: bool = True
    """Give the condition at every step instead of once before the first."""
    concat_emb: bool = True
    """Concatenate condition and token embeddings instead of adding them."""
    label_dropout: Share = 0.1
    """Share of training clips whose labels are hidden, for guidance at sampling."""
    label_subset: Share = 0.5
    """Share of training clips that show only some of their labels."""
    seqlen_dropout: Share = 0.1
    """Share of training clips whose duration is hidden."""
    past_dropout: Share = 0.1
    """Share of training clips whose labels are hidden up to a random step, as those of an observed past."""
    label_changes: bool = False
    """Labels of its training changed within motions; set by the run and the data."""
    token_corruption: Share = 0.05
    """Share of input indices replaced at random in training, against exposure bias."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.gpt_nembd % (2 * self.gpt_nhead):
            raise ValueError(
                f"gpt_nembd ({self.gpt_nembd}) must be an even multiple of gpt_nhead ({self.gpt_nhead})"
            )
        return self


class ClassifierConfig(Config):
    """The action classifier's architecture."""

    classif_method: Literal["TR"] = "TR"
    """TR: a transformer over frames."""
    use_bm: bool = False
    """Take joints of the body model instead of SMPL parameters."""
    body_type: BodyType = "smpl"
    """Body whose motion is classified; set by the data."""
    n_labels: Positive = 60
    """Size of the label vocabulary; set by the data."""
    hid_dim: Positive = 128
    """Width; also that of the features."""
    n_layers: Positive = 4
    """Transformer blocks."""
    heads: Positive = 4
    """Attention heads."""
    dropout: Dropout = 0.1
    """Dropout."""


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
    """Speed of feet that stand in the truth."""
    alpha_vert: Weight = 0.0
    """Body vertices, on a fixed subset."""
    freq_vert: Positive = 2
    """Vertex loss every so many steps."""
    tprop_vert: Share = 0.1
    """Share of frames in the vertex loss."""
    prop_vert: Share = 0.1
    """Share of vertices in the vertex loss."""
    alpha_codebook: Weight = 0.25
    """Commitment to the codes."""


class RunConfig(Config):
    """One training run, of any stage."""

    data: Path | None = None
    """Prepared data set (a folder that `posegpt prepare` wrote)."""
    out: Path = Path("runs")
    """Folder of runs; this one becomes OUT/<stage>/NAME."""
    name: str = "default"
    """Name of the run."""
    init: Path | None = None
    """Run or checkpoint whose weights to start from (`pretrained`: the one in the box), to fine-tune it."""
    seq_len: Positive = 64
    """Frames in a training window."""
    min_seq_len: Positive = 16
    """Shortest window kept."""
    train_batch_size: Positive = 64
    """Windows a step, all devices together."""
    accumulate: Positive = 1
    """Batches a step: the gradient of so many times the windows, in the memory of one batch. The learned
    codebooks of a tokenizer (pq, rvq) move once a batch all the same."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load batches (0: in the training process, which is enough for a local disk)."""
    prefetch_factor: Positive = 4
    """Batches each of them prepares ahead."""
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
    """Decay of the averaged weights that are kept for use (0: none)."""
    iter: Positive = 20000
    """Training steps; the learning rate falls to zero over them."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop after so many minutes (the learning rate follows whichever limit comes first)."""
    eval_every: Positive = 500
    """Steps between validations, each followed by a checkpoint."""
    eval_batches: Positive = 8
    """Batches a validation."""
    n_visu_to_save: Annotated[int, Field(ge=0)] = 2
    """Clips drawn as video at every validation, into the run's samples/ (0: none)."""
    keep: Annotated[int, Field(ge=0)] = 0
    """Checkpoints kept beside the best and the last, the latest ones (as checkpoints/step-000500)."""
    balance: Share = 0.0
    """How much more often rare actions are drawn: 0 as often as they occur, 1 all equally."""
    start_share: Share = 0.0
    """Share of training windows that begin where their clip begins."""
    mirror: bool = True
    """Mirror half of the training windows, left to right."""
    rotate: bool = False
    """Turn training windows about the vertical at random (of use where the network sees the world's axes)."""
    seed: Seed = 0
    """Seed of weights, data order and dropout."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    devices: Positive = 1
    """Devices on each machine; torchrun and SLURM say so themselves."""
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


class VQVAERun(RunConfig):
    """`posegpt train vqvae`."""

    encoder: Path | None = None
    """Tokenizer whose encoder and codes are kept as they are; only a decoder is trained, as for streaming."""
    body_model: Path | None = None
    """Folder of official SMPL-family files for the joint and vertex losses (none: the body in the box)."""
    network: VQVAEConfig = VQVAEConfig()
    """The network."""
    losses: LossConfig = LossConfig()
    """The losses."""


class GPTRun(RunConfig):
    """`posegpt train gpt`."""

    vqvae: Path | None = None
    """Tokenizer: a run or checkpoint folder (none: the one in the box)."""
    vq_model: VQVAEModel | None = None
    """What --vqvae must be; another tokenizer is refused."""
    balance: Share = 0.5
    """How much more often rare actions are drawn: 0 as often as they occur, 1 all equally."""
    start_share: Share = 0.25
    """Share of training windows that begin where their clip begins."""
    join_share: Share = 0.25
    """Share of training windows (of 22 frames and more) that are two clips joined: the action changes."""
    token_copies: Annotated[int, Field(ge=0)] = 16
    """Augmented copies of the data, drawn again and again, their tokens kept in OUT/tokens (0: new ones)."""
    eos_force: bool = False
    """With --gen-eos: every window ends where it is cut, not only those that hold their clip's end."""
    eval_fid: bool = False
    """Validate by the FID of generated motion, too: as many clips as there are validation windows."""
    eval_classif: bool = False
    """Validate by the classifier's accuracy on generated motion, too."""
    classifier: Path | None = None
    """Classifier of --eval-fid and --eval-classif: a run or checkpoint folder (none: the one in the box)."""
    network: GPTConfig = GPTConfig()
    """The network."""


class ClassifierRun(RunConfig):
    """`posegpt train classifier`."""

    network: ClassifierConfig = ClassifierConfig()
    """The network."""


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "classifier": {
        "tiny": {"train_batch_size": 32, "iter": 4000},
        "base": {"network": {"hid_dim": 256}},
        "paper": {"learning_rate": 4e-5, "mirror": False},
    },
    "vqvae": {
        "tiny": {
            "train_batch_size": 32,
            "learning_rate": 6e-4,
            "network": {"n_codebook": 4, "n_e": 1024, "e_dim": 256, "hid_dim": 256, "n_layers": 3},
        },
        "base": {
            "network": {"n_codebook": 4, "n_e": 2048, "e_dim": 256, "hid_dim": 384, "n_layers": 6},
        },
        "paper": {
            "learning_rate": 5e-5,
            "ab1": 0.95,
            "rotate": True,
            "network": {"n_codebook": 2, "n_e": 512, "e_dim": 256, "hid_dim": 384, "translation": "delta"},
            "losses": {"alpha_vert": 100.0, "alpha_joint": 0.0, "alpha_velocity": 0.0, "alpha_contact": 0.0},
        },
    },
    "gpt": {
        "tiny": {
            "train_batch_size": 32,
            "learning_rate": 6e-4,
            "seq_len": 128,
            # Attention sees what training showed it; longer motion slides over it.
            "network": {
                "gpt_blocksize": 64,
                "gpt_nlayer": 4,
                "gpt_nembd": 256,
                "gpt_embd_pdrop": 0.1,
                "gpt_resid_pdrop": 0.1,
                "gpt_attn_pdrop": 0.1,
            },
        },
        "base": {"seq_len": 128, "network": {"gpt_blocksize": 64}},
        "paper": {
            "learning_rate": 1e-4,
            "balance": 0.0,
            "join_share": 0.0,
            "rotate": True,
            "network": {
                "style": "paper",
                "head": "independent",
                "label_dropout": 0.0,
                "label_subset": 0.0,
                "seqlen_dropout": 0.0,
                "past_dropout": 0.0,
                "token_corruption": 0.0,
            },
        },
    },
}
"""Per stage and preset, what differs from the defaults above."""
