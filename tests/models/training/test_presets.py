"""`--preset paper` is PoseGPT's own training: every value beside a table of the original's."""

import pytest

from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.presets import PRESETS

# What the original's programs use when they are started as its README says: the values of the command, and
# the program's defaults for the others (auto_encode.py, train_gpt.py, classify.py, dataset/mocap.py).
ALL_STAGES = {
    # torch.optim.Adam, nothing else: no decay, warm-up, schedule, clipping or average.
    "ab2": 0.999,
    "weight_decay": 0.0,
    "warmup": 0,
    "schedule": "constant",
    "grad_clip": 0.0,
    "ema": 0.0,
    "accumulate": 1,
    "precision": "32-true",
    # --data_augment 1: half of the windows mirrored, up to 180 degrees of yaw, 15 of tilt and of roll.
    "mirror": True,
    "rotate": True,
    "tilt": 15.0,
    "roll": 15.0,
    "time_warp": 0.0,
    # --sample_start 1: any window of 64 frames.
    "start_share": 0.0,
    "balance_actions": 0.0,
    "balance_sets": 0.0,
    "seq_len": 64,
    "mask_trans": False,
}
TOKENIZER = ALL_STAGES | {
    "learning_rate": 5e-5,
    "ab1": 0.95,
    "train_batch_size": 64,
    "iters_per_epoch": 5000,
    "max_epochs": 400,
    "network.arch": "paper",
    "network.model": "CausalVQVAE",
    # --n_layers 0 6, --pos_type sine_frozen, --sample_method conv; no other convolution.
    "network.frame_layers": 0,
    "network.n_layers": 6,
    "network.n_convs": 0,
    "network.heads": 4,
    "network.hid_dim": 384,
    "network.dropout": 0.0,
    "network.factor": 2,
    "network.quantizer": "pq",
    "network.n_codebook": 2,
    "network.n_e": 512,
    "network.e_dim": 256,
    "network.translation": "delta",
    "losses.loss": "l2",
    "losses.terms": "paper",
    "losses.alpha_root": 1.0,
    "losses.alpha_body": 1.0,
    "losses.alpha_trans": 1.0,
    "losses.alpha_vert": 100.0,
    "losses.l2_verts": False,
    "losses.freq_vert": 2,
    "losses.tprop_vert": 0.1,
    "losses.prop_vert": 1.0,
    "losses.vertex_share": 1.0,
    "losses.alpha_codebook": 0.25,
    "losses.alpha_joint": 0.0,
    "losses.alpha_velocity": 0.0,
    "losses.alpha_acceleration": 0.0,
    "losses.alpha_contact": 0.0,
}
GENERATOR = ALL_STAGES | {
    "learning_rate": 1e-5,
    "ab1": 0.9,
    "train_batch_size": 32,
    "iters_per_epoch": 1000,
    "max_epochs": 600,
    "join_share": 0.0,
    "token_copies": 0,
    "end_at_cut": False,
    "network.arch": "paper",
    "network.gpt_blocksize": 512,
    "network.gpt_nlayer": 8,
    "network.gpt_nhead": 4,
    "network.gpt_nembd": 256,
    "network.gpt_embd_pdrop": 0.2,
    "network.gpt_resid_pdrop": 0.2,
    "network.gpt_attn_pdrop": 0.2,
    # --head_type fc_wo_bias, --autoreg_pq 0.
    "network.head": "independent",
    "network.class_conditional": True,
    "network.seqlen_conditional": True,
    "network.phase_conditional": False,
    "network.gen_eos": False,
    "network.embed_every_step": True,
    "network.concat_emb": True,
    # Labels, durations and codes are given as they are.
    "network.label_dropout": 0.0,
    "network.label_subset": 0.0,
    "network.seqlen_dropout": 0.0,
    "network.past_dropout": 0.0,
    "network.token_corruption": 0.0,
}
CLASSIFIER = ALL_STAGES | {
    "learning_rate": 4e-5,
    "ab1": 0.9,
    "train_batch_size": 32,
    "iters_per_epoch": 1000,
    "max_epochs": 150,
    "network.classif_method": "TR",
    "network.use_bm": False,
    "network.hid_dim": 256,
    "network.n_layers": 4,
    "network.heads": 4,
    "network.dropout": 0.1,
}
TABLES: dict[str, tuple[type[RunConfig], dict[str, object]]] = {
    "vqvae": (VQVAERun, TOKENIZER),
    "gpt": (GPTRun, GENERATOR),
    "classifier": (ClassifierRun, CLASSIFIER),
}


@pytest.mark.parametrize("stage", TABLES)
def test_the_preset_paper_is_the_original(stage):
    kind, table = TABLES[stage]
    run = kind.model_validate(PRESETS[stage]["paper"])
    ours = {}
    for path in table:
        value: object = run
        for name in path.split("."):
            value = getattr(value, name)
        ours[path] = value
    assert ours == table


@pytest.mark.parametrize(
    ("stage", "steps"), [("vqvae", 2_000_000), ("gpt", 600_000), ("classifier", 150_000)]
)
def test_the_original_trains_for_so_long(stage, steps):
    assert TABLES[stage][0].model_validate(PRESETS[stage]["paper"]).n_steps == steps


@pytest.mark.parametrize("stage", TABLES)
@pytest.mark.parametrize("preset", ["tiny", "base"])
def test_our_own_presets_keep_what_the_original_lacks(stage, preset):
    run = TABLES[stage][0].model_validate(PRESETS[stage][preset])
    assert (run.schedule, run.ema, run.tilt) == ("cosine", 0.999, 0)
    assert run.n_steps in (4000, 20000)
