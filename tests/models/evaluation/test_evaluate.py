"""Evaluation: what goes in comes out, the same in every run, and figures of motions made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.body import load_body
from models.body.skeleton import JOINT_NAMES
from models.checkpoint import CheckpointInfo, load_classifier, save_checkpoint
from models.errors import PoseGPTError
from models.evaluation import classifier as judged
from models.evaluation import clips, fid, forecasts, generated, physics, report, transfer
from models.evaluation import judge as features
from models.evaluation.clock import Clock
from models.evaluation.reconstruction import evaluate_reconstruction
from models.motion import Motion
from models.networks.classifier import Classifier
from models.networks.config import ClassifierConfig
from models.networks.gpt import GPT
from models.networks.vqvae import make_vqvae
from models.sampling.generate import Generator
from models.sampling.settings import CodeSettings
from models.training.data_source import DataInfo
from tests.models.small import TINY_GPT, TINY_VQVAE

LABELS = ("walk", "wave")
BODY = load_body()
STANDING = -float(BODY.v_template[:, 1].min())


def standing(n: int = 20, labels: tuple[str, ...] = ("walk",), fps: float = 30.0) -> Motion:
    """A person at rest, soles on the floor."""
    trans = np.zeros((n, 3), np.float32)
    trans[:, 1] = STANDING
    return Motion(np.zeros((n, 24, 3)), trans, fps, labels=labels)


def swinging(n: int, seed: int, labels: tuple[str, ...] = ("walk",)) -> Motion:
    """An arm that swings at a pace and size of its own; those that wave do so about another axis."""
    rng, motion = np.random.default_rng(seed), standing(n, labels)
    angle = rng.uniform(0.5, 1) * np.sin(np.arange(n) * rng.uniform(0.1, 0.5) + rng.uniform(0, 6))
    motion.poses[:, 16, 2 if "walk" in labels else 1] = angle
    return motion


def some_motions(n: int = 23) -> list[Motion]:
    return [swinging(10 + 3 * (k % 5), k, (LABELS[k % 2],)) for k in range(n)]


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> features.Judge:
    torch.manual_seed(0)
    config = ClassifierConfig(hid_dim=8, n_layers=1, heads=2, n_labels=2)
    info = CheckpointInfo(
        stage="classifier", network=config.model_dump(), body_type="smpl", fps=30.0, labels=LABELS,
        data_fingerprint="x",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("judge") / "classifier"
    save_checkpoint(folder, info, Classifier(config).state_dict())
    return features.Judge(*load_classifier(folder), "cpu")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    tokenizer = make_vqvae(TINY_VQVAE).eval()
    sizes = {"n_codebook": 2, "codes_per_book": 16, "n_labels": 2}
    return Generator(GPT(TINY_GPT.model_copy(update=sizes)).eval(), tokenizer, LABELS, 30.0, "smpl", "cpu")


def featured(judge: features.Judge, motions: list[Motion], max_frames: int = 64) -> features.Features:
    return features.extract(
        judge, [m.labels for m in motions], lambda at: [motions[k] for k in at], "data", max_frames
    )


# --- clips


@pytest.mark.parametrize(("n", "expected"), [(1, [1]), (64, [64]), (65, [32, 33]), (200, [50] * 4)])
def test_cutting_leaves_no_frame_out(n, expected):
    motion = standing(n)
    motion.trans[:, 0] = np.arange(n)
    pieces = clips.cut(motion, 64)
    assert [piece.n_frames for piece in pieces] == expected
    assert np.concatenate([piece.trans for piece in pieces])[:, 0].tolist() == list(range(n))


@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_every_motion_is_in_one_batch_the_last_partial_one_included(size):
    motions = some_motions()
    seen = []
    for places, batch in clips.batches(motions, size):
        seen += places
        for row, place in enumerate(places):
            assert int(batch.length[row]) == motions[place].n_frames
            assert np.array_equal(batch.poses[row, : motions[place].n_frames], motions[place].poses)
    assert sorted(seen) == list(range(23))


def test_labels_that_are_missing_or_unknown_are_refused():
    with pytest.raises(PoseGPTError, match="motion 1 has no label"):
        clips.label_matrix([("walk",), ()], LABELS, "the classifier")
    with pytest.raises(PoseGPTError, match="'jump', which the classifier does not know"):
        clips.label_matrix([("jump",)], LABELS, "the classifier")
    assert clips.label_matrix([("wave", "walk"), ("wave",)], LABELS, "").tolist() == [[1, 1], [0, 1]]


# --- features


def test_features_do_not_depend_on_the_batch(judge, monkeypatch):
    motions = some_motions()
    whole = featured(judge, motions)
    monkeypatch.setattr(features, "BATCH_SIZE", 1)
    alone = featured(judge, motions)
    np.testing.assert_allclose(alone.features, whole.features, atol=1e-5)
    assert np.array_equal(alone.labels, whole.labels) and alone.lengths.tolist() == whole.lengths.tolist()


def test_motion_of_another_rate_is_brought_to_the_classifiers(judge):
    slow = swinging(40, 1)
    fast = slow.resample(60.0)
    a, b = (featured(judge, [m]) for m in (slow, fast))
    assert a.lengths.tolist() == b.lengths.tolist() == [40]
    np.testing.assert_allclose(a.features, b.features, atol=1e-3)


def test_features_are_kept_in_a_file(judge, tmp_path):
    motions = some_motions()
    path, calls = tmp_path / "new" / "features.npz", []

    def compute() -> features.Features:
        calls.append(1)
        return featured(judge, motions)

    first, second = (features.cached_features(path, compute) for _ in range(2))
    assert len(calls) == 1
    assert np.array_equal(first.features, second.features) and np.array_equal(first.labels, second.labels)
    assert second.label_names == LABELS and second.classifier == judge.fingerprint
    path.write_bytes(b"damaged")
    with pytest.raises(PoseGPTError, match="cannot be read"):
        features.cached_features(path, compute)
    np.savez(path, **(vars(first) | {"labels": np.packbits(first.labels[1:], axis=1)}))
    with pytest.raises(PoseGPTError, match="holds no features: its arrays do not fit each other"):
        features.cached_features(path, compute)
    np.savez(path, logits=first.logits)
    with pytest.raises(PoseGPTError, match="holds no features"):
        features.cached_features(path, compute)


# --- generated sets


def test_generated_motion_has_the_wanted_lengths_and_labels(generator):
    wanted = [generated.Wanted((LABELS[k % 2],), n) for k, n in enumerate((9, 4, 16, 1, 7))]
    made = generated.generate(generator, wanted, (0, 0), batch_size=2)
    assert [m.n_frames for m in made] == [9, 4, 16, 1, 7]
    assert [m.labels for m in made] == [w.labels for w in wanted]


def test_a_generated_motion_depends_on_its_place_and_the_seed_alone(generator):
    wanted = [generated.Wanted(("walk",), n) for n in (8, 12, 6, 12)]
    whole = generated.generate(generator, wanted, (3, 1))
    again = generated.generate(generator, wanted, (3, 1))
    part = generated.generate(generator, wanted, (3, 1), places=[3, 1], batch_size=1)
    other = generated.generate(generator, wanted, (3, 2))
    assert all(np.array_equal(a.poses, b.poses) for a, b in zip(whole, again, strict=True))
    np.testing.assert_allclose(part[0].poses, whole[3].poses, atol=1e-4)
    np.testing.assert_allclose(part[1].poses, whole[1].poses, atol=1e-4)
    assert not np.allclose(whole[1].poses, whole[3].poses) and not np.allclose(whole[1].poses, other[1].poses)


# --- FID


def source(judge, generator, real, seed: int = 0) -> fid.GeneratorSource:
    return fid.GeneratorSource(judge, generator, real, {"checkpoint": "c"}, seed, CodeSettings(), 5)


def test_a_set_judged_against_itself(judge):
    real = featured(judge, some_motions())
    found = fid.evaluate_fid(real, real, fid.FixedSource(real, {}), settings=fid.FidSettings(repeats=3))
    figures = found.figures["generated"]
    assert figures["fid"].mean == pytest.approx(0, abs=1e-6) and figures["fid"].half is None
    assert figures["precision"].mean == figures["recall"].mean == 1
    for name in ("accuracy", "diversity", "multimodality", "map"):
        assert figures[name] == found.figures["real"][name]
    assert any("no intervals" in note for note in found.notes)


def test_a_single_motion_is_no_set_to_judge(judge):
    real = featured(judge, some_motions())
    one = fid.FixedSource(featured(judge, some_motions(1)), {})
    with pytest.raises(PoseGPTError, match="the generated set has 1 motions, expected at least 2"):
        fid.evaluate_fid(real, real, one)


def test_counts_say_that_nothing_is_dropped(judge, generator):
    real = featured(judge, some_motions(23))
    found = fid.evaluate_fid(real, real, source(judge, generator, real), settings=fid.FidSettings(repeats=3))
    assert found.counts["motions asked for"] == found.counts["motions scored"] == 69
    assert found.counts["validation motions"] == 23
    assert found.figures["generated"]["fid"].n == 3


def test_one_seed_gives_one_result_and_two_agree_within_their_intervals(judge, generator):
    real = featured(judge, some_motions(24))

    def evaluate(seed: int) -> report.Report:
        return fid.evaluate_fid(
            real, real, source(judge, generator, real, seed), seed, fid.FidSettings(repeats=5)
        )

    a, again, b = evaluate(0), evaluate(0), evaluate(1)
    assert a.model_dump(exclude={"seconds"}) == again.model_dump(exclude={"seconds"})
    assert a.figures["generated"]["fid"] != b.figures["generated"]["fid"]
    for name in ("fid", "kid", "diversity", "accuracy"):
        assert a.figures["generated"][name].overlaps(b.figures["generated"][name]), name


def test_real_against_real_comes_near_zero_as_n_grows(judge):
    whole = featured(judge, some_motions(10)).rows(np.arange(400) % 10)
    noise = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    whole = replace(whole, features=noise)
    real, train = whole.rows(slice(0, 200)), whole.rows(slice(200, 400))
    found = fid.evaluate_fid(real, train, fid.FixedSource(train, {}))
    (curve,) = found.curves.values()
    (points,) = curve.series.values()
    assert [n for n, _ in points] == [50, 100, 200]
    values = [value for _, value in points]
    assert values[0] > 1.5 * values[1] > 2 * values[2] > 0
    assert any("real motion against real motion" in note and "n = 200" in note for note in found.notes)


def test_copies_of_training_motion_are_nearer_than_held_out_motion(judge):
    whole = featured(judge, [swinging(20, k, (LABELS[k % 2],)) for k in range(60)])
    real, train = whole.rows(slice(0, 30)), whole.rows(slice(30, 60))
    copied = fid.evaluate_fid(real, train, fid.FixedSource(train, {})).figures["generated"]
    fresh = fid.evaluate_fid(real, train, fid.FixedSource(real, {})).figures["generated"]
    assert copied["nearest training ratio"].mean == 0
    assert fresh["nearest training ratio"].mean == 1


def test_features_of_two_classifiers_are_not_compared(judge):
    real = featured(judge, some_motions())
    with pytest.raises(PoseGPTError, match="two classifiers"):
        fid.evaluate_fid(real, replace(real, classifier="other"), fid.FixedSource(real, {}))


def test_a_generator_that_lacks_a_label_is_refused(judge, generator):
    real = featured(judge, some_motions(4))
    other = replace(generator, labels=("walk", "jump"))
    with pytest.raises(PoseGPTError, match="'wave', which the generator does not know"):
        source(judge, other, real).features(0, Clock(), features.no_progress)


# --- the classifier


def test_the_classifier_is_judged_with_chance_beside_it(judge):
    real = featured(judge, some_motions(60))
    n = len(real)
    perfect = features.Features(
        real.features,
        real.labels.astype(np.float32),
        real.labels,
        real.lengths,
        LABELS,
        30.0,
        "d",
        "c",
        64,
        n,
    )
    found = judged.evaluate_classifier(perfect)
    assert found.figures["classifier"]["accuracy"].mean == 1
    assert found.figures["shuffled labels"]["accuracy"].mean == pytest.approx(0.5, abs=0.2)
    assert found.matrices["confusion"].values == ((1, 0), (0, 1))
    assert found.matrices["by label"].values == ((1, 30), (1, 30))
    assert found == judged.evaluate_classifier(perfect)


# --- physics


def test_a_person_at_rest_neither_slides_nor_jerks_nor_sinks():
    found = physics.physics_of(standing(), BODY)
    assert found["skating"] == found["jerk"] == found["skating ratio"] == found["penetration ratio"] == 0
    assert found["penetration"] < 1e-3


def test_speed_of_sliding_feet():
    motion = standing(30)
    motion.trans[:, 0] = 0.02 * np.arange(30)  # 0.6 m/s
    found = physics.physics_of(motion, BODY)
    assert found["skating"] == pytest.approx(60, rel=1e-3)
    assert found["skating ratio"] == 1
    motion.trans[:, 1] += 0.2  # in the air nothing slides
    assert math.isnan(physics.physics_of(motion, BODY)["skating"])


def test_depth_of_sunken_feet():
    motion = standing(10)
    motion.trans[5:, 1] -= 0.03
    found = physics.physics_of(motion, BODY)
    assert found["penetration"] == pytest.approx(15, rel=1e-2)
    assert found["penetration ratio"] == 0.5


def test_jerk_of_a_cubic_path():
    motion = standing(10)
    motion.trans[:, 2] = 1e-3 * np.arange(10) ** 3
    assert physics.physics_of(motion, BODY)["jerk"] == pytest.approx(6e-3 * 30**3, rel=1e-3)


def test_physics_of_two_sets_side_by_side():
    short = standing(2)  # too short for a third derivative
    found = physics.evaluate_physics({"generated": [standing(), short], "real": [standing()]}, {}, {}, 0)
    assert found.figures["generated"]["jerk"].n == 1
    assert found.figures["generated"]["skating"].n == 2
    assert found.counts == {"generated motions": 2, "real motions": 1}
    assert "1 figures" in found.notes[0]


# --- reconstruction


def test_reconstruction_errors_are_those_of_a_naive_pass():
    import roma

    from models.networks.features import Root, features_to_motion, yaw_of

    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [swinging(n, n) for n in (9, 12, 5)]
    found = evaluate_reconstruction(model, 30.0, motions, {}, {})
    centred, world = [], []
    for motion in motions:
        poses, trans = torch.from_numpy(motion.poses)[None], torch.from_numpy(motion.trans)[None].clone()
        with torch.no_grad():
            decoded = model(poses, trans, torch.tensor([motion.n_frames])).features
        start = Root(yaw_of(roma.rotvec_to_rotmat(poses[:, 0, 0])), trans[:, 0])
        pose = features_to_motion(decoded, "heading", start)
        t = BODY.joints(poses, trans)[0, :, :22]
        p = BODY.joints(roma.rotmat_to_rotvec(pose.rotmats), pose.trans)[0, :, :22]
        world.append((t - p).norm(dim=-1).mean().item() * 1000)
        centred.append((t - t[:, :1] - p + p[:, :1]).norm(dim=-1).mean().item() * 1000)
    figures = found.figures["reconstruction"]
    assert figures["mpjpe"].mean == pytest.approx(np.mean(centred), rel=1e-3)
    assert figures["mpjpe with translation"].mean == pytest.approx(np.mean(world), rel=1e-3)
    assert found.counts == {"motions": 3, "motions scored": 3, "frames": 26}
    assert 0 < figures["code usage"].mean <= 1
    groups = sum(
        count * figures[f"mpjpe {group}"].mean for group, count in (("torso", 8), ("arms", 6), ("legs", 8))
    )
    assert groups / 22 == pytest.approx(figures["mpjpe"].mean, rel=1e-6)


@pytest.mark.parametrize("fps", [10.0, 120.0])
def test_motion_of_any_rate_is_reconstructed_at_the_tokenizers(fps):
    """Of less than half its rate, motions gave more tokens than were made room for."""
    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [replace(swinging(n, n), fps=fps) for n in (9, 21)]
    found = evaluate_reconstruction(model, 30.0, motions, {}, {})
    assert found.counts["frames"] == sum(m.resample(30.0).n_frames for m in motions)


# --- forecasts


def test_baselines_by_hand():
    past = standing(3)
    past.trans[:, 2] = [0.0, 0.1, 0.3]
    past.poses[:, 16, 2] = [0.0, 0.1, 0.2]
    held, moved = forecasts.hold(past, 2), forecasts.extrapolate(past, 2)
    assert held.trans[:, 2] == pytest.approx([0, 0.1, 0.3, 0.3, 0.3])
    assert held.poses[:, 16, 2] == pytest.approx([0, 0.1, 0.2, 0.2, 0.2])
    assert moved.trans[:, 2] == pytest.approx([0, 0.1, 0.3, 0.5, 0.7])
    assert moved.poses[:, 16, 2] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-5)
    assert np.array_equal(forecasts.extrapolate(past.crop(0, 1), 2).trans, held.crop(0, 1).trans.repeat(3, 0))


def test_forecasts_beside_their_baselines(generator):
    """Motion of constant velocity is forecast without error by that baseline, with a known one by holding."""
    motions = []
    for k in range(3):
        motion = standing(14, (LABELS[k % 2],))
        motion.poses[:, 0, 1] = 0.5 * k  # each faces another way
        motion.poses[:, 18, 1] = 0.05 * np.arange(14)
        motion.trans[:, 0] = 0.01 * np.arange(14)
        motions.append(motion)
    settings = forecasts.ForecastSettings(pasts=(1, 4), future=6, samples=3)
    found = forecasts.evaluate_forecast(generator, [*motions, standing(9)], {}, 0, settings)
    assert found.counts["motions"] == 4 and found.counts["too short"] == 1
    assert found.counts["forecasts"] == 3 * 2 * 3
    exact, held = found.figures["constant velocity, past 4"], found.figures["last pose, past 4"]
    assert exact["ade"].mean == pytest.approx(0, abs=1e-5) and exact["path ade"].mean == pytest.approx(
        0, abs=1e-5
    )
    assert held["path ade"].mean == pytest.approx(0.035, rel=1e-3)
    assert held["fde"].mean > held["ade"].mean > 0.01
    assert held["apd"].mean == 0 < found.figures["model, past 4"]["apd"].mean
    assert held["seam jump"].mean == pytest.approx(0, abs=1e-3)
    assert found.figures["real"]["seam kick"].mean < 1
    # All start from one pose but for the way they face: each is a possible future of the others.
    assert found.counts["futures of a similar last pose, in all"] == 9
    assert found.figures["model, past 1"]["seam kick"].mean is None


def test_forecasts_need_motion_that_is_long_enough(generator):
    with pytest.raises(PoseGPTError, match="none of the 1 motions has 75 frames"):
        forecasts.evaluate_forecast(generator, [standing(50)], {})


# --- transfer


def test_a_classifier_learns_from_a_set_what_there_is_to_learn():
    info = DataInfo(LABELS, "smpl", 30.0, "x")
    right = [swinging(16, k, (LABELS[k % 2],)) for k in range(24)]
    wrong = [Motion(m.poses, m.trans, labels=("walk",)) for m in right]  # says walk of all of them
    test = [swinging(16, 100 + k, (LABELS[k % 2],)) for k in range(10)]
    settings = transfer.TransferSettings(steps=40, batch_size=8)
    found = transfer.evaluate_transfer({"generated": wrong, "real": right}, test, info, {}, 0, settings)
    assert found.figures["trained on real"]["accuracy"].mean == 1
    assert found.figures["trained on generated"]["accuracy"].mean == 0.5
    with pytest.raises(PoseGPTError, match="differ in size"):
        transfer.evaluate_transfer({"generated": wrong, "real": right[:3]}, test, info, {})


# --- reports


def test_interval_of_a_mean_by_students_t():
    from scipy.stats import t

    values = [1.0, 2.0, 4.0]
    low, high = t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / math.sqrt(3))
    found = report.estimate(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert report.estimate([3.0]) == report.Estimate(mean=3.0)
    assert report.estimate([1.0, math.nan]).mean is None


def made_report(**changes) -> report.Report:
    values = {
        "protocol": "fid", "seed": 0, "settings": {"k": 3, "repeats": 20}, "counts": {"motions": 3},
        "fingerprints": {"data": "d", "classifier": "c", "checkpoint": "g"},
        "infos": {"fid": report.FigureInfo(better="lower", meaning="distance")},
        "figures": {"generated": {"fid": report.Estimate(mean=2.0, half=0.5, n=20)}},
    }  # fmt: skip
    return report.Report(**values | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprints": {"data": "other", "classifier": "c"}}, "data is d in the first and other"),
        ({"fingerprints": {"data": "d", "classifier": "other"}}, "classifier is c in the first and other"),
        ({"protocol": "physics"}, "protocol"),
        ({"settings": {"k": 5, "repeats": 20}}, "settings"),
    ],
)
def test_reports_that_mean_different_things_are_not_compared(changes, said):
    with pytest.raises(PoseGPTError, match=said):
        report.check_comparable(made_report(), made_report(**changes))


def test_reports_of_two_checkpoints_are_compared():
    other = {"data": "d", "classifier": "c", "checkpoint": "another"}
    report.check_comparable(
        made_report(), made_report(fingerprints=other, seed=1, settings={"k": 3, "repeats": 5})
    )


def test_joint_groups_hold_every_body_joint_once():
    from models.evaluation.reconstruction import GROUPS

    for name in JOINT_NAMES["smpl"][:22]:
        assert sum(any(part in name for part in parts) for parts in GROUPS.values()) == 1, name
