"""BABEL and AMASS to stores, on a miniature of both; expected values are worked out by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Windows
from data.preparing.annotations import Span, amass_path, cut_windows, find_babel, read_babel, segments
from data.preparing.prepare import check_stores, plan, prepare
from data.preparing.settings import PrepareSettings
from data.store import Store, find_store, open_store
from models.body.skeleton import JOINT_NAMES
from models.errors import PoseGPTError
from models.training.config import FrameLabelWindowsConfig, WindowsConfig
from tests.data.miniature import label, record, write_babel, write_recording

CUT = "seqLen64_fps30_overlap0_minSeqLen16"
FEAT_P = {
    "a": "ACCAD/ACCAD/Female1General_c3d/A1 - Stand_poses.npz",
    "b": "BioMotionLab_NTroje/BioMotionLab_NTroje/rub001/0000_treadmill_norm_poses.npz",
    "c": "KIT/KIT/3/walk_poses.npz",
    "d": "CMU/CMU/01/01_01_poses.npz",
    "gone": "MPI_Limits/MPI_Limits/03099/lar1_poses.npz",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    """Recordings of 5 s at 120 fps (a), 3 s at 60 fps (b), 2 s at 100 fps (c), 2 s at 24 fps (d)."""
    root = tmp_path_factory.mktemp("miniature")
    amass = root / "amass"
    for name, n_frames, rate in (("a", 601, 120), ("b", 181, 60.0), ("c", 201, 100), ("d", 49, 24)):
        for body_type in ("smplh", "smplx"):
            write_recording(amass, amass_path(FEAT_P[name], body_type), n_frames, rate)
    babel = write_babel(
        root / "babel" / "babel_v1.0_release",
        train=[
            # frame_ann wins over seq_ann; two labels at once; one outside BABEL-60; one without category;
            # one that ends after the clip; one too short for a window
            record(1, FEAT_P["a"], 5.0, seq=[label(["dance"])], frames=[
                label(["walk"], 0.0, 3.2), label(["turn", "walk"], 1.0, 2.0), label(["balance"], 0.0, 5.0),
                label(None, 2.0, 3.0), label(["sit"], 4.0, 9.0), label(["run"], 0.0, 0.5),
            ]),
            record(2, FEAT_P["gone"], 4.0, frames=[label(["walk"], 0.0, 4.0)]),
            record(3, FEAT_P["b"], 3.0, seq=[label(["jog", "transition"])], frames=None),
        ],
        val=[record(4, FEAT_P["c"], 2.0, seq=[label(["walk"]), label(["wave", "greet"])])],
        test=[record(5, FEAT_P["d"], 2.0)],
    )  # fmt: skip
    return babel.parent, amass


@pytest.fixture(scope="module")
def prepared(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("trimmed")
    babel, amass = sources
    return out, prepare(PrepareSettings(babel=babel, amass=amass, out=out))


def store(prepared, body_type: str, split: str) -> Store:
    return open_store(prepared[0] / body_type / "babel_trimmed" / f"{split}_60" / CUT)


def test_the_papers_folders(prepared):
    out, made = prepared
    found = {p.parent.relative_to(out).as_posix() for p in out.rglob("manifest.json")}
    assert found == {
        f"{b}/babel_trimmed/{s}_60/{CUT}"
        for b in ("smpl", "smplh", "smplx")
        for s in ("train", "val", "test")
    }
    assert set(made.folders) == {
        f"{b} {s}" for b in ("smpl", "smplh", "smplx") for s in ("train", "val", "test")
    }
    assert sorted(p.name for p in out.iterdir()) == ["smpl", "smplh", "smplx"]
    assert set(check_stores(out).values()) == {""}
    assert find_store(out, "val", "smplx") == made.folders["smplx val"]


def test_windows_of_segments(prepared):
    """Frames k with start <= k / 30 < end, in windows of 64, remainders of 16 and more kept."""
    train = store(prepared, "smplh", "train")
    found = [
        (clip["name"], int(n), train.clip_labels(k))
        for k, (clip, n) in enumerate(zip(train.clips, train.lengths, strict=True))
    ]
    assert found == [
        ("1_0_0", 64, ("walk",)),  # 0 to 3.2 s: 96 frames
        ("1_0_64", 32, ("walk",)),
        ("1_1_30", 30, ("turn", "walk")),  # 1 to 2 s
        ("1_2_120", 31, ("sit",)),  # 4 s to the end, frame 150
        ("3_0_0", 64, ("jog",)),  # 3 s: 91 frames
        ("3_0_64", 27, ("jog",)),
    ]
    assert [clip["source"] for clip in train.clips][:1] == [
        "smplh/ACCAD/Female1General_c3d/A1 - Stand_poses.npz"
    ]
    val = store(prepared, "smplh", "val")
    assert [(val.clip_labels(k), int(val.lengths[k])) for k in range(len(val))] == [
        (("walk",), 61), (("wave", "greet"), 61),
    ]  # fmt: skip
    test = store(prepared, "smplh", "test")  # nothing is labelled there: whole clips without labels
    assert test.lengths.tolist() == [61] and not test.labels.any()
    assert train.label_names == val.label_names == test.label_names and len(train.label_names) == 60


@pytest.mark.parametrize(("body_type", "width"), [("smplx", 165), ("smplh", 156), ("smpl", 72)])
def test_a_window_by_hand(prepared, body_type, width):
    """Frame 10 of the window that begins at 1 s: t = 4 / 3 s, whatever the source's frame rate."""
    train = store(prepared, body_type, "train")
    assert train.poses.shape[1] == width and train.trans.shape[1] == 3
    row = int(train.starts[2]) + 10
    poses, t = train.poses[row].reshape(-1, 3), 40 / 30
    # AMASS is Z up: 90 degrees back about x stand before the root's own turn about z
    from scipy.spatial.transform import Rotation

    root = Rotation.from_euler("x", -90, degrees=True) * Rotation.from_rotvec([0, 0, t / 2])
    np.testing.assert_allclose(poses[0], root.as_rotvec(), atol=1e-6)
    source = {name: j for j, name in enumerate(JOINT_NAMES["smplx" if body_type == "smplx" else "smplh"])}
    for j, name in enumerate(JOINT_NAMES[body_type][1:], start=1):
        was = source[{"left_hand": "left_index1", "right_hand": "right_index1"}.get(name, name)]
        np.testing.assert_allclose(poses[j], [was * t / 100, 0, 0], atol=1e-6)
    # y forward in AMASS is -z here; the window's translation starts at zero
    np.testing.assert_allclose(train.trans[int(train.starts[2])], 0, atol=0)
    np.testing.assert_allclose(train.trans[row], [0, 0, -10 / 30], atol=1e-6)


def test_the_first_joints_of_the_hands_are_joints_22_and_37(prepared):
    smplh, smpl = store(prepared, "smplh", "train"), store(prepared, "smpl", "train")
    rows = smplh.poses[:].reshape(-1, 52, 3)[:, [*range(22), 22, 37]]
    np.testing.assert_array_equal(smpl.poses[:].reshape(-1, 24, 3), rows)


def test_the_height_over_the_floor_is_not_lost(prepared):
    """The pelvis stands at trans + REST_PELVIS in both worlds: 0.9 + 0.0282 high; -0.2233 of it is rest."""
    train = store(prepared, "smplh", "train")
    assert train.heights is not None
    np.testing.assert_allclose(train.heights, 0.9 + 0.0282 + 0.2233, atol=1e-6)
    motion = train.motion(3)
    np.testing.assert_allclose(motion.trans[:, 1], train.heights[3], atol=1e-6)
    batch = Windows(train, WindowsConfig(seq_len=32, train_batch_size=4)).batch(0)
    np.testing.assert_allclose(batch.trans[..., 1].numpy(), train.heights[0], atol=1e-6)


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_any_rate_is_resampled_by_time(sources, tmp_path, name):
    """60 and 120 fps take every second and fourth frame; 24 and 100 fps fall between frames."""
    babel = write_babel(tmp_path / "babel", train=[record(1, FEAT_P[name], 2.0, seq=[label(["walk"])])])
    settings = PrepareSettings(babel=babel, amass=sources[1], out=tmp_path, type="smplx", seq_len=30)
    prepare(settings)
    train = open_store(find_store(tmp_path, "train"))
    times = np.arange(30) / 30
    expected = np.arange(1, 55) * times[:, None] / 100
    np.testing.assert_allclose(train.poses[:30].reshape(30, 55, 3)[:, 1:, 0], expected, atol=2e-6)
    np.testing.assert_allclose(train.trans[:30, 2], -times, atol=2e-6)


def test_what_was_left_out_is_counted(prepared):
    _, made = prepared
    assert made.missing == (f"smplh/{FEAT_P['gone'][11:]}", "smplx/PosePrior/03099/lar1_stageii.npz")
    assert made.outside == {"balance": 1, "transition": 1} and made.unlabelled == 1
    assert made.short == 3  # the run of 15 frames, in each body type
    assert made.skipped == () and made.converted == 8
    train = made.splits["smplh train"]
    assert (train.clips, train.windows, train.frames) == (2, 6, 64 + 32 + 30 + 31 + 64 + 27)
    walk = made.labels["walk"]["smplh train"]
    assert (walk.clips, walk.windows, walk.frames) == (1, 3, 64 + 32 + 30)
    assert train.hours == pytest.approx(248 / 30 / 3600)
    assert made.labels["wave"]["smpl val"].windows == 1 and "balance" not in made.labels


def test_the_manifest_tells_where_it_comes_from(prepared):
    m = store(prepared, "smplx", "train").manifest
    assert m.settings["kind"] == "babel" and m.settings["babel"] == "babel" and m.settings["amass"] == "amass"
    assert m.settings["seq_len"] == 64 and m.format_version == 2 and m.body_type == "smplx"
    assert m.tool_version and set(m.files) >= {"poses.npy", "trans.npy", "labels.npy", "heights.npy"}


def test_untrimmed_clips_have_labels_per_frame(sources, tmp_path):
    babel, amass = sources
    settings = PrepareSettings(
        babel=babel, amass=amass, out=tmp_path, type="smplh", split="train,val", untrimmed=True, seq_len=900
    )
    made = prepare(settings)
    folder = "smplh/babel_untrimmed/train_60/seqLen900_fps30_overlap0_minSeqLen16"
    train = open_store(tmp_path / folder)
    assert train.lengths.tolist() == [151, 91] and train.frame_labels is not None
    columns = {name: train.frame_labels[:151, k] for k, name in enumerate(train.label_names)}
    frames = {name: (int(on.argmax()), int(on.sum())) for name, on in columns.items() if on.any()}
    # run is too short for a window of its own, but is seen here
    assert frames == {"walk": (0, 96), "turn": (30, 30), "sit": (120, 31), "run": (0, 15)}
    assert set(train.clip_labels(0)) == {"walk", "turn", "sit", "run"}
    assert made.splits["train"].windows == 2 and made.splits["val"].windows == 1
    assert {name: by["train"].frames for name, by in made.labels.items() if by["train"].frames} == {
        "walk": 96, "turn": 30, "sit": 31, "run": 15, "jog": 91,
    }  # fmt: skip
    assert set(train.manifest.files) >= {"frame_labels.npy", "heights.npy"}
    config = FrameLabelWindowsConfig(seq_len=40, train_batch_size=8, mirror=False, join_share=0.0)
    batch = Windows(train, config)
    for k, first in enumerate(batch.plan(0).starts + train.starts[batch.plan(0).clips]):
        np.testing.assert_array_equal(batch.batch(0).labels[k], train.frame_labels[first : first + 40])
    whole = Windows(train, WindowsConfig(seq_len=40, train_batch_size=8, mirror=False))
    np.testing.assert_array_equal(whole.batch(0).labels, batch.batch(0).labels.amax(1))


def test_long_untrimmed_clips_are_cut(sources, tmp_path):
    babel, amass = sources
    settings = PrepareSettings(
        babel=babel, amass=amass, out=tmp_path, type="smpl", split="train", untrimmed=True, seq_len=100
    )
    prepare(settings)
    train = open_store(find_store(tmp_path, "train"))
    assert train.lengths.tolist() == [100, 51, 91]
    assert set(train.clip_labels(1)) == {"sit"} and not train.trans[100].any()


def test_more_actions(sources, tmp_path):
    babel, amass = sources
    made = prepare(
        PrepareSettings(babel=babel, amass=amass, out=tmp_path, type="smpl", split="train", n_actions=120)
    )
    assert made.outside == {"transition": 1} and made.labels["balance"]["train"].windows == 3
    assert (tmp_path / "smpl" / "babel_trimmed" / "train_120" / CUT).is_dir()


def test_two_jobs_and_shards_make_the_same_stores(prepared, sources, tmp_path):
    babel, amass = sources
    two = prepare(PrepareSettings(babel=babel, amass=amass, out=tmp_path / "two", jobs=2))
    settings = PrepareSettings(babel=babel, amass=amass, out=tmp_path / "shards")
    for number in (1, 2, 3):
        prepare(settings.model_copy(update={"shard": f"{number}/3"}))
    merged = prepare(settings.model_copy(update={"merge": True}))
    assert two.splits == merged.splits == prepared[1].splits
    for split, folder in prepared[1].folders.items():
        fingerprint = open_store(folder).manifest.fingerprint
        assert open_store(two.folders[split]).manifest.fingerprint == fingerprint
        assert open_store(merged.folders[split]).manifest.fingerprint == fingerprint


def test_damaged_recordings_are_left_out_with_their_reason(sources, tmp_path):
    _, amass = sources
    good = amass / amass_path(FEAT_P["a"], "smplh")
    there = tmp_path / "amass"
    for name in FEAT_P:
        (there / amass_path(FEAT_P[name], "smplh")).parent.mkdir(parents=True, exist_ok=True)
    paths = {name: there / amass_path(FEAT_P[name], "smplh") for name in FEAT_P}
    paths["a"].write_bytes(good.read_bytes()[:-2000])
    paths["b"].write_bytes(b"")
    arrays = dict(np.load(good))
    arrays["poses"][7, 3] = np.nan
    np.savez(paths["c"], **arrays)
    flipped = bytearray(good.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    paths["d"].write_bytes(flipped)
    np.savez(paths["gone"], betas=np.zeros(16))
    write_recording(there, "smplh/KIT/3/other_poses.npz", 100, 30)
    more = record(9, "KIT/KIT/3/other_poses.npz", 3.0, seq=[label(["walk"])])
    again = write_babel(tmp_path / "babel", train=[
        *(record(k, feat_p, 2.0, seq=[label(["walk"])]) for k, feat_p in enumerate(FEAT_P.values())), more,
    ])  # fmt: skip
    made = prepare(PrepareSettings(babel=again, amass=there, out=tmp_path / "out", type="smplh"))
    reasons = dict(made.skipped)
    assert len(reasons) == 5 and made.splits["train"].clips == 1
    assert "NaN" in reasons[amass_path(FEAT_P["c"], "smplh")]
    assert "CRC" in reasons[amass_path(FEAT_P["d"], "smplh")]
    assert "no 'poses'" in reasons[amass_path(FEAT_P["gone"], "smplh")]
    assert all("cannot be read" in reasons[amass_path(FEAT_P[name], "smplh")] for name in ("a", "b"))


def test_faulty_records_are_named(sources, tmp_path):
    records = [
        record(1, FEAT_P["a"], 5.0, seq=[label(["walk"])]),
        record(2, "../../etc/passwd", 5.0),
        record(3, FEAT_P["a"], 5.0, frames=[{"act_cat": ["walk"], "start_t": 0.0}]),
        record(4, FEAT_P["a"], 5.0, seq=[{"act_cat": "walk"}]),
        {"babel_sid": 5},
    ]
    babel = write_babel(tmp_path, train=records)
    found, faulty = read_babel(babel / "train.json")
    assert [r.sid for r in found] == ["1"]
    assert [name for name, _ in faulty] == [f"train.json:{k}" for k in (2, 3, 4, 5)]
    assert "no path below AMASS" in faulty[0][1] and "end_t" in faulty[1][1] and "feat_p" in faulty[3][1]


def test_what_cannot_be_done_is_said_before_anything_is_written(sources, tmp_path):
    babel, amass = sources
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "smplx").symlink_to(amass / "smplx")
    common = {"out": tmp_path / "out"}
    wrong = {
        r"no train\.json, val\.json or test\.json": {"babel": tmp_path / "empty", "amass": amass},
        "no folder smplh in .*empty": {"babel": babel, "amass": tmp_path / "empty"},
        "no folder smplh in .* from which smpl is made": {
            "babel": babel, "amass": tmp_path / "half", "type": "smpl",
        },
        "no folder .*nowhere": {"babel": babel, "amass": tmp_path / "nowhere"},
    }  # fmt: skip
    for message, given in wrong.items():
        with pytest.raises(PoseGPTError, match=message):
            prepare(PrepareSettings(**given, **common))
    write_babel(tmp_path / "b", train=[record(2, FEAT_P["gone"], 4.0, seq=[label(["walk"])])])
    with pytest.raises(
        PoseGPTError, match=r"none of BABEL's 2 files .* could be used; the first: smplh/MPI_Limits"
    ):
        prepare(PrepareSettings(babel=tmp_path / "b", amass=amass, **common))
    assert not (tmp_path / "out").exists()


def test_the_types_that_amass_has_are_made(sources, tmp_path):
    babel, amass = sources
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / "smplx").symlink_to(amass / "smplx")
    made = prepare(PrepareSettings(babel=babel, amass=tmp_path / "amass", out=tmp_path / "out", split="val"))
    assert list(made.splits) == ["val"] and open_store(made.folders["val"]).manifest.body_type == "smplx"


def test_the_plan(sources, tmp_path):
    babel, amass = sources
    found = plan(PrepareSettings(babel=babel, amass=amass, out=tmp_path, type="smplh"))
    assert (found.files, found.finished, found.labelled) == (4, 0, 3)
    assert found.missing == (f"smplh/{FEAT_P['gone'][11:]}",) and len(found.label_names) == 60
    assert [p.relative_to(tmp_path).parts[2] for p in found.stores] == ["train_60", "val_60", "test_60"]
    assert list(tmp_path.iterdir()) == []


def test_existing_stores_are_refused_before_any_work(prepared, sources):
    babel, amass = sources
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(PrepareSettings(babel=babel, amass=amass, out=prepared[0], type="smpl", split="test"))


@pytest.mark.parametrize(
    ("feat_p", "smplx"),
    [
        ("DFaust_67/DFaust_67/50002/50002_hips_poses.npz", "DFaust/50002/50002_hips_stageii.npz"),
        ("Transitions_mocap/Transitions_mocap/mazen_c3d/a_poses.npz", "Transitions/mazen_c3d/a_stageii.npz"),
        ("TCD_handMocap/TCD_handMocap/Experiment/b_poses.npz", "TCDHands/Experiment/b_stageii.npz"),
        ("SSM_synced/SSM_synced/20160330_03333/chair_poses.npz", "SSM/20160330_03333/chair_stageii.npz"),
        ("MPI_mosh/MPI_mosh/00008/misc_poses.npz", "MoSh/00008/misc_stageii.npz"),
        ("MPI_HDM05/MPI_HDM05/bk/HDM_bk_01-01_01_120_poses.npz", "HDM05/bk/HDM_bk_01-01_01_120_stageii.npz"),
        ("MPI_Limits/MPI_Limits/03099/lar1_poses.npz", "PosePrior/03099/lar1_stageii.npz"),
        (FEAT_P["b"], "BMLrub/rub001/0000_treadmill_norm_stageii.npz"),
        (FEAT_P["a"], "ACCAD/Female1General_c3d/A1_-_Stand_stageii.npz"),
        ("BMLmovi/BMLmovi/Subject_11_F_MoSh/Subject_11_F_10_poses.npz",
         "BMLmovi/Subject_11_F_MoSh/Subject_11_F_10_stageii.npz"),
    ],
)  # fmt: skip
def test_paths(feat_p, smplx):
    assert amass_path(feat_p, "smplx") == f"smplx/{smplx}"
    assert amass_path(feat_p, "smplh") == amass_path(feat_p, "smpl") == f"smplh/{feat_p.split('/', 1)[1]}"


@pytest.mark.parametrize(
    ("span", "overlap", "windows"),
    [
        ((0, 64), 0, [(0, 64)]),
        ((0, 63), 0, [(0, 63)]),
        ((5, 20), 0, []),
        ((5, 21), 0, [(5, 21)]),
        ((0, 79), 0, [(0, 64)]),
        ((0, 80), 0, [(0, 64), (64, 80)]),
        ((0, 64), 16, [(0, 64)]),  # frames 48 to 64 are in the first window already
        ((0, 65), 16, [(0, 64), (48, 65)]),
        ((10, 140), 32, [(10, 74), (42, 106), (74, 138), (106, 140)]),
    ],
)
def test_cutting(span, overlap, windows):
    assert cut_windows(*span, seq_len=64, overlap=overlap, min_seq_len=16) == windows


def test_cutting_to_windows_shorter_than_the_shortest_kept():
    assert cut_windows(0, 20, seq_len=8, overlap=0, min_seq_len=16) == [(0, 8), (8, 16)]


def test_frames_of_spans():
    """Spans that touch share no frame; times that are frames up to rounding are these frames."""
    columns = {"walk": 0, "sit": 1}
    spans = [Span(0.0, 0.1, ("walk",)), Span(0.1, 0.35, ("sit", "sit")), Span(0.2, 0.2, ("walk",)),
             Span(-1.0, 0.05, ("sit",)), Span(3.0, 9.0, ("walk",)), Span(0.0, 1.0, ("swim",))]  # fmt: skip
    found = [(p.start, p.stop, p.labels) for p in segments(spans, 60, 30.0, columns)]
    assert found == [(0, 3, ("walk",)), (3, 11, ("sit",)), (0, 2, ("sit",))]
    assert [(p.start, p.stop, p.labels) for p in segments(None, 60, 30.0, columns)] == [(0, 60, ())]


def test_babel_is_found_in_its_release_folder(tmp_path):
    release = write_babel(tmp_path / "babel_v1.0_release", val=[])
    assert find_babel(tmp_path) == release == find_babel(release)
    (release / "val.json").write_text("[]")
    with pytest.raises(PoseGPTError, match="no BABEL file"):
        read_babel(release / "val.json")
    with pytest.raises(PoseGPTError, match="leave it out of split"):
        read_babel(release / "train.json")


def test_amass_alone(sources, tmp_path):
    """Any npz below the folder, labels from the folder names; shape files are no motion."""
    _, amass = sources
    np.savez(amass / "smplx" / "KIT" / "3" / "neutral_stagei.npz", betas=np.zeros(16))
    np.savez(amass / "smplh" / "KIT" / "3" / "shape.npz", betas=np.zeros(16))
    made = prepare(PrepareSettings(amass=amass, out=tmp_path, type="smplx,smpl"))
    assert made.skipped == () and {k: s.clips for k, s in made.splits.items() if s.clips} == {
        "smplx train": 4, "smpl train": 4,
    }  # fmt: skip
    smplx = open_store(tmp_path / "smplx" / "mocap" / "train")
    assert Counter(smplx.clip_labels(k)[0] for k in range(4)) == Counter(
        ["Female1General_c3d", "rub001", "3", "01"]
    )
    assert smplx.heights is None and sorted(smplx.lengths.tolist()) == [61, 61, 91, 151]
