"""Every action by itself: the protocol behind `posegpt eval actions`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.evaluating.files import read_folder
from data.evaluating.real import open_split
from data.evaluating.requests import ActionsRequest, NamedRequest
from data.evaluating.shared import OnStage, generate_like, make_setup, no_stage, part, stage_of
from data.store import Store
from models.errors import PoseGPTError
from models.evaluation.actions import Clips
from models.evaluation.actions import evaluate_actions as judge_actions
from models.evaluation.judge import Judge, SetInfo, extract, load_judge
from models.evaluation.motions.generated import OnProgress, checkpoint_fingerprints
from models.evaluation.report import Report
from models.motion import Motion
from models.sampling.settings import CodeSettings


@dataclass(frozen=True, eq=False)
class ActionsResult:
    """The report of `evaluate_actions`, and what to look at."""

    report: Report
    worst: list[Motion]
    """A generated motion of each of the worst names, the worst first."""


def evaluate_actions(request: ActionsRequest, on_progress: OnStage = no_stage) -> ActionsResult:
    """Every action by itself, the worst first: generated motion of the labels and durations of real clips."""
    judge = load_judge(request.classifier, request.device)
    train, held_out, held_out_store = real_clips(request, judge, on_progress)
    if request.generated:
        files = read_folder(
            request.generated, request.labels, request.reading, on_progress=stage_of(on_progress, "read")
        )
        motions = [motion.crop(0, min(motion.n_frames, request.max_frames)) for motion in files.motions]
        fingerprints = {"generated": files.fingerprint}
    else:
        motions = generate_like(prompts_of(train, request.per_name, request.seed), request, on_progress)
        fingerprints = checkpoint_fingerprints(request.gpt)
    made = judged_clips(motions, judge, request.max_frames, stage_of(on_progress, "judge"))
    setup = make_setup(
        request, held_out_store, request.seed, fingerprints | {"classifier": judge.fingerprint}
    )
    settings = setup.settings | {"per_name": request.per_name}
    if not request.generated:
        settings |= {"sampling": part(CodeSettings, request).model_dump()}
    report, worst = judge_actions(made, train, held_out, setup.replaced(settings=settings), request.worst)

    # The first motion of each name is the one that is shown.
    by_name = {motion.labels[0]: motion for motion in reversed(made.motions)}
    return ActionsResult(report, [by_name[name] for name in worst])


def real_clips(request: NamedRequest, judge: Judge, on_progress: OnStage) -> tuple[Clips, Clips, Store]:
    """Training clips, held-out clips, and the store of these."""
    # What whole and usual means is learned from training clips; held-out ones are the scale.
    train = _whole_clips(open_split(request.data, "train"), request, judge, on_progress)
    store = open_split(request.data, request.split)
    return train, _whole_clips(store, request, judge, on_progress), store


def prompts_of(train: Clips, per_name: int, seed: int) -> list[Motion]:
    """As many training clips of each name, whose labels and lengths are asked for."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(motion.labels[0] for motion in train.motions)
    chosen = [choose_clips(train.motions, name, per_name, rng) for name in names]
    return [train.motions[k] for k in np.concatenate(chosen)]


def choose_clips(motions: Sequence[Motion], name: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of n clips of a name, drawn at random, each as rarely twice as can be."""
    places = np.array([k for k, motion in enumerate(motions) if motion.labels[:1] == (name,)], np.int64)

    # Whole rounds through the clips, so that none comes a third time before all came twice.
    rounds = [rng.permutation(places) for _ in range(-(-n // max(1, len(places))))]
    return np.concatenate(rounds)[:n] if len(places) else places


def _whole_clips(store: Store, request: NamedRequest, judge: Judge, on_progress: OnStage) -> Clips:
    """The clips of a split that have a name, cut short where they are too long."""
    motions = []
    for k in range(len(store)):
        motion = store.motion(k)
        is_asked_for = not request.actions or motion.labels[:1] in {(name,) for name in request.actions}
        if store.own_labels[k] >= 0 and motion.labels[0] in judge.names and is_asked_for:
            motions.append(motion.crop(0, min(motion.n_frames, request.max_frames)))
    if not motions:
        raise _nothing_to_judge(store, request, judge)
    return judged_clips(motions, judge, request.max_frames, stage_of(on_progress, "features"))


def _nothing_to_judge(store: Store, request: NamedRequest, judge: Judge) -> PoseGPTError:
    """Why no clip of a split could be taken: other labels than the classifier's, other names, or no clips."""
    names = sorted({store.manifest.label_names[own] for own in store.own_labels if own >= 0})
    if not names:
        return PoseGPTError(f"{store.path} has no clip with a label", "prepare more clips, with labels")
    if not set(names) & set(judge.names):
        return PoseGPTError(
            f"the classifier knows no label of {store.path}, such as {', '.join(map(repr, names[:3]))}",
            "train one on this data (posegpt train classifier), and give its run as classifier=RUN",
            "classifier",
        )
    return PoseGPTError(
        f"no clip of {store.path} has one of the names asked for", "posegpt actions lists them", "actions"
    )


def judged_clips(motions: Sequence[Motion], judge: Judge, max_frames: int, on_progress: OnProgress) -> Clips:
    about = SetInfo("", max_frames, len(motions))
    labels = [motion.labels for motion in motions]
    features = extract(judge, labels, lambda places: [motions[k] for k in places], about, on_progress)
    return Clips(motions, features)
