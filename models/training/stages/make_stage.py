"""The stages by their run configs: vqvae, gpt and classifier."""

from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.data_source import DataInfo
from models.training.stages.classifier_stage import ClassifierStage
from models.training.stages.gpt_stage import GPTStage
from models.training.stages.stage import TrainStage
from models.training.stages.vqvae_stage import VQVAEStage


def make_stage(run: RunConfig, info: DataInfo) -> TrainStage:
    """Stage of a run's config; raises PoseGPTError if it does not fit the data."""
    if isinstance(run, GPTRun):
        return GPTStage(run, info)
    if isinstance(run, ClassifierRun):
        return ClassifierStage(run, info)
    assert isinstance(run, VQVAERun)
    if run.network.body_type != info.body_type:
        run = run.replaced(network=run.network.replaced(body_type=info.body_type))
    return VQVAEStage(run, info)
