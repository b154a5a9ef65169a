"""The way from recordings to an own model: which command follows which. Imports no torch."""

from pathlib import Path

FINE_TUNE = ("--preset", "tiny", "--init", "pretrained", "--minutes", "8")
"""Options of `train gpt` by which a few recordings become an own generator, on any machine."""


def after_prepare(data: str, fits_bundled: bool) -> list[str]:
    """The command that follows `prepare`.

    Args:
        fits_bundled: whether the bundled generator can be fine-tuned on this data.
    """
    if fits_bundled:
        return ["train", "gpt", "--data", data, *FINE_TUNE]
    return ["train", "vqvae", "--data", data]


def after_classifier(data: Path, generator: Path, classifier: Path) -> list[str]:
    """The command that follows `train classifier`, where there is a generator to judge."""
    judged = ["--gpt", str(generator), "--classifier", str(classifier)]
    return ["eval", "actions", "--data", str(data), *judged, "--out", "actions.html"]


def newest_run(runs: Path, stage: str) -> Path | None:
    """The run of a stage, in a folder of runs, that was written last."""
    found = list(runs.glob(f"{stage}/*/checkpoints"))
    if not found:
        return None
    return max(found, key=lambda path: path.stat().st_mtime).parent
