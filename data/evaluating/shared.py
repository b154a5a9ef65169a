"""What the protocols share: parts of a request, real and generated motion, what a report records."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from data.evaluating.real import Pieces, real_pieces
from data.evaluating.requests import CleaningInUse, GeneratedRequest, RealMotion
from data.store import Store
from models.config import Config
from models.evaluation.motions.clips import fit, subset
from models.evaluation.motions.generated import OnProgress, Prompt, PromptSampler
from models.evaluation.report import Setup
from models.evaluation.sharing import generate_shared
from models.motion import Motion
from models.sampling.generate import load_generator
from models.sampling.settings import CodeSettings

OnStage = Callable[[str, int, int], None]
"""Called with (what is being done, items done, items in all)."""
_C = TypeVar("_C", bound=Config)


def no_stage(stage: str, done: int, total: int) -> None:
    """Reports nothing."""


def make_sampler(request: GeneratedRequest) -> PromptSampler:
    """The generator with the request's settings of sampling."""
    generator = load_generator(request.gpt, request.device)
    is_cleaned = isinstance(request, CleaningInUse) and request.clean
    return PromptSampler(generator, part(CodeSettings, request), request.batch_size, is_cleaned)


def generate_like(
    real: Sequence[Motion],
    request: GeneratedRequest,
    on_progress: OnStage,
    around: Sequence[tuple[int, int]] | None = None,
) -> list[Motion]:
    """Generated motion with the labels and durations of real motion, at its rate and for its body.

    Args:
        real: whole clips, or pieces of clips.
        request: the generator, and how to sample.
        on_progress: called as motions are made.
        around: frames of its clip before and after each piece; None for whole clips.
    """
    sampler = make_sampler(request)
    fps = sampler.generator.fps
    prompts: list[Prompt] = []
    for k, motion in enumerate(real):
        before, after = (0, 0) if around is None else around[k]
        scale = fps / motion.fps
        n_frames = max(1, round(motion.duration * fps))
        prompts.append(Prompt(motion.labels, n_frames, None, round(before * scale), round(after * scale)))
    made = generate_shared(sampler, prompts, (request.seed, 0), stage_of(on_progress, "generate"))
    return [fit(motion, real[0].fps, real[0].body_type) for motion in made]


def chosen_pieces(store: Store, request: RealMotion, seed: int, labelled: bool = False) -> Pieces:
    """Pieces of the store's clips, as many as the request asks for."""
    pieces = real_pieces(store, request.max_frames, labelled)
    places = subset(range(len(pieces.motions)), request.clips, seed)
    return Pieces(
        [pieces.motions[k] for k in places],
        [pieces.clips[k] for k in places],
        [pieces.around[k] for k in places],
    )


def make_setup(request: RealMotion, store: Store, seed: int, fingerprints: dict[str, str]) -> Setup:
    settings = {"split": request.split, "motions": request.clips or "all", "max_frames": request.max_frames}
    if isinstance(request, CleaningInUse) and request.clean:
        settings["clean"] = True
    return Setup(
        seed=seed,
        fingerprints={"data": store.manifest.fingerprint} | fingerprints,
        settings=settings,
    )


def part(kind: type[_C], request: Config) -> _C:
    """The settings of one kind out of a request, which holds them among others."""
    return kind.model_validate({name: getattr(request, name) for name in kind.model_fields})


def stage_of(on_progress: OnStage, stage: str) -> OnProgress:
    return lambda done, total: on_progress(stage, done, total)
