"""The training loop of all stages: steps, validations, checkpoints, interruptions."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from models.batch import Batch
from models.checkpoint import CheckpointInfo, read_info
from models.distributed import from_every_process, sum_over_processes
from models.errors import PoseGPTError
from models.training.config import RunConfig
from models.training.data_source import BatchSource, TrainingData
from models.training.ema import EMA
from models.training.fabric import compile_blocks, make_fabric
from models.training.logger import MetricsLogger, TrainingProgress
from models.training.memory import peak_memory
from models.training.optimizer import learning_rate, make_optimizer
from models.training.run_folder import Checkpoints
from models.training.stages.stage import TrainStage
from models.training.state_check import check_optimizer, check_progress

OnProgress = Callable[[TrainingProgress], None]
OnValidation = Callable[[Any, int], dict[str, float]]
"""Gets the averaged network, in evaluation mode, and the step; returns further figures."""

STATISTICS_BATCHES = 16
"""Batches that the statistics of the features are measured on."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind."""

    folder: Path
    """Run folder; it holds checkpoints/best and checkpoints/last."""
    step: int
    metrics: dict[str, float]
    """Validation figures of the best checkpoint."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after everything was saved."""

    def __init__(self, signum: int, folder: Path, step: int) -> None:
        super().__init__(f"interrupted at step {step}, saved in {folder}")
        self.exit_code = 128 + signum
        self.folder = folder


def ignore_progress(progress: TrainingProgress) -> None:
    """Show nothing."""


def no_further_figures(network: Any, step: int) -> dict[str, float]:
    """Validate by the figures of the stage alone."""
    return {}


class TrainingLoop:
    """State of a run: networks, optimizer, average, step, best figures."""

    def __init__(
        self,
        run: RunConfig,
        stage: TrainStage,
        data: TrainingData,
        folder: Path,
        on_progress: OnProgress,
        on_validation: OnValidation,
    ) -> None:
        self.run = run
        self.folder = folder
        self.stage = stage
        self.info = data.info
        self.all_train_data = data.train
        self.train_data = data.train
        self.val_data = data.val
        self.second_data = data.second
        self.on_progress = on_progress
        self.on_validation = on_validation
        self.checkpoints = Checkpoints(folder / "checkpoints", run.keep)
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}

        self.fabric = make_fabric(run)
        self.fabric.launch()
        self.world = self.fabric.world_size
        if self.world > 1:
            self.train_data = self.train_data.of_rank(self.fabric.global_rank, self.world)
        # Every process has the same weights from here on, and its own dropout.
        torch.manual_seed(run.seed + self.fabric.global_rank)

        plain = deepcopy(stage.network).to(self.fabric.device)
        if run.compile:
            compile_blocks(stage.network)
        self.model = self.fabric.setup_module(stage)
        # After the set-up, because sharding puts other parameters in the place of the first ones.
        self.adamw = make_optimizer(run, stage, self.fabric.device)
        self.optimizer: Any = self.fabric.setup_optimizers(self.adamw)
        # The copy was made before the set-up: a sharded network cannot be copied as a whole.
        self.ema = EMA(stage.network, plain)

    def fit_statistics(self) -> None:
        """Measure what the stage normalises its input by on the first batches of the run.

        Every process reads them whole, so that all have the statistics that one would have.
        """
        n_batches = self.run.accumulate * min(STATISTICS_BATCHES, self.run.n_steps)
        batches = (self.all_train_data.batch(i).to(self.fabric.device) for i in range(n_batches))
        self.stage.fit_statistics(batches)

    def run_all(self) -> TrainResult:
        """Every step that is left, with validations and checkpoints."""
        # Other processes may still read what the first one is about to clear away.
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            self.checkpoints.clean()
        started = time.monotonic() - self.seconds
        logger = MetricsLogger(self.folder, self.step, self.fabric.is_global_zero, self.run.log_freq)
        with _catch_signals() as caught, logger:
            for batches in self._steps():
                own_terms = self._train_step(batches)
                self.step += 1
                terms, self.seconds, signum = self._agree(own_terms, time.monotonic() - started, caught)
                # All processes agreed on the time, so a limit in minutes ends them at the same step.
                at_end = self._share_done() >= 1
                metrics: dict[str, float] = {}
                if self.step % self.run.eval_every == 0 or at_end:
                    metrics = self._validate()
                self._report(terms, metrics, logger)
                if signum:
                    self._save_last()
                    raise TrainingInterrupted(signum, self.folder, self.step)
                if at_end:
                    break
        return TrainResult(self.folder, self.step, self.best)

    def _steps(self) -> Iterator[list[Batch]]:
        """The batches of each step from here on, on the device; none if the run is over already."""
        run = self.run
        device = self.fabric.device
        if self._share_done() >= 1:
            return
        first = self.step * run.accumulate
        stop = run.n_steps * run.accumulate
        batches: Iterable[Batch] = (self.train_data.batch(i) for i in range(first, stop))
        if run.num_workers:
            batches = self.train_data.loader(first, stop, run.num_workers, run.prefetch_factor)
        if device.type == "cuda":
            # Pinned memory is copied while the device computes.
            batches = (batch.pin_memory() for batch in batches)
        ready = (self.stage.prepare_batch(batch.to(device)) for batch in batches)
        while step := list(islice(ready, run.accumulate)):
            yield step

    def _train_step(self, batches: list[Batch]) -> dict[str, Tensor]:
        """One step of the optimizer; returns this process's part of the loss terms.

        Raises PoseGPTError, in every process, if loss or gradient is not finite, and leaves the weights.
        """
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.run, self.step, self._share_done())

        sums: dict[str, Tensor] = {}
        for i, (batch, shares) in enumerate(zip(batches, self._shares(batches), strict=True), start=1):
            # Gradients are exchanged once, with the last batch of the step.
            with self.fabric.no_backward_sync(self.model, enabled=i < len(batches)):
                means = self.model(batch, self.step)
                terms = {name: mean * shares[name] if shares else mean for name, mean in means.items()}
                self.fabric.backward(torch.stack(list(terms.values())).sum())
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()

        self._clip_gradients(sums)
        self.optimizer.step()
        self.optimizer.zero_grad()
        # The memory of the average grows with the number of steps, so that early weights are forgotten.
        self.ema.update(min(self.run.ema, self.step / (9 + self.step)))
        return sums

    def _clip_gradients(self, terms: dict[str, Tensor]) -> None:
        # A sharded network has no norm that one process could compute alone, so Fabric does it. The check for
        # finite values is our own, because its error would come from one process only.
        clipped = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self.run.grad_clip or math.inf, error_if_nonfinite=False
        )
        assert clipped is not None
        norm = float(clipped)
        if not math.isfinite(norm):
            loss = float(sum(terms.values()))
            raise PoseGPTError(
                f"the loss is {loss:.4g}, its gradient {norm:.4g} at step {self.step}",
                "go on from the last checkpoint with resume=True and a lower learning rate",
                parameter="resume",
            )

    def _shares(self, batches: list[Batch]) -> list[dict[str, Tensor]]:
        """What a term of each batch is multiplied by: its part in the mean over all batches and processes.

        The gradients of the processes are averaged, so the shares of each sum up to 1 in the mean.
        """
        if self.world * len(batches) == 1:
            return [{}]
        counts = [self.stage.counts(batch, self.step) for batch in batches]
        table = torch.stack([torch.stack(list(count.values())) for count in counts]).float()
        total = sum_over_processes(table.sum(0)).clamp(min=1)
        return [dict(zip(counts[0], row, strict=True)) for row in table * self.world / total]

    def _agree(
        self, terms: dict[str, Tensor], seconds: float, caught: list[int]
    ) -> tuple[dict[str, float], float, int]:
        """Terms, latest time and signal of all processes: to stop together, all must see the same."""
        # One exchange for all of it, as this happens at every step.
        values = torch.stack([*terms.values()]).float()
        own = torch.cat([values, values.new_tensor([seconds, max(caught, default=0)])])
        everyone = from_every_process(own).cpu()
        means = everyone.mean(0).tolist()[:-2]
        *_, latest, signum = everyone.amax(0).tolist()
        return dict(zip(terms, means, strict=True)), latest, int(signum)

    def load(self) -> None:
        """Take up checkpoints/last. Raises PoseGPTError if there is none, or it does not fit this run."""
        saved = self.checkpoints.load_last(self._about(), self.ema.plain.state_dict())
        self.ema.load(saved.weights)
        try:
            self._take_up(saved.training)
        except Exception as error:  # torch raises anything over what it does not know
            reason = str(error).partition("\n")[0]
            raise PoseGPTError(
                f"the state of {self.folder} is not as this version of posegpt writes it: {reason}",
                f"begin a run of another name with init={self.folder}",
                parameter="init",
            ) from error

    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `_training_state` gave."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

        check_progress(state["step"], state["seconds"], state["best"], self.stage.best_metric)
        # torch ignores names that it misses. Only names and shapes are needed here, so nothing is gathered.
        own, own_optimizer = get_state_dict(self.stage, self.adamw)
        if unlike := sorted(own.keys() ^ state["stage"].keys()):
            raise KeyError(", ".join(unlike[:3]))
        check_optimizer(state["optimizer"], own_optimizer)
        set_state_dict(
            self.stage,
            self.adamw,
            model_state_dict=state["stage"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(full_state_dict=True),
        )
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.best = state["best"]
        # With another number of processes there is no telling whose random state is whose.
        if len(state["rng"]) == self.world:
            # Cloned, because torch reads from the beginning of the storage, whatever row it is given.
            torch.set_rng_state(state["rng"][self.fabric.global_rank].clone())

    def _validate(self) -> dict[str, float]:
        """Figures of the averaged network; writes the last checkpoint, and the best one if it is better."""
        network = self.ema.whole()
        with _fixed_randomness():
            metrics = self.stage.validate(network, self._eval_batches(self.val_data))
            if self.second_data:
                second = self.stage.validate(network, self._eval_batches(self.second_data))
                metrics |= {f"second {name}": value for name, value in second.items()}
            if self.fabric.is_global_zero:
                metrics |= self.on_validation(network, self.step)
        # A figure that is not a number is worse than any other.
        name = self.stage.best_metric
        if not self.best or math.isnan(self.best[name]) or metrics[name] <= self.best[name]:
            self.best = metrics
            if self.fabric.is_global_zero:
                self.checkpoints.save_best(self._about(), network.state_dict(), self.stage.tokenizer)
        self._save_last()
        return metrics

    def _eval_batches(self, source: BatchSource) -> Iterator[Batch]:
        first = islice(source.eval_batches(), self.run.eval_batches)
        return (batch.to(self.fabric.device) for batch in first)

    def _save_last(self) -> None:
        """Write the last checkpoint, from the first process; all of them take part and wait."""
        weights = self.ema.whole().state_dict()
        training = self._training_state()
        if self.fabric.is_global_zero:
            self.checkpoints.save_last(self._about(), weights, self.stage.tokenizer, training)
        self.fabric.barrier()

    def _about(self) -> CheckpointInfo:
        """What a checkpoint says of itself at this step."""
        tokenizer = self.stage.tokenizer
        return CheckpointInfo(
            stage=self.stage.stage,
            network=self.stage.network_config(),
            body_type=self.info.body_type,
            fps=self.info.fps,
            labels=self.info.labels,
            label_facts=dict(self.info.label_facts) if self.stage.stage == "gpt" else {},
            phrases=dict(self.info.phrases) if self.stage.stage == "gpt" else {},
            data_fingerprint=self.info.fingerprint,
            tokenizer_sha256=read_info(tokenizer).weights_sha256 if tokenizer else "",
            step=self.step,
            metrics=self.best,
        )

    def _training_state(self) -> dict[str, Any]:
        """What a resumed run needs beside the averaged weights, gathered from all processes."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        stage, optimizer = get_state_dict(self.stage, self.adamw, options=options)
        return {
            "stage": stage,
            "optimizer": optimizer,
            "rng": from_every_process(torch.get_rng_state().to(self.fabric.device)).cpu(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
        }

    def _share_done(self) -> float:
        """Share of the run that is behind us, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.run.minutes) if self.run.minutes else 0.0
        return max(self.step / self.run.n_steps, by_time)

    def _report(self, terms: dict[str, float], metrics: dict[str, float], logger: MetricsLogger) -> None:
        share = self._share_done()
        per_second = self.step / max(self.seconds, 1e-9)
        # A limit in minutes says how many steps there will be only by the pace so far.
        total = max(self.step, round(self.step / share)) if share else self.run.n_steps
        progress = TrainingProgress(
            step=self.step,
            total=total,
            seconds_left=(total - self.step) / per_second,
            windows_per_second=per_second * self.run.train_batch_size * self.run.accumulate,
            terms=terms,
            metrics=metrics,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            memory=peak_memory(self.fabric.device),
        )
        logger.write(progress)
        if self.fabric.is_global_zero:
            self.on_progress(progress)


@contextmanager
def _catch_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them, so that the loop can save first."""
    caught: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


@contextmanager
def _fixed_randomness() -> Iterator[None]:
    """Validation neither depends on the random state of training nor changes it.

    Its random numbers come from the CPU; `torch.manual_seed` would set the GPU's state back, too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
