"""The protocols of evaluation: each takes its request and gives a report.

    report = evaluate_fid(FidRequest(data=Path("dataset"), gpt=Path("runs/gpt/default"), repeats=5))

Under torch.distributed the processes share the work, and each gets the whole report.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data.evaluating.files import folder_features, read_folder
from data.evaluating.real import (
    bundled_sets,
    is_known,
    judged_pieces,
    left_out,
    open_split,
    real_features,
    real_pieces,
    real_sets,
)
from data.evaluating.requests import (
    ClassifierRequest,
    EverythingRequest,
    FidRequest,
    ForecastRequest,
    LikelihoodRequest,
    PhysicsRequest,
    ReconstructionRequest,
    TransferRequest,
)
from data.evaluating.shared import (
    OnStage,
    chosen_pieces,
    generate_like,
    make_sampler,
    make_setup,
    no_stage,
    part,
    stage_of,
)
from models.checkpoint import find_checkpoint, load_vqvae
from models.config import Config
from models.distributed import resolve_device
from models.errors import PoseGPTError
from models.evaluation import fid
from models.evaluation.classifier import evaluate_classifier as judge_classifier
from models.evaluation.forecasts import ForecastSets
from models.evaluation.forecasts import evaluate_forecast as judge_forecasts
from models.evaluation.judge import (
    Features,
    Judge,
    JudgedSet,
    SetInfo,
    extract_twice,
    load_judge,
    load_second_judge,
)
from models.evaluation.likelihood import evaluate_likelihood as measure_likelihood
from models.evaluation.motions.clips import cut_all, fit, subset
from models.evaluation.motions.generated import (
    FINGERPRINT_LENGTH,
    PromptSampler,
    checkpoint_fingerprints,
)
from models.evaluation.physics import evaluate_physics as measure_physics
from models.evaluation.reconstruction import evaluate_reconstruction as measure_reconstruction
from models.evaluation.reconstruction import reconstruct
from models.evaluation.report import Report, Setup
from models.evaluation.seams import Joined, seam_figures
from models.evaluation.settings import FidSettings, ForecastSettings, TransferSettings
from models.evaluation.transfer import evaluate_transfer as train_and_test
from models.label_facts import usual_length
from models.motion import Motion
from models.sampling.generate import Generator, Segment, forecast, load_generator, timeline
from models.sampling.settings import CodeSettings, SamplingSettings
from models.training.data_source import DataInfo

SEAM_FRAMES = 32
"""Frames before and after a seam."""
LONGEST_SEGMENT = 128
"""Frames of a timeline's segment, at most."""
MOSTLY = 0.9
"""Share of the clips whose labels a classifier must know that nobody asked for."""
_C = TypeVar("_C", bound=Config)


def evaluate_fid(request: FidRequest | None = None, on_progress: OnStage = no_stage) -> Report:
    """FID, accuracy and their companions of a generator, or of the motion files of any system.

    Without `data` and `classifier` the bundled classifier judges against the features bundled with it.

    Raises PoseGPTError if what is asked for is missing, or a label is not known to the classifier or the
    generator.
    """
    request = request or FidRequest()
    if request.data is None and (request.classifier is not None or request.split != "val"):
        open_split(None, request.split)

    # The real sets are judged first: their labels and lengths are what the generator is asked for.
    judges = _judges(request.classifier, request.device)
    features = stage_of(on_progress, "features")
    sets = (
        real_sets(request.data, request.split, judges, request.max_frames, features)
        if request.data
        else bundled_sets(request.max_frames)
    )

    # Bundled sets may know one judge only; a second one then has nothing to compare with.
    keep = _chosen(len(sets.held_out.first), request)
    if request.observed:
        keep = _outlasting(keep, sets.held_out.first, request)
    second = sets.held_out.second
    real = JudgedSet(sets.held_out.first.rows(keep), None if second is None else second.rows(keep))
    judges = judges[: 1 if second is None else 2]

    # Either motion files of any system, or what our own generator makes of the same prompts.
    if request.generated:
        files = read_folder(
            request.generated, request.labels, request.reading, on_progress=stage_of(on_progress, "read")
        )
        found = folder_features(files, judges, request.max_frames)
        source = fid.FixedSource(found, {"generated": files.fingerprint})
        judged = fid.FidSets(source, real, sets.train)
    else:
        around = fid.frames_around(sets.held_out.first)[keep]
        judged = _generator_sets(request, judges, real, sets.train, keep, around)
    settings = part(FidSettings, request)
    report = fid.evaluate_fid(judged, settings, request.seed, stage_of(on_progress, "generate and judge"))
    if request.data:
        store = open_split(request.data, request.split)
        report = report.replaced(notes=(*report.notes, *left_out(store, judges)))
    if not request.observed:
        return report
    return report.replaced(settings=report.settings | {"observed": request.observed})


def _generator_sets(
    request: FidRequest,
    judges: Sequence[Judge],
    real: JudgedSet,
    train: Features,
    keep: NDArray[np.int64],
    around: NDArray[np.int64],
) -> fid.FidSets:
    """A generator's motion, the same without guidance, and the real motion through the tokenizer."""
    sampler = make_sampler(request)
    fingerprints = checkpoint_fingerprints(request.gpt)
    if request.clean:
        fingerprints["cleaned"] = "yes"  # another report than that of the network alone
    generator = sampler.generator
    pasts: list[Motion] | None = None
    others: dict[str, fid.Source] = {}
    if request.data:
        pieces = judged_pieces(open_split(request.data, request.split), judges, request.max_frames)
        motions = [pieces.motions[k] for k in keep]
        if request.observed:
            fitted = [fit(motion, generator.fps, generator.body_type) for motion in motions]
            pasts = [motion.crop(0, request.observed) for motion in fitted]

        # Only with the data at hand can its motions be put through the tokenizer; features do not do.
        def through_tokenizer(places: list[int]) -> list[Motion]:
            return reconstruct(generator.vqvae, generator.fps, [motions[k] for k in places])

        about = SetInfo(real.first.data, request.max_frames, len(motions))
        found = extract_twice(judges, [m.labels for m in motions], through_tokenizer, about)
        others[fid.RECONSTRUCTED] = fid.FixedSource(found, {})

    # Without guidance one sees what the generator itself has learned.
    codes = part(CodeSettings, request)
    if request.unguided and codes.guidance != 1:
        plain = replace(sampler, codes=codes.replaced(guidance=1.0))
        others[fid.UNGUIDED] = fid.GeneratorSource(judges, plain, real.first, {}, request.seed, pasts, around)
    source = fid.GeneratorSource(judges, sampler, real.first, fingerprints, request.seed, pasts, around)
    return fid.FidSets(source, real, train, others)


def evaluate_classifier(request: ClassifierRequest | None = None, on_progress: OnStage = no_stage) -> Report:
    """Accuracy of the classifier that judges, on held-out real motion."""
    request = request or ClassifierRequest()
    notes: tuple[str, ...] = ()
    if request.data is None and request.classifier is None and request.split == "val":
        found = bundled_sets(request.max_frames).held_out.first
    else:
        store = open_split(request.data, request.split)
        judge = load_judge(request.classifier, request.device)
        found = real_features(store, judge, [judge], request.max_frames, stage_of(on_progress, "features"))
        notes = left_out(store, [judge])
    report = judge_classifier(found.rows(_chosen(len(found), request)), request.seed)
    return report.replaced(notes=(*report.notes, *notes))


def evaluate_reconstruction(request: ReconstructionRequest, on_progress: OnStage = no_stage) -> Report:
    """What a tokenizer loses of real motion."""
    store = open_split(request.data, request.split)
    folder = find_checkpoint(request.vqvae, "vqvae")
    vqvae, info = load_vqvae(folder, resolve_device(request.device))
    setup = make_setup(request, store, request.seed, {"tokenizer": info.weights_sha256[:FINGERPRINT_LENGTH]})
    setup = setup.replaced(settings=setup.settings | {"body": info.body_type})
    pieces = chosen_pieces(store, request, request.seed)
    progress = stage_of(on_progress, "reconstruct")
    sets = [store.sets[k] for k in pieces.clips]
    return measure_reconstruction(vqvae, info.fps, pieces.motions, setup, progress, sets)


def evaluate_forecast(request: ForecastRequest, on_progress: OnStage = no_stage) -> Report:
    """Forecasts of a generator against what came, beside two baselines.

    A classifier that knows the labels of the data judges the futures as sets, too.
    """
    store = open_split(request.data, request.split)
    generator = load_generator(request.gpt, request.device)
    fingerprints = {"data": store.manifest.fingerprint, **checkpoint_fingerprints(request.gpt)}

    # The bundled classifier judges only data that it knows nearly all of.
    asked = load_judge(request.classifier, request.device)
    known = is_known(store, [asked])
    judge = asked if request.classifier is not None or known.sum() >= MOSTLY * len(known) else None
    chosen = known if judge else np.ones_like(known)
    clips = [store.motion(k) for k in np.flatnonzero(chosen).tolist()]
    train = list[Motion]()
    if judge:
        # Without training motion no real set stands beside; the forecasts are judged all the same.
        with contextlib.suppress(PoseGPTError):
            training = open_split(request.data, "train")
            chosen = is_known(training, [judge])
            train = [training.motion(k) for k in np.flatnonzero(chosen).tolist()]
        fingerprints["classifier"] = judge.fingerprint
    report = judge_forecasts(
        generator,
        ForecastSets(subset(clips, request.clips, request.seed), judge, train, request.max_frames),
        part(ForecastSettings, request),
        part(CodeSettings, request),
        Setup(seed=request.seed, fingerprints=fingerprints),
        stage_of(on_progress, "forecast"),
    )
    unknown = "no FID: the bundled classifier does not know the labels of this data; train one for it"
    notes = left_out(store, [judge]) if judge else (unknown,)
    return report.replaced(notes=(*report.notes, *notes))


def evaluate_physics(request: PhysicsRequest, on_progress: OnStage = no_stage) -> Report:
    """Sliding and floating feet, trembling and seams, of generated motion beside real motion."""
    store = open_split(request.data, request.split)
    pieces = chosen_pieces(store, request, request.seed, labelled=request.generated is None)
    real = pieces.motions
    seams = None
    if request.generated:
        files = read_folder(
            request.generated,
            reading=request.reading,
            needs_labels=False,
            on_progress=stage_of(on_progress, "read"),
        )
        made = cut_all(files.motions, request.max_frames)
        fingerprints = {"generated": files.fingerprint}
    else:
        sampler = make_sampler(request)
        made = generate_like(real, request, on_progress, pieces.around)
        fingerprints = checkpoint_fingerprints(request.gpt)
        if request.seams:
            seams = seam_figures(_joined(sampler, real, request, on_progress), real)
    setup = make_setup(request, store, request.seed, fingerprints)
    sets = {"generated": made, "real": real}
    return measure_physics(sets, setup, seams, stage_of(on_progress, "measure"))


def _joined(
    sampler: PromptSampler, real: Sequence[Motion], request: PhysicsRequest, on_progress: OnStage
) -> dict[str, list[Joined]]:
    """Timelines of two actions, and forecasts of another action than the observed one."""
    # A stream of its own, so that the number of seams does not move other draws.
    rng = np.random.default_rng([request.seed, 1])
    long_enough = [motion for motion in real if motion.n_frames >= SEAM_FRAMES]
    if not long_enough:
        raise PoseGPTError(f"no motion has {SEAM_FRAMES} frames", "seams=0", "seams")
    joined: dict[str, list[Joined]] = {"timelines": [], "forecasts": []}
    for k in range(request.seams):
        first = long_enough[rng.integers(len(long_enough))]
        second = long_enough[rng.integers(len(long_enough))]
        settings = SamplingSettings.of(sampler.codes, 1, request.seed + k)
        segments = [
            Segment(motion.labels, _usual(sampler.generator, motion.labels)) for motion in (first, second)
        ]
        (story,) = sampler.cleaned(timeline(sampler.generator, segments, settings))
        for one in story.parts[1:]:
            joined["timelines"].append(Joined(story, round(one.start * story.fps)))

        # The past of a forecast is real, so that its seam is between real and generated frames.
        past = fit(first, sampler.generator.fps, sampler.generator.body_type).crop(0, SEAM_FRAMES)
        futures = forecast(sampler.generator, past, second.labels, SEAM_FRAMES, settings)
        (future,) = sampler.cleaned(futures, kept=past.n_frames)
        joined["forecasts"].append(Joined(future, past.n_frames))
        on_progress("join", k + 1, request.seams)
    return joined


def _usual(generator: Generator, labels: Sequence[str]) -> int:
    """Frames of a segment: a whole action, so that its end and its beginning meet."""
    return min(usual_length(generator.facts, labels) or 2 * SEAM_FRAMES, LONGEST_SEGMENT)


def evaluate_transfer(request: TransferRequest, on_progress: OnStage = no_stage) -> Report:
    """A classifier trained on generated motion beside one trained on real, both tested on real motion."""
    test = open_split(request.data, request.split)
    store = open_split(request.data, "train")
    manifest = store.manifest

    # As many generated motions as real ones, with the same labels and lengths.
    pieces = chosen_pieces(store, request, request.seed, labelled=True)
    real = pieces.motions
    made = generate_like(real, request, on_progress, pieces.around)
    info = DataInfo(
        manifest.label_names, manifest.body_type, manifest.fps, manifest.fingerprint, names=store.own_names
    )
    fingerprints = {"train data": manifest.fingerprint, **checkpoint_fingerprints(request.gpt)}
    return train_and_test(
        {"generated": made, "real": real},
        real_pieces(test, request.max_frames, labelled=True).motions,
        info,
        part(TransferSettings, request),
        Setup(seed=request.seed, fingerprints={"data": test.manifest.fingerprint} | fingerprints),
        stage_of(on_progress, "train and test"),
    )


def evaluate_likelihood(request: LikelihoodRequest, on_progress: OnStage = no_stage) -> Report:
    """How likely real motion is: the tokenizer's likelihood and bounds, the generator's nll."""
    generator = load_generator(request.gpt, request.device)
    sets = {}
    fingerprints = checkpoint_fingerprints(request.gpt)
    for split in request.splits:
        store = open_split(request.data, split)
        pieces = real_pieces(store, request.max_frames, labelled=True).motions
        sets[split] = subset(pieces, request.clips, request.seed)
        # Reports are compared by the data of their first split.
        fingerprints = {"data": store.manifest.fingerprint} | fingerprints
    settings = {"motions": request.clips or "all", "max_frames": request.max_frames}
    setup = Setup(seed=request.seed, fingerprints=fingerprints, settings=settings)
    return measure_likelihood(generator, sets, setup, stage_of(on_progress, "measure"))


def evaluate_everything(request: EverythingRequest, on_progress: OnStage = no_stage) -> list[Report]:
    """All protocols but the table by actions, one report each."""
    # A classifier is trained once in a transfer, however many sets are judged.
    transfer = _shared(TransferRequest, request).replaced(repeats=TransferSettings().repeats)
    reconstruction = _shared(ReconstructionRequest, request).replaced(vqvae=request.gpt)
    likelihood = _shared(LikelihoodRequest, request).replaced(splits=(request.split,))
    return [
        evaluate_fid(_shared(FidRequest, request), on_progress),
        evaluate_classifier(_shared(ClassifierRequest, request).replaced(clips=0), on_progress),
        evaluate_reconstruction(reconstruction, on_progress),
        evaluate_physics(_shared(PhysicsRequest, request), on_progress),
        evaluate_forecast(_shared(ForecastRequest, request), on_progress),
        evaluate_likelihood(likelihood, on_progress),
        evaluate_transfer(transfer, on_progress),
    ]


def _judges(classifier: Path | None, device: str) -> list[Judge]:
    """The classifier, and the one beside it if there is one."""
    second = load_second_judge(classifier, device)
    first = load_judge(classifier, device)
    return [first] if second is None else [first, second]


def _chosen(n: int, request: FidRequest | ClassifierRequest) -> NDArray[np.int64]:
    """Places of the motions that are evaluated, among n."""
    if not request.clips or request.clips >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(request.seed).choice(n, request.clips, replace=False))


def _outlasting(keep: NDArray[np.int64], real: Features, request: FidRequest) -> NDArray[np.int64]:
    """Places of the motions that go on for as long as they are observed, at least."""
    if request.data is None or request.generated is not None:
        raise PoseGPTError(
            "generation from an observed past needs real motion", "give data=DIR", ("observed", "data")
        )
    long_enough = keep[real.lengths[keep] >= 2 * request.observed]
    if len(long_enough) < 2:
        raise PoseGPTError(
            f"fewer than two motions have {2 * request.observed} frames, twice of what is observed",
            f"observed={max(1, int(real.lengths.max()) // 4)}",
            "observed",
        )
    return long_enough


def _shared(kind: type[_C], request: EverythingRequest) -> _C:
    """A protocol's request with the settings that all of them share."""
    known = kind.model_fields.keys() & type(request).model_fields.keys()
    return kind.model_validate({name: getattr(request, name) for name in known})
