"""Command lines of training that takes a second."""

SMALL = (
    "--dummy-data", "--device", "cpu", "--train-batch-size", 2, "--seq-len", 16, "--iter", 4,
    "--eval-every", 2, "--eval-batches", 1, "--warmup", 1, "--n-visu-to-save", 0,
)  # fmt: skip
SMALL_VQVAE = (
    "train", "vqvae", *SMALL, "--n-codebook", 2, "--n-e", 16, "--e-dim", 8, "--hid-dim", 8, "--heads", 2,
    "--n-layers", 1,
)  # fmt: skip
SMALL_CLASSIFIER = ("train", "classifier", *SMALL, "--hid-dim", 8, "--heads", 2, "--n-layers", 1)
SMALL_GPT = ("train", "gpt", *SMALL, "--gpt-nlayer", 1, "--gpt-nhead", 2, "--gpt-nembd", 16)
