"""Settings of the networks: what a checkpoint's config.json keeps. Imports no torch."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.body.skeleton import BodyType, n_joints
from models.config import Config, Dropout, Positive, Share, Weight

VQVAEModel = Literal["OfflineVQVAE", "CausalVQVAE", "OnlineVQVAE"]
Arch = Literal["modern", "paper"]


class VQVAEConfig(Config):
    """The tokenizer's architecture (PoseGPT section 3.1)."""

    model: VQVAEModel = "CausalVQVAE"
    """OfflineVQVAE sees all frames, CausalVQVAE has a causal encoder, OnlineVQVAE a causal decoder too."""
    body_type: BodyType = "smpl"
    """Body whose joints are modelled."""
    translation: Literal["heading", "delta"] = "heading"
    """Root motion: relative to the current heading, or per-frame deltas in the world."""
    arch: Arch = "modern"
    """modern: RMSNorm, SwiGLU, rotary positions, frames merged and split by linear layers. paper: LayerNorm,
    GELU, sine positions before every block, convolution with max-pooling and its inverse."""
    quantizer: Literal["pq", "rvq", "fsq"] = "pq"
    """Product (the paper's), residual, or finite scalar quantization."""
    n_codebook: Positive = 2
    """Number of codebooks (for rvq: the depth)."""
    n_e: Positive = 512
    """Number of codes in all books together."""
    e_dim: Positive = 256
    """Width of the latent that is quantized, split over the books."""
    hid_dim: Positive = 256
    """Width of encoder and decoder."""
    n_layers: Positive = 4
    """Transformer blocks at the rate of tokens in the encoder, and again in the decoder."""
    frame_layers: Annotated[int, Field(ge=0)] = 0
    """Transformer blocks at the rate of frames, before those of the encoder and after the decoder's."""
    heads: Positive = 4
    """Attention heads."""
    n_convs: Annotated[int, Field(ge=0)] = 2
    """Convolution blocks at frame rate before (encoder) and after (decoder) the transformer."""
    factor: Literal[1, 2, 4] = 2
    """Frames per token."""
    window: Positive = 32
    """Number of tokens that attention reaches back (and, in a decoder that is not causal, ahead)."""
    dropout: Dropout = 0.0
    """Dropout in encoder and decoder."""
    quantizer_dropout: Share = 0.2
    """rvq only: share of training steps that use only the first few books."""
    ema_decay: Share = 0.99
    """Decay of the codebooks' moving averages (EMA)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_e % self.n_codebook:
            raise ValueError(f"n_e ({self.n_e}) must be a multiple of n_codebook ({self.n_codebook})")
        if self.quantizer != "rvq" and self.e_dim % self.n_codebook:
            raise ValueError(f"e_dim ({self.e_dim}) must be a multiple of n_codebook ({self.n_codebook})")
        if self.frame_layers and self.model == "OnlineVQVAE":
            raise ValueError("frame_layers must be 0 with an OnlineVQVAE, which decodes token by token")
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

    old_names: ClassVar[Mapping[str, str]] = {"style": "arch"}

    arch: Arch = "modern"
    """modern: RMSNorm, SwiGLU, rotary positions, QK-norm. paper: LayerNorm, GELU, learned positions."""
    n_codebook: Positive = 2
    """Codes per token; set by the tokenizer."""
    codes_per_book: Positive = 256
    """Number of codes in a book; set by the tokenizer."""
    n_labels: Positive = 60
    """Size of the label vocabulary; set by the data."""
    gpt_blocksize: Annotated[int, Field(ge=2)] = 512
    """Longest sequence of tokens that attention sees."""
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
    head: Literal["autoregressive", "independent", "mlp"] = "autoregressive"
    """Predict the books of a token one after the other, or each by itself: by a linear layer (independent) or
    by a layer more (mlp)."""
    class_conditional: bool = True
    """Condition on action labels."""
    action_emb: Literal["scratch", "words_frozen", "words_ft"] = "scratch"
    """Embedding of labels: learned, or of the vectors of their words, which stay or are fine-tuned."""
    n_words: Annotated[int, Field(ge=0)] = 0
    """Number of words in the labels; set by the data and its word vectors."""
    word_dim: Annotated[int, Field(ge=0)] = 0
    """Width of the word vectors; set by them."""
    text_dim: Annotated[int, Field(ge=0)] = 0
    """Width of sentence vectors to condition on (0: none); set by the run."""
    text_vectors: Literal["", "words", "minilm"] = ""
    """What made the sentence vectors; set by the run."""
    text_alone: Share = 0.5
    """With texts, share of training clips whose labels are hidden, so that a text alone is enough."""
    labels_alone: Share = 0.25
    """With texts, share of training clips whose text is hidden, so that labels alone are enough."""
    seqlen_conditional: bool = True
    """Condition on the duration."""
    seqlen_emb: Literal["scratch", "sine_frozen", "sine_ft"] = "scratch"
    """Embedding of the duration: learned, sines, or sines to begin with."""
    phase_conditional: bool = False
    """Condition every token on its place in the clip: tokens since the beginning and tokens that remain."""
    gen_eos: bool = False
    """Learn an end-of-sequence token."""
    embed_every_step: bool = True
    """Give the condition at every token instead of once before the first."""
    concat_emb: bool = True
    """Concatenate condition and token embeddings instead of adding them."""
    label_dropout: Share = 0.1
    """Share of training clips whose labels are hidden, for guidance at sampling."""
    label_subset: Share = 0.5
    """Share of training clips that show only some of their labels."""
    label_groups: tuple[int, ...] = ()
    """Group of each label: actions are 0, styles 1; set by the data (empty: all labels are one group)."""
    seqlen_dropout: Share = 0.1
    """Share of training clips whose duration is hidden; also of those whose beginning or end is."""
    past_dropout: Share = 0.1
    """Share of training clips whose labels are hidden up to a random token, as in an observed past."""
    label_changes: bool = False
    """Whether labels changed within the motions of its training; set by the run and the data."""
    token_corruption: Share = 0.05
    """Share of input codes replaced at random in training, against exposure bias."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.gpt_nembd % (2 * self.gpt_nhead):
            raise ValueError(
                f"gpt_nembd ({self.gpt_nembd}) must be an even multiple of gpt_nhead ({self.gpt_nhead})"
            )
        return self


class ClassifierConfig(Config):
    """The action classifier's architecture."""

    classif_method: Literal["TR", "CNN"] = "TR"
    """TR: a transformer over frames. CNN: convolutions over time."""
    softmax: bool = False
    """Exactly one label per clip: a softmax over all labels, as the original has it for HumanAct12 and GRAB,
    instead of a yes or no for each."""
    use_bm: bool = False
    """Take joint positions of the body model instead of SMPL parameters."""
    scale_noise: Weight = 0.04
    """With use_bm: deviation of the body size that training windows are scaled to."""
    joint_noise: Weight = 0.01
    """With use_bm: deviation (m) of the noise added to joint positions in training."""
    names: tuple[str, ...] = ()
    """Labels that are some clip's own name, exactly one of which holds; set by the data."""
    styles: tuple[str, ...] = ()
    """Labels that are styles, at most one of which holds; set by the data."""
    body_type: BodyType = "smpl"
    """Body whose motion is classified; set by the data."""
    n_labels: Positive = 60
    """Size of the label vocabulary; set by the data."""
    hid_dim: Positive = 128
    """Width, also of the features."""
    n_layers: Positive = 4
    """Transformer or convolution blocks."""
    heads: Positive = 4
    """Attention heads."""
    dropout: Dropout = 0.1
    """Dropout."""
