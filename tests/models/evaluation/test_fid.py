"""FID and its companions, on sets whose figures are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import PoseGPTError
from models.evaluation import fid, recognition, report
from models.evaluation import judge as features
from models.evaluation.motions import generated
from models.evaluation.motions.generated import PromptSampler
from models.evaluation.motions.matching import MatchedDraws
from models.evaluation.settings import FidSettings
from models.evaluation.timing import Stopwatch
from models.networks.condition import Condition
from models.sampling.settings import CodeSettings
from tests.models.evaluation.by_hand import LABELS, featured, some_motions, swinging


def source(judge, generator, real, seed: int = 0) -> fid.GeneratorSource:
    sampler = PromptSampler(generator, CodeSettings(), 5)
    return fid.GeneratorSource([judge], sampler, real, {"checkpoint": "c"}, seed)


def fixed(found: features.Features, second: features.Features | None = None) -> fid.FixedSource:
    return fid.FixedSource(features.JudgedSet(found, second), {})


def evaluate(real, train, source, seed: int = 0, **settings) -> report.Report:
    sets = fid.FidSets(source, features.JudgedSet(real), train)
    return fid.evaluate_fid(sets, FidSettings(**settings), seed)


def told(found: features.Features, **changes) -> features.Features:
    """Features of a judge that is sure of every name, or of what the changes say."""
    scores = np.eye(len(found.name_names), dtype=np.float32)[found.own]
    return replace(found, **({"name_scores": scores} | changes))


def test_a_set_judged_against_itself(judge):
    real = featured(judge, some_motions())
    found = evaluate(real, real, fixed(real), repeats=3)
    figures = found.figures["generated"]
    assert figures["fid"].mean == pytest.approx(0, abs=1e-6) and figures["fid"].half is None
    assert figures["precision"].mean == figures["recall"].mean == 1
    for name, value in figures.items():
        if name != "nearest training ratio":  # of a training set that is the validation set itself
            assert value.overlaps(found.figures["real"][name]) or name in ("fid", "kid"), name
    assert any("no intervals" in note for note in found.notes)


def test_real_motion_scores_within_its_own_intervals(judge):
    """Held-out motion, given as if it were generated, is told from real motion by no figure."""
    whole = told(featured(judge, [swinging(20, k, (LABELS[k % 2],)) for k in range(320)]))
    validation, other, train = (whole.rows(slice(*part)) for part in ((0, 40), (40, 120), (120, 320)))
    result = evaluate(validation, train, fixed(other.rows(slice(0, 40))), repeats=20)
    real, made = result.figures["real"], result.figures["generated"]
    assert set(real) == set(made)
    for name, value in made.items():
        if name != "nearest training ratio":
            # Twice the half width: of ten figures one may well lie outside of 95 %.
            assert abs(value.mean - real[name].mean) <= 2 * real[name].half + 1e-9, name
    assert made["nearest training ratio"].mean == pytest.approx(1, abs=0.3)


def test_names_of_one_group_that_were_shuffled_are_seen(judge):
    """Any of several labels counted as a hit: those of the other group hid what was wrong with the names."""
    labels = [(LABELS[k % 2], "style:old" if k % 4 < 2 else "style:young") for k in range(24)]
    motions = [swinging(12, k, names) for k, names in enumerate(labels)]
    network = judge.network.config.model_copy(update={"styles": ("style:old", "style:young")})
    found = featured(judge, [replace(m, labels=m.labels[:1]) for m in motions])
    k_hot = np.array([[n in names for n in (*LABELS, *network.styles)] for names in labels])
    right = told(
        found, labels=k_hot, logits=k_hot.astype(np.float32), style_names=network.styles,
        label_names=(*LABELS, *network.styles),
    )  # fmt: skip
    wrong_names = replace(right, name_scores=right.name_scores[:, ::-1].copy())
    wrong_styles = replace(right, logits=right.logits[:, [0, 1, 3, 2]])
    for made, name, style in ((right, 1, 1), (wrong_names, 0, 1), (wrong_styles, 1, 0)):
        figures = evaluate(right, right, fixed(made)).figures["generated"]
        assert figures["name accuracy"].mean == figures["name accuracy, mean over names"].mean == name
        assert figures["style accuracy"].mean == style
        assert "category precision" not in figures  # there are none


def test_labels_beside_the_name_are_judged_among_themselves(judge):
    found = featured(judge, [swinging(12, k, (LABELS[k % 2],)) for k in range(8)])
    names = (*LABELS, "slow", "fast")
    k_hot = np.zeros((8, 4), bool)
    k_hot[np.arange(8), np.arange(8) % 2] = True
    k_hot[np.arange(8), 2 + np.arange(8) // 4] = True
    right = told(found, labels=k_hot, logits=k_hot.astype(np.float32), label_names=names)
    wrong = replace(right, logits=right.logits[:, [0, 1, 3, 2]])
    assert [recognition.category_precision(made) for made in (right, wrong)] == [1, 0]


def test_the_mean_over_names_shows_a_rare_name_that_fails(judge):
    own = np.array([0] * 9 + [1])
    found = told(featured(judge, [swinging(12, k, (LABELS[o],)) for k, o in enumerate(own)]))
    scores = found.name_scores.copy()
    scores[9] = scores[0]
    figures = evaluate(found, found, fixed(replace(found, name_scores=scores))).figures["generated"]
    assert figures["name accuracy"].mean == pytest.approx(0.9)
    assert figures["name accuracy, mean over names"].mean == pytest.approx(0.5)


def test_two_judges_and_how_far_they_agree(judge):
    found = told(featured(judge, [swinging(12, k, (LABELS[k % 2],)) for k in range(8)]))
    scores = found.name_scores.copy()
    scores[:2] = scores[:2, ::-1]
    # The second knows the names in another order.
    second = replace(
        found, name_scores=scores[:, ::-1].copy(), name_names=LABELS[::-1], own=1 - found.own, classifier="o"
    )
    sets = fid.FidSets(fixed(found, second), features.JudgedSet(found, second), found)
    result = fid.evaluate_fid(sets)
    assert result.figures["generated"]["second judge"].mean == 0.75
    assert result.figures["generated"]["judges agree"].mean == 0.75
    assert result.fingerprints["second classifier"] == "o"


def test_real_motion_is_drawn_alike_in_name_and_duration(judge):
    whole = featured(judge, [swinging(10 + k, k, (LABELS[k % 3 == 0],)) for k in range(90)])
    real, train = whole.rows(slice(0, None, 2)), whole.rows(slice(1, None, 2))
    places = MatchedDraws(real, train).places(np.random.default_rng(0))
    assert (train.own[places] == real.own).all()
    assert np.abs(train.lengths[places] - real.lengths).mean() < 20
    assert len(set(places.tolist())) > 0.7 * len(places)


def test_a_single_motion_is_no_set_to_judge(judge):
    real = featured(judge, some_motions())
    with pytest.raises(PoseGPTError, match="the generated set has 1 motions, expected at least 2"):
        evaluate(real, real, fixed(featured(judge, some_motions(1))))


def test_counts_say_that_nothing_is_dropped(judge, generator):
    real = featured(judge, some_motions(23))
    found = evaluate(real, real, source(judge, generator, real), repeats=3)
    assert found.counts["motions asked for"] == found.counts["motions scored"] == 69
    assert found.counts["validation motions"] == 23
    assert found.figures["generated"]["fid"].n == 3


def test_one_table_shows_which_part_costs_what(judge, generator):
    real = featured(judge, some_motions(12))
    others = {fid.RECONSTRUCTED: fixed(real), fid.UNGUIDED: source(judge, generator, real)}
    sets = fid.FidSets(source(judge, generator, real), features.JudgedSet(real), real, others)
    done = []
    tell = lambda n, total: done.append((n, total))  # noqa: E731
    found = fid.evaluate_fid(sets, FidSettings(repeats=3), on_progress=tell)
    assert list(found.figures) == ["real", "reconstructed", "generated", "without guidance"]
    assert found.figures["reconstructed"]["fid"].mean == pytest.approx(0, abs=1e-6)
    assert found.figures["without guidance"]["fid"].n == 2
    assert done[-1] == (72, 72) and [n for n, _ in done] == sorted(n for n, _ in done)


def test_one_seed_gives_one_result_and_two_agree_within_their_intervals(judge, generator):
    real = featured(judge, some_motions(24))

    def run(seed: int) -> report.Report:
        return evaluate(real, real, source(judge, generator, real, seed), seed, repeats=5)

    a, again, b = run(0), run(0), run(1)
    assert a.model_dump(exclude={"seconds"}) == again.model_dump(exclude={"seconds"})
    assert a.figures["generated"]["fid"] != b.figures["generated"]["fid"]
    for name in ("fid", "kid", "diversity", "name accuracy"):
        assert a.figures["generated"][name].overlaps(b.figures["generated"][name]), name


def test_real_against_real_comes_near_zero_as_n_grows(judge):
    whole = featured(judge, some_motions(10)).rows(np.arange(400) % 10)
    noise = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    whole = replace(whole, features=noise)
    real, train = whole.rows(slice(0, 200)), whole.rows(slice(200, 400))
    found = evaluate(real, train, fixed(train))
    (curve,) = found.curves.values()
    (points,) = curve.series.values()
    assert [n for n, _ in points] == [50, 100, 200]
    values = [value for _, value in points]
    assert values[0] > 1.5 * values[1] > 2 * values[2] > 0
    assert any("real motion against real motion" in note and "n = 200" in note for note in found.notes)


def test_copies_of_training_motion_are_nearer_than_held_out_motion(judge):
    whole = featured(judge, [swinging(20, k, (LABELS[k % 2],)) for k in range(60)])
    real, train = whole.rows(slice(0, 30)), whole.rows(slice(30, 60))
    copied = evaluate(real, train, fixed(train)).figures["generated"]
    fresh = evaluate(real, train, fixed(real)).figures["generated"]
    assert copied["nearest training ratio"].mean == 0
    assert fresh["nearest training ratio"].mean == 1


def test_features_of_two_classifiers_are_not_compared(judge):
    real = featured(judge, some_motions())
    with pytest.raises(PoseGPTError, match="two classifiers"):
        evaluate(real, replace(real, classifier="other"), fixed(real))


def test_a_generator_that_lacks_a_label_is_refused(judge, generator):
    real = featured(judge, some_motions(4))
    other = replace(generator, labels=("walk", "jump"))
    with pytest.raises(PoseGPTError, match="'wave', which the generator does not know"):
        source(judge, other, real).judged(0, Stopwatch(), generated.no_progress)


def test_a_judge_that_lacks_a_label_says_how_to_get_one(judge):
    with pytest.raises(PoseGPTError, match="'jump', which the judge does not know") as caught:
        featured(judge, [swinging(12, 0, ("jump",))])
    assert "posegpt train classifier" in caught.value.hint and "classifier=RUN" in caught.value.hint


def test_pieces_of_clips_are_asked_for_at_their_places(judge):
    """Pieces of a long walk are no whole walks: the generator is told what comes before and after."""
    real = featured(judge, [swinging(n, k, (LABELS[0],)) for k, n in enumerate((20, 21, 9, 30))])
    real = replace(real, clips=np.array([4, 4, 4, 7]))
    around = fid.frames_around(real)
    assert around.tolist() == [[0, 30], [20, 9], [41, 0], [0, 0]]
    prompts = fid.prompts_like(real, real.fps * 2, around)
    assert [(p.before, p.n_frames, p.after) for p in prompts[:2]] == [(0, 40, 60), (40, 42, 18)]
    assert [(p.before, p.after) for p in fid.prompts_like(real, real.fps)] == [(0, 0)] * 4


def test_a_part_of_an_action_has_a_place_in_it():
    labels = torch.eye(2)
    parts = Condition.of_whole(labels, torch.tensor([2, 3]), torch.tensor([0, 5]), torch.tensor([4, 0]))
    assert parts.position.tolist() == [[0, 1, 2], [5, 6, 7]]
    assert parts.remaining.tolist() == [[6, 5, 4], [3, 2, 1]]
