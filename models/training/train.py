"""One training loop for all stages."""

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
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.checkpoint import CheckpointInfo, read_info
from models.distributed import from_every_process, sum_over_processes
from models.errors import PoseGPTError
from models.training.config import RunConfig
from models.training.ema import AveragedWeights
from models.training.fabric import compile_blocks, make_fabric
from models.training.fine_tune import warm_start
from models.training.memory import peak_memory
from models.training.run_folder import Checkpoints, FigureLog
from models.training.stages import DataInfo, TrainStage, make_stage


class Windows(Protocol):
    """Training and validation data; a batch is a function of the step, so that runs can be resumed."""

    def batch(self, step: int) -> Batch: ...

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterable[Batch]: ...

    def eval_batches(self) -> Iterable[Batch]: ...

    def of_rank(self, rank: int, world: int) -> "Windows": ...


Visit = Callable[[Any, int], dict[str, float]]
"""Looks at the averaged network, in evaluation mode, after a step; returns further figures."""


@dataclass(frozen=True)
class Progress:
    """One step of training, or one validation."""

    step: int
    total: int
    """Steps this run will take, as far as can be told."""
    seconds_left: float
    windows_per_second: float
    terms: dict[str, float]
    """Loss terms, weighted, of all processes; their sum is the loss."""
    metrics: dict[str, float]
    """Validation figures; empty between validations."""
    learning_rate: float
    """Of this step."""
    memory: int
    """Bytes in use at most so far: of the GPU on CUDA, else of this process."""


@dataclass(frozen=True)
class TrainResult:
    folder: Path
    """Run folder; checkpoints/best and checkpoints/last lie in it."""
    step: int
    metrics: dict[str, float]
    """Validation figures of the best checkpoint."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after everything was saved."""

    def __init__(self, signum: int, folder: Path, step: int) -> None:
        super().__init__(f"interrupted at step {step}, saved in {folder}")
        self.exit_code = 128 + signum
        self.folder = folder


def train(
    run: RunConfig,
    folder: Path,
    info: DataInfo,
    train_windows: Windows,
    val_windows: Windows,
    report: Callable[[Progress], None] = lambda progress: None,
    resume: bool = False,
    visit: Visit = lambda network, step: {},
) -> TrainResult:
    """Train a stage and leave its checkpoints in `folder`/checkpoints.

    Args:
        run: VQVAERun, GPTRun or ClassifierRun.
        resume: go on from checkpoints/last; on CPU the run continues exactly as if never stopped.
        visit: called by the first process at each validation; what it returns joins the figures.

    Raises:
        TrainingInterrupted: on Ctrl-C and SIGTERM, after saving.
        PoseGPTError: where the loss is not finite (the last checkpoint stays), or nothing can be resumed.
    """
    torch.manual_seed(run.seed)
    stage = make_stage(run, info)
    if run.init and not resume:
        warm_start(stage, run.init, info)
    loop = _Loop(run, folder, info, stage, train_windows, val_windows, report, visit)
    if resume:
        loop.load()
    elif not run.init:
        steps = range(run.accumulate * min(16, run.iter))
        loop.stage.prepare(train_windows.batch(step).to(loop.fabric.device) for step in steps)
    return loop.run_all()


class _Loop:
    """State of a run: networks, optimizer, average, step, best figures."""

    def __init__(
        self, run: RunConfig, folder: Path, info: DataInfo, stage: TrainStage, train_windows: Windows,
        val_windows: Windows, report: Callable[[Progress], None], visit: Visit,
    ) -> None:  # fmt: skip
        self.run, self.folder, self.info, self.stage = run, folder, info, stage
        self.train_windows, self.val_windows = train_windows, val_windows
        self.report, self.visit = report, visit
        self.checkpoints = Checkpoints(folder / "checkpoints", run.keep)
        self.fabric = make_fabric(run)
        self.fabric.launch()
        rank, self.world = self.fabric.global_rank, self.fabric.world_size
        if self.world > 1:
            self.train_windows = train_windows.of_rank(rank, self.world)
        torch.manual_seed(run.seed + rank)
        plain = deepcopy(stage.network).to(self.fabric.device)
        if run.compile:
            compile_blocks(stage.network)
        self.model = self.fabric.setup_module(stage)
        # After the set-up, because sharding puts other parameters in the place of these.
        self.adamw = torch.optim.AdamW(
            _parameter_groups(stage, run.weight_decay), lr=run.learning_rate, betas=(run.ab1, run.ab2),
            fused=self.fabric.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        self.optimizer: Any = self.fabric.setup_optimizers(self.adamw)
        self.average = AveragedWeights(stage.network, plain)
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, float] = {}

    def run_all(self) -> TrainResult:
        self.fabric.barrier()  # others may still read what the first one clears away
        if self.fabric.is_global_zero:
            self.checkpoints.clean()
        started = time.monotonic() - self.seconds
        with _catch_signals() as caught, FigureLog(self.folder, self.step, self.fabric.is_global_zero) as log:
            for batches in self._steps():
                mine = self._train_step(batches)
                self.step += 1
                terms, self.seconds, signum = self._agree(mine, time.monotonic() - started, caught)
                at_end = self._done() >= 1
                metrics = self._validate() if self.step % self.run.eval_every == 0 or at_end else {}
                self._tell(terms, metrics, log)
                if signum:
                    self._save_last()
                    raise TrainingInterrupted(signum, self.folder, self.step)
                if at_end:
                    break
        return TrainResult(self.folder, self.step, self.best)

    def _steps(self) -> Iterator[list[Batch]]:
        """The batches of each step from here on, on the device; none where the run is over already."""
        run, device = self.run, self.fabric.device
        if self._done() >= 1:
            return
        first, stop = self.step * run.accumulate, run.iter * run.accumulate
        batches: Iterable[Batch] = (self.train_windows.batch(i) for i in range(first, stop))
        if run.num_workers:
            batches = self.train_windows.loader(first, stop, run.num_workers, run.prefetch_factor)
        if device.type == "cuda":  # copied while the device computes
            batches = (batch.pin_memory() for batch in batches)
        drawn = (self.stage.draw(batch.to(device)) for batch in batches)
        while step := list(islice(drawn, run.accumulate)):
            yield step

    def _train_step(self, batches: list[Batch]) -> dict[str, Tensor]:
        """One step of the optimizer; returns this process's part of the loss terms.

        Raises PoseGPTError, on every process, where loss or gradient is not finite, and leaves the weights.
        """
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.learning_rate * _schedule(self.step, self._done(), self.run.warmup)
        sums: dict[str, Tensor] = {}
        for i, (batch, shares) in enumerate(zip(batches, self._shares(batches), strict=True), start=1):
            with self.fabric.no_backward_sync(self.model, enabled=i < len(batches)):
                means = self.model(batch, self.step)
                terms = {name: mean * shares[name] if shares else mean for name, mean in means.items()}
                self.fabric.backward(torch.stack(list(terms.values())).sum())
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()
        clipped = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self.run.grad_clip, error_if_nonfinite=False
        )
        assert clipped is not None
        norm, loss = float(clipped), float(sum(sums.values()))
        if not math.isfinite(norm):
            raise PoseGPTError(
                f"the loss is {loss:.4g}, its gradient {norm:.4g} at step {self.step}",
                "lower `learning_rate`, then resume=True goes on from the last checkpoint",
                ("learning_rate", "resume"),
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        # Its memory grows with the steps seen.
        self.average.update(min(self.run.ema, self.step / (9 + self.step)))
        return sums

    def _shares(self, batches: list[Batch]) -> list[dict[str, Tensor]]:
        """What a term of each batch is multiplied by: its part in the mean over all batches and processes.

        The gradients of the processes are averaged, so the shares of each sum up to 1 in the mean.
        """
        if self.world * len(batches) == 1:
            return [{}]
        counts = [self.stage.counts(batch) for batch in batches]
        table = torch.stack([torch.stack(list(count.values())) for count in counts]).float()
        total = sum_over_processes(table.sum(0)).clamp(min=1)
        return [dict(zip(counts[0], row, strict=True)) for row in table * self.world / total]

    def _agree(
        self, terms: dict[str, Tensor], seconds: float, caught: list[int]
    ) -> tuple[dict[str, float], float, int]:
        """Terms, latest time and signal of all processes: to stop together, all must see the same."""
        values = torch.stack([*terms.values()]).float()
        mine = torch.cat([values, values.new_tensor([seconds, max(caught, default=0)])])
        everyone = from_every_process(mine).cpu()
        means = everyone.mean(0).tolist()[:-2]
        *_, latest, signum = everyone.amax(0).tolist()
        return dict(zip(terms, means, strict=True)), latest, int(signum)

    def load(self) -> None:
        """Take up checkpoints/last. Raises PoseGPTError where there is none, or it does not fit this run."""
        saved = self.checkpoints.load_last(self._about(), self.average.plain.state_dict())
        self.average.load(saved.weights)
        try:
            self._take_up(saved.training)
        except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise PoseGPTError(
                f"the state of {self.folder} is not as this version of posegpt writes it: {reason}",
                f"begin a run with another `name` and init={self.folder}",
                ("name", "init"),
            ) from error

    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `_training_state` gave."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_model_state_dict,
            set_state_dict,
        )

        mine = get_model_state_dict(self.stage)  # not gathered: whole, only the first process would have it
        if unlike := sorted(mine.keys() ^ state["stage"].keys()):
            raise KeyError(", ".join(unlike[:3]))  # torch leaves out what is not there, without a word
        set_state_dict(
            self.stage, self.adamw, model_state_dict=state["stage"],
            optim_state_dict=state["optimizer"], options=StateDictOptions(full_state_dict=True),
        )  # fmt: skip
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        if len(state["rng"]) == self.world:
            # Cloned, because torch reads from the beginning of the storage, whatever row it is given.
            torch.set_rng_state(state["rng"][self.fabric.global_rank].clone())

    def _validate(self) -> dict[str, float]:
        network = self.average.whole()
        first = islice(self.val_windows.eval_batches(), self.run.eval_batches)
        batches = (batch.to(self.fabric.device) for batch in first)
        with _fixed_randomness():
            metrics = self.stage.validate(network, batches)
            if self.fabric.is_global_zero:
                metrics |= self.visit(network, self.step)
        name = self.stage.best_metric
        if not self.best or math.isnan(self.best[name]) or metrics[name] <= self.best[name]:
            self.best = metrics
            if self.fabric.is_global_zero:
                self.checkpoints.save_best(self._about(), network.state_dict(), self.stage.tokenizer)
        self._save_last()
        return metrics

    def _save_last(self) -> None:
        """Write the last checkpoint, from the first process; all of them take part and wait."""
        weights, training = self.average.whole().state_dict(), self._training_state()
        if self.fabric.is_global_zero:
            self.checkpoints.save_last(self._about(), weights, self.stage.tokenizer, training)
        self.fabric.barrier()

    def _about(self) -> CheckpointInfo:
        """What a checkpoint says of itself at this step."""
        tokenizer = self.stage.tokenizer
        return CheckpointInfo(
            stage=self.stage.stage, network=self.stage.network_config(), body_type=self.info.body_type,
            fps=self.info.fps, labels=self.info.labels, data_fingerprint=self.info.fingerprint,
            tokenizer_sha256=read_info(tokenizer).weights_sha256 if tokenizer else "",
            step=self.step, metrics=self.best,
        )  # fmt: skip

    def _training_state(self) -> dict[str, Any]:
        """What --resume needs beside the averaged weights, gathered from all processes."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        stage, optimizer = get_state_dict(self.stage, self.adamw, options=options)
        rng = from_every_process(torch.get_rng_state().to(self.fabric.device)).cpu()
        return {
            "stage": stage, "optimizer": optimizer, "rng": rng, "step": self.step, "seconds": self.seconds,
            "best": self.best,
        }  # fmt: skip

    def _done(self) -> float:
        """Share of the run that is behind us, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.run.minutes) if self.run.minutes else 0.0
        return max(self.step / self.run.iter, by_time)

    def _tell(self, terms: dict[str, float], metrics: dict[str, float], log: FigureLog) -> None:
        done, per_second = self._done(), self.step / max(self.seconds, 1e-9)
        total = max(self.step, round(self.step / done)) if done else self.run.iter
        windows = self.run.train_batch_size * self.run.accumulate
        progress = Progress(
            self.step, total, (total - self.step) / per_second, per_second * windows, terms, metrics,
            self.optimizer.param_groups[0]["lr"], peak_memory(self.fabric.device),
        )  # fmt: skip
        log.write(progress)
        if self.fabric.is_global_zero:
            self.report(progress)


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

    What it draws it draws on the CPU; `torch.manual_seed` would set the GPU's state back, too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def _parameter_groups(stage: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; gains, biases and embeddings' vectors do not. What is frozen is left out."""
    trained = [p for p in stage.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.dim() >= 2], [p for p in trained if p.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _schedule(step: int, done: float, warmup: int) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine down to 1 %."""
    return min(1.0, (step + 1) / max(warmup, 1)) * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    )
