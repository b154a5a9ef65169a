"""`posegpt eval`: how good generated motion is, in reports that can be reproduced and compared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data.store import Store
from models.config import Seed
from models.errors import PoseGPTError
from models.evaluation.report import Report, check_comparable, read_reports
from models.sampling.settings import DEFAULT_CODES, CodeSettings
from posegpt_cli.console import UsageError, ask_path, next_step, progress, show_json, show_table
from posegpt_cli.evaluation import (
    folder_features,
    open_split,
    processes,
    read_folder,
    real_features,
    real_motions,
    real_sets,
    shipped_sets,
)
from posegpt_cli.options.completion import runs_of
from posegpt_cli.options.flags import BEHAVIOUR, DATA, flag_of
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import default_note, examples
from posegpt_cli.options.parsing import refuse_together
from posegpt_cli.options.shared import JsonSettings, SavingSettings
from posegpt_cli.options.targets import check_targets
from posegpt_cli.output.report import (
    REPORT_SUFFIXES,
    as_json,
    format_estimate,
    report_files,
    show_report,
    write_reports,
)

if TYPE_CHECKING:
    from models.evaluation.judge import Judge
    from models.motion import Motion
    from models.sampling.generate import Generator

MAX_FRAMES = 64
REPEATS, STEPS, PASTS = 20, 600, (1, 15, 30)

Data = Annotated[Path | None, typer.Option(help="Prepared data set of real motion.", rich_help_panel=DATA)]
Split = Annotated[str, typer.Option(help="Split to evaluate on.", rich_help_panel=DATA)]
Clips = Annotated[
    int,
    typer.Option(help="So many motions of the split, at random (0: all).", min=0, rich_help_panel=DATA),
]
MaxFrames = Annotated[
    int,
    typer.Option(help="Clips are cut into equal pieces of at most so many.", min=4, rich_help_panel=DATA),
]
ClassifierRun = Annotated[
    Path | None,
    typer.Option(
        "--classifier",
        help="Run or checkpoint folder of a classifier. " + default_note("default: the one in the box"),
        autocompletion=runs_of("classifier"),
    ),
]
VqvaeRun = Annotated[
    Path | None,
    typer.Option(
        "--vqvae",
        help="Run or checkpoint folder of a tokenizer, or of a generator. "
        + default_note("default: the one in the box"),
        autocompletion=runs_of("vqvae"),
    ),
]
Generated = Annotated[
    Path | None,
    typer.Option(help="Folder of .npz or .bvh files of any system, instead of --gpt.", rich_help_panel=DATA),
]
Labels = Annotated[
    Path | None,
    typer.Option(help="CSV (clip,labels) or JSON with the labels of --generated.", rich_help_panel=DATA),
]
Repeats = Annotated[int, typer.Option(help="Sets to generate; intervals are over them.", min=1)]
Steps = Annotated[int, typer.Option(help="Training steps of each classifier of `transfer`.", min=1)]
BatchSize = Annotated[int, typer.Option(help="Motions sampled at once.", min=1, rich_help_panel=BEHAVIOUR)]
GptRun = Annotated[
    Path | None,
    typer.Option(
        "--gpt",
        help="Run or checkpoint folder of a generator. " + default_note("default: the bundled one"),
        autocompletion=runs_of("gpt"),
    ),
]


class _Common(SavingSettings):
    """Options of every protocol: what its randomness follows from, where it runs, where its report goes."""

    seed: Seed = 0
    """All randomness follows from it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    out: tuple[Path, ...] = ()
    """Report to write: .html, .md, .png or .json; several for several."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add `eval` and its protocols to `app`."""
    group = typer.Typer(help=summary, rich_markup_mode="rich")
    for name, command, text, lines in _PROTOCOLS:
        group.command(name, help=text, epilog=examples(*lines))(command)
    app.add_typer(group, name="eval", rich_help_panel=panel)


@with_options()
def fid(
    *,
    gpt: GptRun = None,
    data: Data = None,
    classifier: ClassifierRun = None,
    repeats: Repeats = REPEATS,
    generated: Generated = None,
    labels: Labels = None,
    split: Split = "val",
    clips: Clips = 0,
    max_frames: MaxFrames = MAX_FRAMES,
    codes: CodeSettings,
    batch_size: BatchSize = 128,
    common: _Common,
) -> None:
    of_generator: dict[str, object] = {"--gpt": gpt, "--repeats": repeats != REPEATS}
    of_generator |= {flag_of(name): True for name in codes.model_fields_set}
    refuse_together("--generated", generated, of_generator)
    if labels and not generated:
        raise UsageError("--labels are those of --generated", "add --generated DIR, or leave out --labels")
    work = _Work(
        gpt,
        data,
        classifier,
        split,
        clips,
        max_frames,
        common.seed,
        common.device,
        codes,
        batch_size,
    )
    if data is None and (classifier is not None or split != "val"):
        data = Path(ask_path("--data", "prepared data set"))
        work = replace(work, data=data)
    with _reporting(common, shared=True) as done:
        done([work.fid(repeats, generated, labels)])


@with_options()
def reconstruction(
    *,
    vqvae: VqvaeRun = None,
    data: Data = None,
    split: Split = "val",
    clips: Clips = 0,
    max_frames: MaxFrames = MAX_FRAMES,
    common: _Common,
) -> None:
    work = _Work(vqvae, _needed(data), None, split, clips, max_frames, common.seed, common.device)
    with _reporting(common, shared=True) as done:
        done([work.reconstruction()])


@with_options()
def forecasts(
    *,
    gpt: GptRun = None,
    data: Data = None,
    past: Annotated[
        list[int] | None,
        typer.Option(
            help="Frames observed; several for several."
            + default_note("default: " + ", ".join(map(str, PASTS))),
            min=1,
        ),
    ] = None,
    future: Annotated[int, typer.Option(help="Frames to forecast.", min=1)] = 45,
    samples: Annotated[int, typer.Option("--samples", "-k", help="Samples of each future.", min=1)] = 10,
    with_labels: Annotated[
        bool, typer.Option("--with-labels/--without-labels", help="Tell the generator the action.")
    ] = True,
    split: Split = "val",
    clips: Clips = 0,
    codes: CodeSettings,
    common: _Common,
) -> None:
    work = _Work(gpt, _needed(data), None, split, clips, MAX_FRAMES, common.seed, common.device, codes)
    with _reporting(common) as done:
        done([work.forecast(pasts=tuple(past or PASTS), future=future, samples=samples, labels=with_labels)])


@with_options()
def classifiers(
    *,
    classifier: ClassifierRun = None,
    data: Data = None,
    split: Split = "val",
    max_frames: MaxFrames = MAX_FRAMES,
    common: _Common,
) -> None:
    if data is None and (classifier is not None or split != "val"):
        data = _needed(None)
    work = _Work(None, data, classifier, split, 0, max_frames, common.seed, common.device)
    with _reporting(common, shared=True) as done:
        done([work.classifier_report()])


@with_options()
def transfer(
    *,
    gpt: GptRun = None,
    data: Data = None,
    clips: Clips = 600,
    steps: Steps = STEPS,
    repeats: Annotated[int, typer.Option(help="Trainings of each classifier.", min=1)] = 1,
    split: Split = "val",
    max_frames: MaxFrames = MAX_FRAMES,
    common: _Common,
) -> None:
    work = _Work(gpt, _needed(data), None, split, clips, max_frames, common.seed, common.device)
    with _reporting(common) as done:
        done([work.transfer(steps, repeats)])


@with_options()
def physics(
    *,
    gpt: GptRun = None,
    data: Data = None,
    generated: Generated = None,
    split: Split = "val",
    clips: Clips = 0,
    max_frames: MaxFrames = MAX_FRAMES,
    common: _Common,
) -> None:
    refuse_together("--generated", generated, {"--gpt": gpt})
    work = _Work(gpt, _needed(data), None, split, clips, max_frames, common.seed, common.device)
    with _reporting(common) as done:
        done([work.physics(generated)])


@with_options()
def everything(
    *,
    gpt: GptRun = None,
    data: Data = None,
    classifier: ClassifierRun = None,
    repeats: Repeats = REPEATS,
    steps: Steps = STEPS,
    split: Split = "val",
    clips: Clips = 0,
    common: _Common,
) -> None:
    work = _Work(gpt, _needed(data), classifier, split, clips, MAX_FRAMES, common.seed, common.device)
    with _reporting(common) as done:
        done(
            [
                work.fid(repeats), work.classifier_report(), work.reconstruction(), work.physics(),
                work.forecast(), work.transfer(steps),
            ]
        )  # fmt: skip


@with_options()
def compare(
    first: Annotated[Path, typer.Argument(help="Report of --json or --out report.json.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    shown: JsonSettings,
) -> None:
    a, b = read_reports(first), read_reports(second)
    if set(a) != set(b):
        raise PoseGPTError(
            f"{first} holds {', '.join(a)}, {second} holds {', '.join(b)}", "compare reports of one protocol"
        )
    for protocol in a:
        check_comparable(a[protocol], b[protocol])
    rows = [row for protocol in a for row in _differences(a[protocol], b[protocol])]
    if shown.as_json:
        show_json({"differences": rows})
        return
    table = [
        (r["protocol"], r["group"], r["figure"], r["first"], r["second"], r["difference"], r["verdict"])
        for r in rows
    ]
    show_table(("protocol", "group", "figure", first.name, second.name, "difference", ""), table)


_PROTOCOLS: tuple[tuple[str, Callable[..., None], str, tuple[str, ...]], ...] = (
    (
        "fid", fid,
        "FID, KID, accuracy, diversity, precision and recall of generated motion, beside real motion.\n\n"
        "Without --data and --classifier it runs on what is in the box.",
        (
            "posegpt eval fid", "posegpt eval fid --gpt runs/gpt/default --data dataset/ --out report.html",
            "posegpt eval fid --generated samples/ --labels labels.csv --json",
            "torchrun --nproc-per-node 2 --no-python posegpt eval fid",
        ),
    ),
    (
        "reconstruction", reconstruction, "What the tokenizer loses, and how it uses its codes.",
        ("posegpt eval reconstruction --data dataset/ --vqvae runs/vqvae/default",),
    ),
    (
        "forecast", forecasts,
        "Forecasts against what came, beside two baselines: the last pose, constant velocity.",
        ("posegpt eval forecast --data dataset/ --past 1 --past 30 --clips 50",),
    ),
    (
        "classifier", classifiers, "Accuracy and confusion of the classifier that judges.",
        ("posegpt eval classifier --data dataset/ --out confusion.png",),
    ),
    (
        "transfer", transfer, "Train a classifier on generated motion, test it on real motion.",
        ("posegpt eval transfer --data dataset/ --clips 600 --steps 600",),
    ),
    (
        "physics", physics, "Sliding feet, jerk, feet below the floor: generated beside real motion.",
        ("posegpt eval physics --data dataset/", "posegpt eval physics --generated samples/ --data dataset/"),
    ),
    (
        "all", everything, "All of these, in one report.",
        ("posegpt eval all --data dataset/ --out report.html",),
    ),
    (
        "compare", compare, "Two reports side by side; refused where data, classifier or settings differ.",
        ("posegpt eval compare a.json b.json",),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Work:
    """What is evaluated on what; each method is one protocol."""

    gpt: Path | None
    data: Path | None
    classifier: Path | None
    split: str
    clips: int
    max_frames: int
    seed: int
    device: str
    codes: CodeSettings = DEFAULT_CODES
    batch_size: int = 128

    def fid(self, repeats: int, generated: Path | None = None, labels: Path | None = None) -> Report:
        from models.evaluation.fid import FidSettings, FixedSource, GeneratorSource, Source, evaluate_fid
        from models.evaluation.generated import checkpoint_fingerprints

        judge = self._judge()
        sets = (
            real_sets(self.data, self.split, judge, self.max_frames)
            if self.data
            else shipped_sets(self.max_frames)
        )
        real = sets.held_out
        if self.clips and self.clips < len(real):
            import numpy as np

            chosen = np.random.default_rng(self.seed).choice(len(real), self.clips, replace=False)
            real = real.rows(np.sort(chosen))
        source: Source
        if generated:
            found = read_folder(generated, labels)
            made = folder_features(found, judge, self.max_frames)
            source = FixedSource(made, {"generated": found.fingerprint})
        else:
            fingerprints = checkpoint_fingerprints(self.gpt)
            source = GeneratorSource(
                judge,
                self._generator(),
                real,
                fingerprints,
                self.seed,
                self.codes,
                self.batch_size,
            )
        with progress("generate and judge") as report:
            return evaluate_fid(real, sets.train, source, self.seed, FidSettings(repeats=repeats), report)

    def classifier_report(self) -> Report:
        from models.evaluation.classifier import evaluate_classifier

        if self.data is None:
            return evaluate_classifier(shipped_sets(self.max_frames).held_out, self.seed)
        return evaluate_classifier(real_features(self._store(), self._judge(), self.max_frames), self.seed)

    def reconstruction(self) -> Report:
        from models.checkpoint import find_checkpoint, load_vqvae
        from models.distributed import resolve_device
        from models.evaluation.reconstruction import evaluate_reconstruction

        vqvae, info = load_vqvae(find_checkpoint(self.gpt, "vqvae"), resolve_device(self.device))
        store = self._store()
        fingerprints = {"data": store.manifest.fingerprint, "tokenizer": info.weights_sha256[:16]}
        with progress("reconstruct") as report:
            return evaluate_reconstruction(
                vqvae, info.fps, self._motions(store), fingerprints,
                self._settings() | {"body": info.body_type}, report,
            )  # fmt: skip

    def forecast(self, **settings: Any) -> Report:
        """`settings` are those of ForecastSettings."""
        from models.evaluation.clips import subset
        from models.evaluation.forecasts import ForecastSettings, evaluate_forecast
        from models.evaluation.generated import checkpoint_fingerprints

        store = self._store()
        motions = subset([store.motion(k) for k in range(len(store))], self.clips, self.seed)
        fingerprints = {"data": store.manifest.fingerprint, **checkpoint_fingerprints(self.gpt)}
        with progress("forecast") as report:
            return evaluate_forecast(
                self._generator(), motions, fingerprints, self.seed, ForecastSettings(**settings),
                self.codes, report,
            )  # fmt: skip

    def physics(self, generated: Path | None = None) -> Report:
        from models.evaluation.clips import cut_all
        from models.evaluation.generated import checkpoint_fingerprints
        from models.evaluation.physics import evaluate_physics

        store = self._store()
        real = self._motions(store, labelled=generated is None)
        fingerprints = {"data": store.manifest.fingerprint}
        if generated:
            found = read_folder(generated, needs_labels=False)
            made: Sequence[Motion] = cut_all(found.motions, self.max_frames)
            fingerprints["generated"] = found.fingerprint
        else:
            fingerprints |= checkpoint_fingerprints(self.gpt)
            made = self._generate_like(real)
        with progress("measure") as report:
            sets = {"generated": made, "real": real}
            return evaluate_physics(sets, fingerprints, self._settings(), self.seed, report)

    def transfer(self, steps: int, repeats: int = 1) -> Report:
        from models.evaluation.clips import subset
        from models.evaluation.generated import checkpoint_fingerprints
        from models.evaluation.transfer import TransferSettings, evaluate_transfer
        from models.training.data_source import DataInfo

        assert self.data is not None
        store, test = open_split(self.data, "train"), self._store()
        manifest = store.manifest
        info = DataInfo(manifest.label_names, manifest.body_type, manifest.fps, manifest.fingerprint)
        real = subset(real_motions(store, self.max_frames, labelled=True), self.clips, self.seed)
        sets = {"generated": self._generate_like(real), "real": real}
        fingerprints = {"data": test.manifest.fingerprint, "train data": manifest.fingerprint}
        with progress("train and test") as report:
            return evaluate_transfer(
                sets, real_motions(test, self.max_frames, labelled=True), info,
                fingerprints | checkpoint_fingerprints(self.gpt), self.seed,
                TransferSettings(steps=steps, repeats=repeats), report,
            )  # fmt: skip

    def _generate_like(self, real: "Sequence[Motion]") -> "list[Motion]":
        """Generated motion with the labels and durations of real motion, at its rate and for its body."""
        from models.evaluation.clips import fit
        from models.evaluation.generated import Wanted, generate

        generator = self._generator()
        wanted = [Wanted(m.labels, max(1, round(m.duration * generator.fps))) for m in real]
        with progress("generate") as report:
            made = generate(
                generator,
                wanted,
                (self.seed, 0),
                self.codes,
                batch_size=self.batch_size,
                report=report,
            )
        return [fit(motion, real[0].fps, real[0].body_type) for motion in made]

    def _store(self) -> Store:
        assert self.data is not None
        return open_split(self.data, self.split)

    def _motions(self, store: Store, labelled: bool = False) -> "list[Motion]":
        from models.evaluation.clips import subset

        return subset(real_motions(store, self.max_frames, labelled), self.clips, self.seed)

    def _settings(self) -> dict[str, object]:
        return {"split": self.split, "motions": self.clips or "all", "max_frames": self.max_frames}

    def _judge(self) -> "Judge":
        from models.evaluation.judge import load_judge

        return load_judge(self.classifier, self.device)

    def _generator(self) -> "Generator":
        from models.sampling.generate import load_generator

        return load_generator(self.gpt, self.device)


def _needed(data: Path | None) -> Path:
    return data or Path(ask_path("--data", "prepared data set"))


@contextmanager
def _reporting(common: _Common, shared: bool = False) -> Iterator[Callable[[list[Report]], None]]:
    """Refuses targets before the work; what it yields shows and writes the reports, in one process of all.

    Args:
        shared: whether several processes of torchrun can share the work.
    """
    targets = common.out
    check_targets(report_files(targets), common.force, REPORT_SUFFIXES, example="report.html")
    with processes(shared) as speaks:

        def done(reports: list[Report]) -> None:
            if not speaks:
                return
            for path in targets:  # first of all, in case stdout is a pipe that closes early
                write_reports(path, reports)
            if common.as_json:
                show_json(as_json(reports))
            else:
                for report in reports:
                    show_report(report)
            if not targets and not common.as_json:
                next_step("the same command with --out report.html --out report.json")

        yield done


def _differences(a: Report, b: Report) -> list[dict[str, Any]]:
    """Figures that both reports have."""
    rows = []
    for group, figures in a.figures.items():
        for name, first in figures.items():
            second = b.figures.get(group, {}).get(name)
            if second is None or first.mean is None or second.mean is None:
                continue
            rows.append(
                {
                    "protocol": a.protocol, "group": group, "figure": name, "first": format_estimate(first),
                    "second": format_estimate(second), "difference": f"{second.mean - first.mean:+.4g}",
                    "verdict": "alike" if first.overlaps(second) else "differs",
                }
            )  # fmt: skip
    return rows
