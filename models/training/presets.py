"""Presets of the stages: tiny for a CPU, base for a GPU, paper for the original's settings."""

from typing import Any

_PAPER_RUN: dict[str, Any] = {
    # Plain Adam.
    "ab2": 0.999,
    "weight_decay": 0.0,
    "warmup": 0,
    "schedule": "constant",
    "grad_clip": 0.0,
    "ema": 0.0,
    # Mirrored, turned by any angle, tilted and rolled a little.
    "mirror": True,
    "rotate": True,
    "tilt": 15.0,
    "roll": 15.0,
}
"""What the original does in all three stages."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "classifier": {
        "tiny": {"train_batch_size": 32, "max_epochs": 4},
        "base": {"network": {"hid_dim": 256}},
        "paper": {
            **_PAPER_RUN,
            "learning_rate": 4e-5,
            "train_batch_size": 32,
            "max_epochs": 150,
            "network": {"hid_dim": 256},
        },
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
            **_PAPER_RUN,
            "learning_rate": 5e-5,
            "ab1": 0.95,
            "iters_per_epoch": 5000,
            "max_epochs": 400,
            "elbo": True,
            "network": {
                "arch": "paper",
                "translation": "delta",
                "n_codebook": 2,
                "n_e": 512,
                "e_dim": 256,
                "hid_dim": 384,
                "n_layers": 6,
                "n_convs": 0,
                # As far as a window and its longest motion reach.
                "window": 1024,
            },
            "losses": {
                "terms": "paper",
                "alpha_body": 1.0,
                "alpha_root": 1.0,
                "alpha_trans": 1.0,
                "alpha_vert": 100.0,
                "vertex_share": 1.0,
                "alpha_joint": 0.0,
                "alpha_velocity": 0.0,
                "alpha_acceleration": 0.0,
                "alpha_contact": 0.0,
            },
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
                "phase_conditional": True,
                "seqlen_conditional": False,
            },
        },
        "base": {
            "seq_len": 128,
            "network": {"gpt_blocksize": 64, "phase_conditional": True, "seqlen_conditional": False},
        },
        "paper": {
            **_PAPER_RUN,
            "learning_rate": 1e-5,
            "train_batch_size": 32,
            "max_epochs": 600,
            "balance_actions": 0.0,
            "start_share": 0.0,
            "join_share": 0.0,
            "token_copies": 0,
            "network": {
                "arch": "paper",
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
"""Per stage and preset, what differs from the defaults in models.training.config."""
