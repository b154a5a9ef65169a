"""The engine: one thread that generates for all requests, several in a batch, several batches in turn."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.cleaning.clean import clean
from models.errors import PoseGPTError
from models.motion import Motion
from models.sampling.batches import motions_of
from models.sampling.generator import Generator
from models.sampling.sampler import SampledCodes
from posegpt_cli.serving.generating.jobs import BusyError, Failed, Finished, Job
from posegpt_cli.serving.generating.passes import JobPreview, Pass, Step, choose_together

_MAX_PASSES = 2
"""Batches that are sampled in turn: a short motion need not wait for the end of a long one."""
_COLLECT_SECONDS = 0.004
"""How long an idle engine waits for others that ask at the same time."""
_log = logging.getLogger("posegpt.serve")


@dataclass(frozen=True)
class Load:
    """What the engine has to do."""

    running: int
    waiting: int


class Engine:
    """Generates for many requests at once. All methods may be called from any thread."""

    def __init__(self, generator: Generator, streaming: Generator, max_waiting: int) -> None:
        """
        Args:
            generator: what generates.
            streaming: the same with a tokenizer that streams, for previews.
            max_waiting: jobs that may wait; more are refused.
        """
        self.generator = generator
        self._streaming = streaming
        self._max_waiting = max_waiting
        self._new: deque[Job] = deque()
        self._waiting: list[Step] = []
        self._passes: list[Pass] = []
        self._is_stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Fail what is running and waiting, and end the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def submit(self, job: Job) -> None:
        """Take a job; raises BusyError if too many wait already."""
        with self._changed:
            if self._n_waiting() >= self._max_waiting:
                raise BusyError(
                    f"{self._max_waiting} requests are waiting already", "try again in a few seconds"
                )
            self._new.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Forget a job; its place is free at once."""
        job.is_over = True
        with self._changed:
            self._changed.notify()

    def load(self) -> Load:
        with self._changed:
            running = 0
            for each in self._passes:
                running += sum(not step.job.is_over for step in each.steps)
            return Load(running, self._n_waiting())

    def _n_waiting(self) -> int:
        new = sum(not job.is_over for job in self._new)
        return new + sum(not step.job.is_over for step in self._waiting)

    def _work(self) -> None:
        """The thread: one token of each pass in turn."""
        while True:
            with self._changed:
                while not (self._is_stopped or self._new or self._waiting or self._passes):
                    self._changed.wait()
                is_idle = not self._passes
            if self._is_stopped:
                break
            # An idle engine waits a few milliseconds, so that requests that come together share a pass.
            if is_idle:
                time.sleep(_COLLECT_SECONDS)
            try:
                self._begin_new()
                self._open_passes()
                for each in list(self._passes):
                    self._advance(each)
            except Exception as error:
                # The thread must outlive what nobody foresaw: without it every request would wait forever.
                self._fail_all(error)
        self._fail_all(PoseGPTError("the server has been stopped", "start it again: posegpt serve"))

    def _begin_new(self) -> None:
        """Let new jobs say what they need sampled."""
        # The lock is held no longer than needed: encoding a past takes a while, and others want to submit.
        with self._changed:
            jobs = list(self._new)
            self._new.clear()
        for job in jobs:
            if job.is_over:
                continue
            try:
                plans = job.start()
                step = Step(job, plans, next(plans))
            except Exception as error:
                _fail(job, error)
                continue
            # A future is not previewed: its first frames depend on how it is joined to the past.
            if job.wants_preview and job.kept == 0:
                step.preview = JobPreview(self._streaming, job, step.n_rows)
            self._waiting.append(step)

    def _open_passes(self) -> None:
        """Put waiting steps into passes, as long as there is room for one."""
        with self._changed:
            self._waiting = [step for step in self._waiting if not _is_over(step.job)]
            while self._waiting and len(self._passes) < _MAX_PASSES:
                chosen = choose_together(self._waiting)
                for step in chosen:
                    self._waiting.remove(step)
                self._passes.append(Pass(self.generator, chosen))

    def _advance(self, each: Pass) -> None:
        """One more token of a pass, and what follows for those that are complete."""
        # Cancelled and late ones first: a pass that nobody waits for any more costs nothing.
        for step in each.steps:
            if _is_over(step.job):
                each.drop(step)
        complete: list[tuple[Step, SampledCodes]] = []
        try:
            if each.steps:
                complete = each.advance()
        except Exception as error:
            for step in each.steps:
                _fail(step.job, error)
                each.drop(step)
        if not each.steps:
            with self._changed:
                self._passes.remove(each)
        if complete:
            self._complete(complete)

    def _complete(self, complete: Sequence[tuple[Step, SampledCodes]]) -> None:
        """Motions of sampled codes: to the next pass of their job, or to whoever asked."""
        steps = [step for step, _ in complete]
        try:
            with torch.inference_mode():
                made = motions_of(self.generator, [s.plan for s in steps], [codes for _, codes in complete])
        except Exception as error:
            for step in steps:
                _fail(step.job, error)
            return

        # Each coroutine gets its motions; it answers with its next plan, or with the motions of the call.
        finished: list[tuple[Job, list[Motion]]] = []
        for step, motions in zip(steps, made, strict=True):
            try:
                step.plan = step.plans.send(motions)
            except StopIteration as end:
                finished.append((step.job, end.value))
            except Exception as error:
                _fail(step.job, error)
            else:
                if step.preview:
                    step.preview.show_joined(step.plan)
                # It has waited its turn already.
                self._waiting.insert(0, step)
        self._finish(finished)

    def _finish(self, finished: Sequence[tuple[Job, list[Motion]]]) -> None:
        """Clean what is to be cleaned, equally long motions of all jobs together, and hand it out."""
        # What has no past can be cleaned together, whoever asked for it.
        together = [(job, motions) for job, motions in finished if job.clean and not job.kept]
        try:
            cleaned = iter(clean([motion for _, motions in together for motion in motions]))
            for job, motions in finished:
                if job.kept and job.clean:
                    motions = clean(motions, job.kept)
                elif job.clean:
                    motions = [next(cleaned) for _ in motions]
                job.tell(Finished(motions))
        except Exception as error:
            for job, _ in finished:
                _fail(job, error)

    def _fail_all(self, error: Exception) -> None:
        """End all jobs with an error."""
        # Emptied first, because a client may ask again as soon as it hears of the failure.
        with self._changed:
            jobs = [*self._new, *(step.job for step in self._waiting)]
            for each in self._passes:
                jobs += [step.job for step in each.steps]
            self._new.clear()
            self._waiting.clear()
            self._passes.clear()
        for job in jobs:
            _fail(job, error)


def _is_over(job: Job) -> bool:
    """Whether nothing more is to be done for a job; one whose time is up fails."""
    if job.is_late():
        job.tell(Failed(f"it took longer than {job.seconds:g} s", "ask for less", is_timeout=True))
    return job.is_over


def _fail(job: Job, error: Exception) -> None:
    """Report to a job what went wrong; what nobody foresaw goes into the log, not over the network."""
    if isinstance(error, PoseGPTError):
        job.tell(Failed(error.message, error.hint))
        return
    _log.error("a job failed", exc_info=error)
    job.tell(Failed("something went wrong in the server", "its terminal shows what", is_internal=True))
