"""Damaged inputs for every reader, in processes that may crash, hang or fill their memory without harm."""

import json
import os
import pickle
import random
import resource
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from models.errors import LONGEST, PoseGPTError
from tests.campaign.mutations import damage

LONGEST_SECONDS = 10
MEMORY = 6 << 30
"""Bytes of address space beyond what the process has when it starts."""
BATCH = 100
"""Inputs that one process takes at most: its start costs as much as a few of them."""


@dataclass(frozen=True)
class Subject:
    """A reader, and whole files for it."""

    name: str
    files: dict[str, str]
    """Files below its folder that are damaged, and the kind of damage."""
    read: Callable[[Path], object]
    """Reads the folder."""


@dataclass
class Outcome:
    """What became of the inputs of one reader."""

    counts: Counter[str] = field(default_factory=Counter)
    """read, refused, internal, hang, crash, payload, message"""
    findings: list[str] = field(default_factory=list)


def make_subjects(root: Path) -> list[Subject]:
    """Whole inputs for every reader, each in a folder of its own below `root`."""
    makers = (_recordings, _collections, _tables, _stores, _checkpoints, _bodies, _runs)
    subjects: list[Subject] = []
    for make in makers:
        subjects += make(root)
    return subjects


def attack(subject: Subject, root: Path, numbers: range, seed: int) -> Outcome:
    """Read damaged inputs, in batches; a number stands for the same damage whenever it is read."""
    outcome = Outcome()
    for first in range(0, len(numbers), BATCH):
        _batch(subject, root / subject.name, numbers[first : first + BATCH], seed, outcome)
    return outcome


def _batch(subject: Subject, whole: Path, numbers: range, seed: int, outcome: Outcome) -> None:
    """Some inputs in a child; if it dies, the input that it was at is the culprit, and the rest go on."""
    while numbers:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read)
                _child(subject, whole, numbers, seed, write)
            finally:
                os._exit(1)  # whatever happens here, the parent's own work is not done twice
        os.close(write)
        with os.fdopen(read) as lines:
            done = 0
            for line in lines:
                kind, about = json.loads(line)
                outcome.counts[kind] += 1
                if kind not in ("read", "refused"):
                    outcome.findings.append(f"{subject.name} {seed}:{numbers[done]} {kind}: {about}")
                done += 1
        status = os.waitpid(child, 0)[1]
        if done < len(numbers) and status:
            kind = "hang" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "crash"
            outcome.counts[kind] += 1
            outcome.findings.append(f"{subject.name} {seed}:{numbers[done]} {kind}: status {status}")
            done += 1
        numbers = numbers[done:] if done else range(0)


def _child(subject: Subject, whole: Path, numbers: range, seed: int, write: int) -> None:
    """Reads its inputs and says what became of each, a line of JSON per input."""
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(devnull, descriptor)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _late)

    # One file of the copy is damaged at a time, and whole again for the next input.
    work = whole.parent / f"{whole.name}-{os.getpid()}"
    shutil.copytree(whole, work)
    os.chdir(work)
    with os.fdopen(write, "w", buffering=1) as out:
        for number in numbers:
            path = make_input(subject, work, seed, number)
            out.write(json.dumps(_judge(subject, work)) + "\n")
            shutil.copyfile(whole / path.relative_to(work), path)
    shutil.rmtree(work, ignore_errors=True)
    os._exit(0)


def make_input(subject: Subject, folder: Path, seed: int, number: int) -> Path:
    """Damage one file of a whole copy as input `number` has it, so that a finding can be made again."""
    rng = random.Random(f"{seed}:{subject.name}:{number}")
    name = rng.choice(list(subject.files))
    path = folder / name
    path.write_bytes(damage(path.read_bytes(), subject.files[name], rng))
    return path


class _Late(BaseException):
    pass


def _late(signum: int, frame: FrameType | None) -> None:
    # The second time it was caught, or the process is deep in C: then it dies of the next.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2)
    raise _Late


def _judge(subject: Subject, folder: Path) -> tuple[str, str]:
    """What a reader makes of its input."""
    signal.alarm(LONGEST_SECONDS)
    try:
        subject.read(folder)
        kind, about = "read", ""
    except PoseGPTError as error:
        kind, about = "refused", ""
        if not 0 < len(error.message) <= LONGEST or not error.message.isprintable() or not error.hint:
            kind, about = "message", repr(error.message)[:200]
    except _Late:
        kind, about = "hang", f"no answer within {LONGEST_SECONDS} s"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ours = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if "/site-packages/" not in frame.filename
        ]
        about = f"{type(error).__name__}: {str(error)[:120]} at {Path(place.filename).name}:{place.lineno}"
        about += f", from {Path(ours[-1].filename).name}:{ours[-1].lineno}"
        kind = "internal"
    signal.alarm(0)
    signal.signal(signal.SIGALRM, _late)
    if (folder / "RAN").exists():
        (folder / "RAN").unlink()
        return "payload", "code from the input ran"
    return kind, about


def _recordings(root: Path) -> list[Subject]:
    from data.formats.bvh import write_bvh
    from data.formats.load import read_motion
    from data.formats.smpl_npz import write_smpl_npz
    from data.retargeting.body_motion import REST_JOINTS
    from data.synthetic import make_motion
    from tests.data.acclaim import random_frames, write_amc, write_asf

    motion = make_motion("walk", 6)
    joints = np.concatenate([REST_JOINTS, REST_JOINTS[20:22] * 1.1])
    (root / "bvh").mkdir(parents=True)
    write_bvh(root / "bvh" / "a.bvh", motion, joints)
    write_asf(root / "amc" / "a.asf")
    write_amc(root / "amc" / "a.amc", random_frames(3))
    (root / "npz").mkdir()
    write_smpl_npz(root / "npz" / "a.npz", motion)

    tree = {"poses": motion.poses.reshape(6, 72), "trans": motion.trans, "fps": 30.0}
    for suffix in ("pkl", "npy"):
        (root / f"tree-{suffix}").mkdir()
    (root / "tree-pkl" / "a.pkl").write_bytes(pickle.dumps(tree, protocol=2))
    np.save(root / "tree-npy" / "a.npy", np.zeros((6, 24, 3), np.float32))
    return [
        Subject("bvh", {"a.bvh": "text"}, lambda folder: read_motion(folder / "a.bvh")),
        Subject("amc", {"a.asf": "text", "a.amc": "text"}, lambda folder: read_motion(folder / "a.amc")),
        Subject("npz", {"a.npz": "npz"}, lambda folder: read_motion(folder / "a.npz")),
        Subject("tree-pkl", {"a.pkl": "pickle"}, lambda folder: read_motion(folder / "a.pkl")),
        Subject("tree-npy", {"a.npy": "npy"}, lambda folder: read_motion(folder / "a.npy")),
    ]


def _collections(root: Path) -> list[Subject]:
    from data.formats.settings import ReadingSettings
    from data.preparing.collections.grab import read_grab
    from data.preparing.collections.humanact12 import motion_of_clip
    from data.synthetic import make_motion
    from models.training.word_vectors import read_word_vectors
    from tests.data.preparing.test_collections import write_grab, write_humanact12

    motion = make_motion("walk", 6)
    for name in ("humanact12", "grab", "words"):
        (root / name).mkdir()
    write_humanact12(root / "humanact12" / "a.pkl", [motion, motion], [1, 5])
    write_grab(root / "grab" / "cup_drink_1.npz", motion)
    (root / "words" / "a.txt").write_text("walk 0.5 1 -2\nrun 0.25 1e-3 4\nbow 1 2 3\n")
    reading = ReadingSettings()
    return [
        Subject(
            "humanact12", {"a.pkl": "pickle"}, lambda folder: motion_of_clip(folder / "a.pkl", 1, reading)
        ),
        Subject(
            "grab", {"cup_drink_1.npz": "npz"}, lambda folder: read_grab(folder / "cup_drink_1.npz", reading)
        ),
        Subject("words", {"a.txt": "text"}, lambda folder: read_word_vectors(folder / "a.txt", ("walk",))),
    ]


def _tables(root: Path) -> list[Subject]:
    from data.preparing.annotations import read_babel, segments
    from data.preparing.labels import table_labeller
    from data.retargeting.mapping.skeletons import NEEDED, named_skeleton
    from models.training.config import GPTRun
    from posegpt_cli.options.config_file import read_config_file
    from tests.data.miniature import label, record, write_babel
    from tests.hostile.test_hostile_runs import REPORT

    spans = [label(["run"], 0.0, 1.5), label(None, 1.5, 2.0)]
    timed = record(2, "KIT/KIT/3/walk_poses.npz", 2.0, frames=spans)
    whole = record(1, "CMU/CMU/01/01_01_poses.npz", 3.0, seq=[label(["walk"])])
    for name in ("babel", "labels", "map", "config", "report"):
        (root / name).mkdir()
    write_babel(root / "babel", train=[whole, timed])
    (root / "labels" / "a.csv").write_text("clip,labels\nwalk_01,walk|slow\nrun*,run\n")
    (root / "labels" / "a.json").write_text('{"walk_01": ["walk"], "run_02": ["run", "fast"]}')
    joints = {name: name.title() for name in ("pelvis", *NEEDED)}
    (root / "map" / "a.json").write_text(json.dumps(joints))
    (root / "config" / "a.yaml").write_text("seed: 1\niter: 20\nnetwork:\n  gpt_nlayer: 2\nname: a\n")
    (root / "report" / "a.json").write_text(json.dumps({"reports": [REPORT.model_dump(mode="json")]}))

    def read_labels(folder: Path) -> None:
        for name in ("a.csv", "a.json"):
            table_labeller(folder / name)(Path("walk_01.bvh"))

    def read_annotations(folder: Path) -> None:
        records, _ = read_babel(folder / "train.json")
        for one in records:
            segments(one.spans, 90, 30.0, {"walk": 0, "run": 1})

    def read_config(folder: Path) -> None:
        GPTRun.model_validate(read_config_file(folder / "a.yaml", GPTRun))

    return [
        Subject("babel", {"train.json": "json"}, read_annotations),
        Subject("labels", {"a.csv": "text", "a.json": "json"}, read_labels),
        Subject("map", {"a.json": "json"}, lambda folder: named_skeleton(str(folder / "a.json"))),
        Subject("config", {"a.yaml": "text"}, read_config),
        Subject("report", {"a.json": "json"}, _compare),
    ]


def _compare(folder: Path) -> None:
    from models.evaluation.report import check_comparable, read_reports
    from tests.hostile.test_hostile_runs import REPORT

    for report in read_reports(folder / "a.json").values():
        check_comparable(REPORT, report)
        report.model_dump_json()


def _stores(root: Path) -> list[Subject]:
    from data.dataset import Windows
    from data.store import find_store, open_store
    from data.synthetic import make_store
    from models.training.config import WindowsConfig

    shutil.copytree(find_store(make_store(root / "data", n_clips=6), "train"), root / "store")

    def read(folder: Path) -> None:
        store = open_store(folder)
        store.motion(0)
        Windows(store, WindowsConfig(seq_len=8, train_batch_size=2)).batch(0)
        store.verify()

    arrays = {f"{name}.npy": "npy" for name in ("poses", "trans", "starts", "lengths", "labels")}
    return [Subject("store", {"manifest.json": "json", "clips.json": "json", **arrays}, read)]


def _checkpoints(root: Path) -> list[Subject]:
    from models.checkpoint import load_gpt, load_vqvae
    from models.training.loop import TrainingLoop, ignore_progress, no_further_figures
    from models.training.run_folder import Checkpoints
    from models.training.stages.make_stage import make_stage
    from models.training.train import train
    from tests.models.small import SwingingArms, gpt_run, training_data, vqvae_run

    data = training_data(SwingingArms())
    train(vqvae_run(), root / "runs" / "vqvae", data)
    train(gpt_run(root / "runs" / "vqvae"), root / "runs" / "gpt", data)
    shutil.copytree(root / "runs" / "gpt" / "checkpoints" / "best", root / "checkpoint")
    shutil.copytree(root / "runs" / "vqvae" / "checkpoints" / "last", root / "state" / "last")
    # Without checksums, or every change of a tensor would be refused for that alone.
    for config in (root / "checkpoint" / "config.json", root / "checkpoint" / "tokenizer" / "config.json"):
        about = json.loads(config.read_text())
        config.write_text(json.dumps(about | {"weights_sha256": "", "tokenizer_sha256": ""}))

    def read(folder: Path) -> None:
        load_gpt(folder)
        load_vqvae(folder / "tokenizer")

    run = vqvae_run()
    loop = TrainingLoop(
        run, make_stage(run, data.info), data, root / "state", ignore_progress, no_further_figures
    )

    def resume(folder: Path) -> None:
        loop.checkpoints = Checkpoints(folder)
        loop.load()

    files = {"config.json": "json", "model.safetensors": "safetensors"}
    tokenizer = {f"tokenizer/{name}": kind for name, kind in files.items()}
    return [
        Subject("checkpoint", files | tokenizer, read),
        Subject("state", {"last/state.pt": "torch"}, resume),
    ]


def _bodies(root: Path) -> list[Subject]:
    from models.body.body_files import read_model
    from tests.models.body.test_body import official_arrays, write_chumpy_pickle

    arrays = official_arrays("smpl")
    (root / "body-pkl" / "smpl").mkdir(parents=True)
    write_chumpy_pickle(root / "body-pkl" / "smpl" / "SMPL_NEUTRAL.pkl", arrays, 2)
    (root / "body-npz" / "smpl").mkdir(parents=True)
    np.savez(root / "body-npz" / "smpl" / "SMPL_NEUTRAL.npz", **arrays)

    def read(folder: Path) -> None:
        read_model("smpl", folder)

    return [
        Subject("body-pkl", {"smpl/SMPL_NEUTRAL.pkl": "pickle"}, read),
        Subject("body-npz", {"smpl/SMPL_NEUTRAL.npz": "npz"}, read),
    ]


def _runs(root: Path) -> list[Subject]:
    from models.evaluation.judge import read_features
    from posegpt_cli.training.curves import read_metrics
    from tests.hostile.test_hostile_runs import FIGURES, some_features

    (root / "features").mkdir()
    (root / "features" / "a.npz").write_bytes(some_features())
    (root / "metrics").mkdir()
    rows = [json.dumps(FIGURES | {"step": step}) for step in (5, 10, 15)]
    (root / "metrics" / "metrics.jsonl").write_text("\n".join(rows))
    return [
        Subject("features", {"a.npz": "npz"}, lambda folder: read_features(folder / "a.npz").tensors()),
        Subject("metrics", {"metrics.jsonl": "lines"}, lambda folder: read_metrics(folder / "metrics.jsonl")),
    ]
