"""One training loop for all stages."""

import io
import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.batch import Batch
from models.checkpoint import CheckpointInfo, save_checkpoint
from models.config import RunConfig
from models.errors import PoseGPTError
from models.generate import resolve_device
from models.stages import DataInfo, TrainStage, make_stage

STATE = "state.pt"


class Windows(Protocol):
    """Training and validation data; a batch is a function of the step, so that runs can be resumed."""

    def batch(self, step: int) -> Batch: ...

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterable[Batch]: ...

    def eval_batches(self) -> Iterable[Batch]: ...

    def of_rank(self, rank: int, world: int) -> "Windows": ...


@dataclass(frozen=True)
class Progress:
    """One step of training, or one validation."""

    step: int
    total: int
    """Steps this run will take, as far as can be told."""
    seconds_left: float
    windows_per_second: float
    terms: dict[str, float]
    """Loss terms, weighted; their sum is the loss."""
    metrics: dict[str, float]
    """Validation figures; empty between validations."""


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
) -> TrainResult:
    """Train a stage and leave its checkpoints in `folder`/checkpoints.

    Args:
        run: VQVAERun, GPTRun or ClassifierRun.
        resume: go on from checkpoints/last; on CPU the run continues exactly as if never stopped.

    Raises:
        TrainingInterrupted: on Ctrl-C and SIGTERM, after saving.
        PoseGPTError: where the loss is not finite (the last checkpoint stays), or nothing can be resumed.
    """
    torch.manual_seed(run.seed)
    loop = _Loop(run, folder, info, make_stage(run, info), train_windows, val_windows, report)
    if resume:
        loop.load()
    else:
        first = [train_windows.batch(step) for step in range(min(16, run.iter))]
        loop.stage.prepare(first)
    return loop.run_all()


class _Loop:
    """State of a run: networks, optimizer, average, step, best figures."""

    def __init__(
        self, run: RunConfig, folder: Path, info: DataInfo, stage: TrainStage, train_windows: Windows,
        val_windows: Windows, report: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        from lightning_fabric import Fabric

        device = resolve_device(run.device)
        self.run, self.folder, self.info, self.stage = run, folder, info, stage
        self.train_windows, self.val_windows, self.report = train_windows, val_windows, report
        self.fabric = Fabric(
            accelerator=device, devices=run.devices, num_nodes=run.num_nodes,
            strategy="ddp" if run.devices * run.num_nodes > 1 else "auto",
        )  # fmt: skip
        self.fabric.launch()
        rank, world = self.fabric.global_rank, self.fabric.world_size
        if world > 1:
            self.train_windows = train_windows.of_rank(rank, world)
        torch.manual_seed(run.seed + rank)
        optimizer = torch.optim.AdamW(
            _parameter_groups(stage, run.weight_decay),
            lr=run.learning_rate, betas=(run.ab1, run.ab2), fused=device in ("cpu", "cuda"),
        )  # fmt: skip
        self.model, self.optimizer = self.fabric.setup(stage, optimizer)
        self.average = AveragedModel(stage.network, multi_avg_fn=self._average)
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, float] = {}

    def run_all(self) -> TrainResult:
        started = time.monotonic() - self.seconds
        with _catch_signals() as caught, _Log(self.folder, self.step, self.fabric.is_global_zero) as log:
            for batch in self._batches():
                terms = self._train_step(batch.to(self.fabric.device), self._done())
                self.step += 1
                self.seconds = self._agree(time.monotonic() - started)
                at_end = self._done() >= 1
                metrics = self._validate() if self.step % self.run.eval_every == 0 or at_end else {}
                self._tell(terms, metrics, log)
                if signum := int(self._agree(max(caught, default=0))):
                    self._save("last", with_state=True)
                    raise TrainingInterrupted(signum, self.folder, self.step)
                if at_end:
                    break
        return TrainResult(self.folder, self.step, self.best)

    def _batches(self) -> Iterable[Batch]:
        """Training batches from here on; none where the run is over already."""
        run = self.run
        if self._done() >= 1:
            return ()
        if run.num_workers:
            return self.train_windows.loader(self.step, run.iter, run.num_workers, run.prefetch_factor)
        return (self.train_windows.batch(step) for step in range(self.step, run.iter))

    def _agree(self, value: float) -> float:
        """The largest value of any process: to stop together, all must see the same time and signal."""
        if self.fabric.world_size == 1:
            return value
        mine = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        latest = self.fabric.all_reduce(mine, reduce_op="max")
        assert isinstance(latest, torch.Tensor)
        return latest.item()

    def load(self) -> None:
        """Take up checkpoints/last."""
        path = self.folder / "checkpoints" / "last" / STATE
        if not path.is_file():
            raise PoseGPTError(f"{self.folder} has nothing to resume (no {path.name})", "leave out --resume")
        state = torch.load(path, map_location=self.fabric.device, weights_only=True)
        self.stage.load_state_dict(state["stage"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        if len(state["rng"]) == self.fabric.world_size:
            torch.set_rng_state(state["rng"][self.fabric.global_rank].cpu())

    def _train_step(self, batch: Batch, done: float) -> dict[str, float]:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.learning_rate * _schedule(self.step, done, self.run.warmup)
        terms = self.model(batch, self.step)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise PoseGPTError(
                f"the loss is {loss.item()} at step {self.step}",
                "lower --learning-rate, then --resume from the last checkpoint",
            )
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.run.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.stage.network)
        return {name: float(term.detach()) for name, term in terms.items()}

    def _validate(self) -> dict[str, float]:
        network = self.average.module.eval()
        first = islice(self.val_windows.eval_batches(), self.run.eval_batches)
        batches = (batch.to(self.fabric.device) for batch in first)
        with _fixed_randomness():
            metrics = self.stage.validate(network, batches)
        name = self.stage.best_metric
        if not self.best or metrics[name] <= self.best[name]:
            self.best = metrics
            self._save("best", with_state=False)
        self._save("last", with_state=True)
        return metrics

    def _save(self, name: Literal["best", "last"], with_state: bool) -> None:
        """Write a checkpoint, from the first process; all of them take part and wait."""
        extra = {STATE: self._state()} if with_state else {}
        info = CheckpointInfo(
            stage=self.stage.stage, network=self.stage.network_config(), body_type=self.info.body_type,
            fps=self.info.fps, labels=self.info.labels, data_fingerprint=self.info.fingerprint,
            step=self.step, metrics=self.best,
        )  # fmt: skip
        state = self.average.module.state_dict()
        if self.fabric.is_global_zero:
            save_checkpoint(self.folder / "checkpoints" / name, info, state, self.stage.tokenizer, extra)
        self.fabric.barrier()

    def _state(self) -> bytes:
        buffer = io.BytesIO()
        state = {
            "stage": self.stage.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "rng": self._random_states(),
            "step": self.step, "seconds": self.seconds, "best": self.best,
        }  # fmt: skip
        torch.save(state, buffer)
        return buffer.getvalue()

    def _random_states(self) -> Tensor:
        """(world, N) random state of every process."""
        gathered = self.fabric.all_gather(torch.get_rng_state().to(self.fabric.device))
        assert isinstance(gathered, Tensor)
        return gathered.view(self.fabric.world_size, -1).cpu()

    def _done(self) -> float:
        """Share of the run that is behind us, by steps or by time, whichever is further."""
        by_time = self.seconds / (60 * self.run.minutes) if self.run.minutes else 0.0
        return max(self.step / self.run.iter, by_time)

    def _tell(self, terms: dict[str, float], metrics: dict[str, float], log: "_Log") -> None:
        done, per_second = self._done(), self.step / max(self.seconds, 1e-9)
        total = max(self.step, round(self.step / done)) if done else self.run.iter
        left = (total - self.step) / per_second
        progress = Progress(self.step, total, left, per_second * self.run.train_batch_size, terms, metrics)
        log.write(progress)
        if self.fabric.is_global_zero:
            self.report(progress)

    def _average(self, averaged: Any, current: Any, n: Any) -> None:
        """Exponential moving average whose memory grows with the steps seen."""
        decay = min(self.run.ema, (1 + self.step) / (10 + self.step)) if self.run.ema else 0.0
        torch._foreach_lerp_(averaged, current, 1 - decay)


class _Log:
    """metrics.jsonl and TensorBoard events of a run, written by the first process."""

    EVERY = 20

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        self.folder, self.step, self.writes = folder, step, writes

    def __enter__(self) -> Self:
        if self.writes:
            from torch.utils.tensorboard import SummaryWriter

            self.folder.mkdir(parents=True, exist_ok=True)
            self.lines = (self.folder / "metrics.jsonl").open("a", buffering=1)
            self.board = SummaryWriter(str(self.folder), purge_step=self.step)
        return self

    def __exit__(self, *_: object) -> None:
        if self.writes:
            self.lines.close()
            self.board.close()

    def write(self, progress: Progress) -> None:
        if not self.writes or (progress.step % self.EVERY and not progress.metrics):
            return
        self.lines.write(json.dumps(asdict(progress)) + "\n")
        for prefix, values in (("loss", progress.terms), ("val", progress.metrics)):
            for name, value in values.items():
                self.board.add_scalar(f"{prefix}/{name}", value, progress.step)


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
    """Validation neither depends on the random state of training nor changes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
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
