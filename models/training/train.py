"""Train a stage, from Python or for `posegpt train`: settings, data and networks come together here."""

from pathlib import Path

import torch

from models.training.config import RunConfig
from models.training.data_source import TrainingData
from models.training.fine_tune import fine_tune_from
from models.training.loop import (
    OnProgress,
    OnValidation,
    TrainingLoop,
    TrainResult,
    ignore_progress,
    no_further_figures,
)
from models.training.memory import freed_memory_kept
from models.training.run_folder import begin_run, own_run
from models.training.stages.make_stage import make_stage


def train(
    run: RunConfig,
    folder: Path | str,
    data: TrainingData,
    resume: bool = False,
    on_progress: OnProgress = ignore_progress,
    on_validation: OnValidation = no_further_figures,
) -> TrainResult:
    """Train a stage and leave its checkpoints in `folder`/checkpoints.

    Args:
        run: VQVAERun, GPTRun or ClassifierRun.
        folder: of the run; it also gets config.yaml, metrics.jsonl and TensorBoard events.
        data: what `data.training_data.open_training_data` gives for this run.
        resume: go on from checkpoints/last; on a CPU the run continues exactly as if never stopped.
        on_progress: called by the first process after every step.
        on_validation: called by the first process at each validation; what it returns joins the figures.

    Raises:
        TrainingInterrupted: on Ctrl-C and SIGTERM, after saving.
        PoseGPTError: if the settings do not fit the data, the folder holds a run already, there is nothing to
            resume, or the loss is not finite (the last checkpoint stays).
    """
    return Trainer(run, data, resume).fit(Path(folder), on_progress, on_validation)


class Trainer:
    """A run that is ready to start: its settings, its data and its networks.

    Raises:
        PoseGPTError: if settings, data and checkpoints do not fit together; nothing is written before.
    """

    def __init__(self, run: RunConfig, data: TrainingData, resume: bool = False) -> None:
        self.run = run
        self.data = data
        self.resume = resume
        # The same seed gives the same weights in every process.
        torch.manual_seed(run.seed)
        self.stage = make_stage(run, data.info)
        if run.init and not resume:
            fine_tune_from(self.stage, run.init, data.info)

    def fit(
        self,
        folder: Path,
        on_progress: OnProgress = ignore_progress,
        on_validation: OnValidation = no_further_figures,
    ) -> TrainResult:
        """Train, once; see `train`."""
        with own_run(folder), freed_memory_kept():
            begin_run(folder, self.run, self.resume)
            loop = TrainingLoop(self.run, self.stage, self.data, folder, on_progress, on_validation)
            if self.resume:
                loop.load()
            # A fine-tuned network keeps the statistics that its weights were learned with.
            elif not self.run.init:
                loop.fit_statistics()
            return loop.run_all()
