"""What the server has: its engine, its working processes, the motions that it holds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.body.body import load_body_of
from models.body.skeleton import JOINT_NAMES
from models.errors import PoseGPTError, SettingsError
from models.label_facts import usual_length
from models.motion import Float32Array, Motion
from models.sampling.generator import Generator, load_generator
from models.sampling.plans import Plans, forecast_plans, sample_plans, timeline_plans
from models.sampling.settings import UNKNOWN_LENGTH, USUAL, SamplingSettings, Segment
from models.sampling.stream import load_streaming
from posegpt_cli.options.labels import resolve_labels
from posegpt_cli.output.gltf import glb_bytes
from posegpt_cli.rendering.person import Person
from posegpt_cli.serving.generating.engine import Engine
from posegpt_cli.serving.generating.jobs import Event, Failed, Finished, Job
from posegpt_cli.serving.held import HeldCharacters, HeldMotions
from posegpt_cli.serving.messages import ForecastBody, GenerateBody, SamplingBody
from posegpt_cli.serving.prompt import PromptReader
from posegpt_cli.serving.settings import Limits
from posegpt_cli.serving.workers import Worker

GREATEST_GUIDANCE = 100
"""Beyond it logits overflow."""
JobOf = Callable[[Callable[[Event], None]], Job]
"""Makes a job for whoever listens."""


@dataclass(eq=False)
class Service:
    """All that requests share."""

    generator: Generator
    engine: Engine
    limits: Limits
    held: HeldMotions
    characters: HeldCharacters
    reader: Worker
    drawer: Worker
    body_glb: bytes
    """The body at rest, on which the page plays motion."""
    rest_joints: Float32Array
    """(J, 3) metres: joints of the body at rest, where the translation is zero."""
    height: float
    """Of the body at rest, metres."""
    prompts: PromptReader
    body_models: Path | None = None
    """Folder of official body files, if the user has them."""

    async def events_of(self, job_of: JobOf) -> AsyncIterator[Event]:
        """What a job says, its last words included; it is cancelled when nobody listens any more.

        Raises BusyError if the engine takes no more.
        """
        # The engine speaks from its own thread, so that each event is handed over to the loop.
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def pass_on(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        job = job_of(pass_on)
        self.engine.submit(job)
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            self.engine.cancel(job)

    async def last_event(self, job_of: JobOf) -> Finished | Failed:
        """How a job ends."""
        async with aclosing(self.events_of(job_of)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished | Failed):
                    return event
        raise RuntimeError("a job ended without a word")

    def generation(self, body: GenerateBody, wants_preview: bool = False) -> JobOf:
        """The job of a request; raises PoseGPTError for labels that the generator does not know."""
        segments = [self._segment(each.actions, each.style, each.frames) for each in body.segments]
        # Each segment is within its limit already; so must be the whole.
        settings = sampling_of(body)
        total = sum(frames or self.usual_frames(labels) for labels, frames in segments)
        if total > self.limits.frames:
            raise PoseGPTError(
                f"{total} frames in all are more than {self.limits.frames}", "ask for shorter segments"
            )
        start: Callable[[], Plans]
        if len(segments) == 1:
            labels, n_frames = segments[0]
            start = partial(sample_plans, self.generator, labels, n_frames or USUAL, settings)
        else:
            whole = [Segment(labels, n or self.usual_frames(labels)) for labels, n in segments]
            start = partial(timeline_plans, self.generator, whole, settings)
        return self.job_of(start, body.clean, wants_preview)

    def forecast(self, body: ForecastBody, past: Motion, wants_preview: bool = False) -> JobOf:
        """The job of a request to go on from a motion."""
        labels, _ = self._segment(body.actions, body.style, None)
        start = partial(forecast_plans, self.generator, past, labels, body.frames, sampling_of(body))
        return self.job_of(start, body.clean, wants_preview, past.n_frames)

    def job_of(
        self, start: Callable[[], Plans], clean: bool = True, wants_preview: bool = False, kept: int = 0
    ) -> JobOf:
        """A job that has yet to learn who listens."""

        def make(on_event: Callable[[Event], None]) -> Job:
            return Job(start, on_event, self.limits.seconds, clean, kept, wants_preview)

        return make

    @property
    def pelvis(self) -> tuple[float, float, float]:
        """Where the pelvis of the body at rest stands when the translation is zero."""
        x, y, z = self.rest_joints[0].tolist()
        return x, y, z

    def understand(self, text: str) -> list[Segment]:
        """The timeline of a prompt, with usual lengths where it gives none.

        Raises PoseGPTError if it means nothing that the generator knows.
        """
        parts = self.prompts.read(text).parts
        return [Segment(part.labels, part.n_frames or self.usual_frames(part.labels)) for part in parts]

    def usual_frames(self, labels: tuple[str, ...]) -> int:
        """The median length of an action."""
        return usual_length(self.generator.facts, labels) or UNKNOWN_LENGTH

    def stop(self) -> None:
        """End all that goes on."""
        self.engine.stop()
        self.reader.stop()
        self.drawer.stop()

    def _segment(
        self, actions: tuple[str, ...], style: str | None, frames: int | None
    ) -> tuple[tuple[str, ...], int | None]:
        return resolve_labels(actions, style, self.generator.labels), frames


def _ignore(event: Event) -> None:
    pass


def sampling_of(body: SamplingBody) -> SamplingSettings:
    """The settings of a request; raises SettingsError if guidance is too strong to compute."""
    if (body.codes.guidance or 0) > GREATEST_GUIDANCE:
        message = f"guidance must be at most {GREATEST_GUIDANCE}, got {body.codes.guidance:g}"
        raise SettingsError(message, "guidance=3", "guidance")
    return SamplingSettings.of(body.codes, body.n, body.seed)


def make_service(gpt: Path | None, device: str, limits: Limits, body_models: Path | None = None) -> Service:
    """Load a generator and start its engine.

    Raises PoseGPTError if there is no such generator.
    """
    generator = load_generator(gpt, device)
    engine = Engine(generator, load_streaming(gpt, None, device), limits.waiting)
    engine.start()
    # The first pass through a network is slow: nobody should have to wait for it.
    engine.submit(Job(partial(sample_plans, generator, [], 8, SamplingSettings()), _ignore, limits.seconds))

    # The page poses the bones itself, so that of the body it needs one frame, at rest.
    n_joints = len(JOINT_NAMES[generator.body_type])
    zeros = np.zeros((1, n_joints, 3), np.float32)
    rest = Motion(zeros, zeros[:, 0], generator.fps, generator.body_type)
    body = load_body_of(rest, body_models, None)
    person = Person(rest, body)
    return Service(
        generator,
        engine,
        limits,
        HeldMotions(limits.held_bytes),
        HeldCharacters(limits.held_bytes),
        Worker(limits.files_waiting),
        Worker(limits.files_waiting),
        glb_bytes([person], [person.poses.numpy()]),
        body.rest_joints.numpy(),
        person.standing_height,
        PromptReader(gpt),
        body_models,
    )
