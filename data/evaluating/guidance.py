"""The guidance at which each action is generated best: the protocol behind `posegpt eval guidance`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.evaluating.actions import judged_clips, prompts_of, real_clips
from data.evaluating.requests import GuidanceRequest
from data.evaluating.shared import OnStage, generate_like, make_setup, no_stage, part, stage_of
from models.checkpoint import find_checkpoint, read_info, write_info
from models.evaluation.actions import FIGURES, asked_shortfall, measure_names, over_names, shortfall
from models.evaluation.judge import load_judge
from models.evaluation.motions.generated import checkpoint_fingerprints
from models.evaluation.report import Estimate, Report, Table
from models.label_facts import LabelFacts
from models.sampling.settings import GUIDANCE, CodeSettings

Figures = Mapping[str, Mapping[str, float]]
"""By name, then by figure."""
NEIGHBOURS = (0.25, 0.5, 0.25)
"""Weights of a guidance and its neighbours: what is best by chance has poor neighbours."""
CLEAR = 0.05
"""By this much another guidance must fall short less than the default: what is less is chance."""
SLIGHT = 0.01
"""So much more may be missing of what was asked for where motion is clearly more varied in return."""
MORE_VARIED = 0.1
"""By this much its spread must be nearer to that of real motion, as a share of it."""


def evaluate_guidance(request: GuidanceRequest, on_progress: OnStage = no_stage) -> Report:
    """Which guidance suits each action; with `keep` the answers go into the checkpoint.

    Every value generates the same number of motions per name, with the labels and lengths of training clips,
    and each name takes the default, or the value at which it clearly falls short of its real clips less, or
    is clearly more varied and falls short no more.

    Raises PoseGPTError if there are no clips of the names, or the checkpoint cannot be written.
    """
    values = sorted(set(request.values))
    judge = load_judge(request.classifier, request.device)
    train, held_out, held_out_store = real_clips(request, judge, on_progress)
    like = prompts_of(train, request.per_name, request.seed)

    found: dict[float, Figures] = {}
    real: Figures = {}
    for value in values:
        one = request.replaced(guidance=value)
        motions = generate_like(like, one, _titled(on_progress, f"guidance {value:g}"))
        made = judged_clips(motions, judge, request.max_frames, stage_of(on_progress, "judge"))
        found[value], real = measure_names(made, train, held_out)

    names = tuple(found[values[0]])
    best: dict[str, float] = {}
    missing: dict[str, list[float]] = {}
    for name in names:
        rows = [found[value][name] for value in values]
        # Real clips of a name may be mistaken for another; motion that is recognised is no worse for that.
        reachable = dict(real[name], recognised=max(row["recognised"] for row in rows))
        missing[name] = [shortfall(row, reachable) for row in rows]
        asked = [asked_shortfall(row, reachable) for row in rows]
        best[name] = choose_guidance(values, missing[name], asked, [row["spread"] for row in rows])
    if request.keep:
        keep_guidance(request.gpt, best, found, real)

    fingerprints = checkpoint_fingerprints(request.gpt) | {"classifier": judge.fingerprint}
    setup = make_setup(request, held_out_store, request.seed, fingerprints)
    settings = {"per_name": request.per_name, "sampling": part(CodeSettings, request).model_dump()}
    groups: dict[str, dict[str, Estimate]] = {}
    for value in values:
        groups[f"guidance {value:g}"] = over_names(found[value])
    groups["each its best"] = over_names({name: found[best[name]][name] for name in names})
    return Report(
        protocol="guidance",
        seed=setup.seed,
        settings=setup.settings | settings,
        fingerprints=setup.fingerprints,
        counts={"names": len(names), "motions per guidance": len(like)},
        infos=FIGURES,
        figures=groups | {"real": over_names(real)},
        notes=("the best of several values looks better than it is: few motions per name judge each",),
        tables={"what is missing, by guidance": _table(values, missing, found, best)},
    )


def choose_guidance(
    values: Sequence[float],
    missing: Sequence[float],
    asked: Sequence[float] | None = None,
    spread: Sequence[float] | None = None,
) -> float:
    """The value nearest to the default, unless another one is clearly better.

    Guidance makes motions of a name alike: where what was asked for loses nothing by another value, the one
    whose motions are as varied as real ones is taken.

    Args:
        values: rising.
        missing: shortfall at each, 0 to 1.
        asked: shortfall at each of what was asked for alone, variety left out.
        spread: distance of pairs of motions over that of real ones, at each.
    """
    smooth = _smooth(missing)
    default = min(range(len(values)), key=lambda k: abs(values[k] - GUIDANCE))
    best = int(smooth.argmin())
    if smooth[best] >= smooth[default] - CLEAR:
        best = default
    if asked is None or spread is None or not (np.isfinite(spread).all() and np.min(spread) > 0):
        return values[best]

    # How far the spread is from that of real motion, on either side of it.
    uneven = _smooth([1 - min(ratio, 1 / ratio) for ratio in spread])
    lost = _smooth(asked)
    allowed = np.flatnonzero(lost <= lost[best] + SLIGHT)
    varied = int(allowed[uneven[allowed].argmin()])
    return values[varied] if uneven[varied] < uneven[best] - MORE_VARIED else values[best]


def _smooth(figures: Sequence[float]) -> NDArray[np.float64]:
    """Figures at rising values, each with its neighbours."""
    padded = np.pad(np.asarray(figures, float), 1, mode="edge")
    return np.convolve(padded, NEIGHBOURS, mode="valid")


def keep_guidance(
    gpt: Path | None, best: Mapping[str, float], found: Mapping[float, Figures], real: Figures
) -> None:
    """Write the guidance of each name, and how well it is generated with it, into the checkpoint."""
    folder = find_checkpoint(gpt, "gpt")
    info = read_info(folder)
    facts = dict(info.label_facts)
    for name in best.keys() & set(info.labels):
        row = found[best[name]][name]
        shares = {key: min(1.0, row[key] / max(real[name][key], 1e-6)) for key in ("recognised", "whole")}
        facts[name] = facts.get(name, LabelFacts()).replaced(guidance=best[name], **shares)
    write_info(folder, info.replaced(label_facts=facts))


def _titled(on_progress: OnStage, title: str) -> OnStage:
    return lambda stage, done, total: on_progress(f"{stage}, {title}", done, total)


def _table(
    values: Sequence[float],
    missing: Mapping[str, Sequence[float]],
    found: Mapping[float, Figures],
    best: Mapping[str, float],
) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name in missing:
        row = found[best[name]][name]
        rows.append((name, best[name], *missing[name], row["recognised"], row["whole"], row["spread"]))
    headings = [f"at {value:g}" for value in values]
    return Table(columns=("name", "best", *headings, "recognised", "whole", "spread"), rows=tuple(rows))
