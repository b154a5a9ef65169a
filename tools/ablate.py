"""Compare choices of tokenizer and generator by short runs of equal computing time, in one table.

Every variant trains for the same CPU seconds, so that a busy machine does not matter, and is then evaluated
on the validation clips. Existing runs and reports are kept, so the same command resumes.

    python tools/ablate.py --data dataset/ --out build/ablation --cpu-minutes 4 --table docs/ablation.md
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.files import write_atomically

PROBE = (4, 24)
"""Steps of the two runs whose difference is the time of a step."""


@dataclass(frozen=True)
class Variant:
    name: str
    options: tuple[str, ...] = ("--preset", "tiny")


TINY = ("--preset", "tiny")
TOKENIZERS = (
    Variant("tiny (pq, 4 books of 256)"),
    Variant("tiny, rvq", (*TINY, "--quantizer", "rvq")),
    Variant("tiny, fsq", (*TINY, "--quantizer", "fsq")),
    Variant("tiny, 2 books of 256", (*TINY, "--n-codebook", "2", "--n-e", "512")),
    Variant("tiny, translation as deltas in the world", (*TINY, "--translation", "delta", "--rotate")),
    Variant("base (4 books of 512)", ("--preset", "base", "--train-batch-size", "32")),
    Variant("paper (2 books of 256)", ("--preset", "paper", "--train-batch-size", "32")),
)
GENERATORS = (
    Variant("tiny (books one after the other)"),
    Variant("tiny, books independent", (*TINY, "--head", "independent")),
    Variant("base", ("--preset", "base", "--train-batch-size", "32")),
    Variant("paper", ("--preset", "paper", "--train-batch-size", "32")),
)
RECIPE = (*TINY, "--config", str(Path(__file__).parent / "recipe" / "generator.yaml"))
CHANGES = (
    Variant("the recipe", RECIPE),
    Variant("no places in the action", (*RECIPE, "--no-phase-conditional")),
    Variant("windows from anywhere", (*RECIPE, "--start-share", "0")),
    Variant("no time warping", (*RECIPE, "--time-warp", "0")),
    Variant("rare actions as rare as they are", (*RECIPE, "--balance-actions", "0")),
    Variant("labels never hidden in part", (*RECIPE, "--label-subset", "0")),
    Variant("less dropout (0.05)", (*RECIPE, "--gpt-embd-pdrop", "0.05", "--gpt-resid-pdrop", "0.05")),
)
"""The recipe of the bundled generator, and what it is without one of its parts."""
SHORT = ("bow", "deposit-floor", "squat", "lie-down", "grab-high", "kick-front", "throw-basketball")
"""Short actions, of which it shows whether they are whole."""
GUIDANCES = (1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Bench:
    """Where the runs of an ablation lie, and how they are made."""

    data: Path
    out: Path
    cpu_seconds: float
    repeats: int

    def trained(self, stage: str, variant: Variant, *options: str) -> dict[str, Any]:
        """Steps, size and validation figures of a variant's run; trains it where it is missing."""
        name = "".join(c if c.isalnum() else "-" for c in variant.name).strip("-")
        folder = self.out / stage / name
        report = folder / "ablation.json"
        if not report.exists():
            words = ["train", stage, "--data", self.data, "--out", self.out, "--precision", "auto"]
            words += [*variant.options, *options, "--n-visu-to-save", "0", "--warmup", "50", "--force"]
            quick = [
                self._cpu_seconds(*words, "--name", "probe", "--iter", n, "--eval-batches", 1) for n in PROBE
            ]
            a_step = (quick[1] - quick[0]) / (PROBE[1] - PROBE[0])
            steps = max(1, round(self.cpu_seconds / a_step))
            made = self._json(*words, "--name", name, "--iter", steps, "--eval-every", steps, "--json")
            plan = self._json(*words, "--name", name, "--dry-run", "--json")
            about = {"name": name, "folder": made["folder"], "steps": steps} | made["metrics"]
            about |= {"parameters": plan["parameters"]}
            write_atomically(report, json.dumps(about).encode(), force=True)
        found: dict[str, Any] = json.loads(report.read_text())
        return found

    def evaluated(self, protocol: str, name: str, *options: object, longest: int = 64) -> dict[str, Any]:
        """Figures of an evaluation of pieces of at most `longest` frames, kept in a file."""
        path = self.out / f"{protocol}-{name}.json"
        if not path.exists():
            words = ["eval", protocol, "--data", self.data, "--max-frames", longest, *options, "--out", path]
            self._posegpt(*words)
        figures: dict[str, Any] = json.loads(path.read_text())["figures"]
        return figures

    def sampling_seconds(self, run: str) -> float:
        """CPU seconds in which a generator makes 64 motions of 64 frames, beside what one takes."""
        words = ["sample", "--gpt", run, "--action", "walk", "--len", 64, "--force"]
        words += ["--out", self.out / "sampled.npz"]
        return self._cpu_seconds(*words, "-n", 65) - self._cpu_seconds(*words, "-n", 1)

    def _cpu_seconds(self, *words: object) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._posegpt(*words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _json(self, *words: object) -> Any:
        return json.loads(self._posegpt(*words))

    def _posegpt(self, *words: object) -> str:
        command = [sys.executable, "-m", "posegpt_cli", *map(str, words)]
        print("$ posegpt", *words, file=sys.stderr)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
        return done.stdout


def tokenizers(bench: Bench) -> list[str]:
    """Table of the tokenizers."""
    rows = _head(
        "tokenizer", "parameters", "steps", "MPJPE, mm", "with translation, mm", "perplexity of a book"
    )
    for variant in TOKENIZERS:
        run = bench.trained("vqvae", variant)
        report = bench.evaluated("reconstruction", run["name"], "--vqvae", run["folder"])
        found = report["reconstruction"]
        columns = (_interval(found["mpjpe"]), _interval(found["mpjpe with translation"]))
        perplexity = f"{found['perplexity']['mean']:.0f}"
        rows.append(_row(variant.name, _size(run), run["steps"], *columns, perplexity))
    return rows


def generators(bench: Bench) -> list[str]:
    """Table of the generators, all on the bundled tokenizer."""
    rows = _head("generator", "parameters", "steps", "nll, nats an index", *JUDGED, "sampling 64 motions, s")
    for variant in GENERATORS:
        run = bench.trained("gpt", variant, "--token-copies", "3")
        seconds = bench.sampling_seconds(run["folder"])
        judged = _judged(bench, run["name"], "--gpt", run["folder"])
        rows.append(
            _row(variant.name, _size(run), run["steps"], f"{run['nll']:.3f}", *judged, f"{seconds:.1f}")
        )
    return rows


def changes(bench: Bench) -> list[str]:
    """Table of the parts of the recipe, each left out once, on the bundled tokenizer."""
    rows = _head("generator", "steps", "nll, nats an index", *JUDGED, "without guidance", "whole")
    asked = [word for name in SHORT for word in ("--action", name)]
    for variant in CHANGES:
        run = bench.trained("gpt", variant, "--token-copies", "3")
        options = ("--gpt", run["folder"])
        judged = _judged(bench, run["name"], *options)
        plain = bench.evaluated("fid", f"{run['name']}-unguided", "--repeats", 1, "--guidance", 1, *options)
        actions = bench.evaluated("actions", run["name"], "--per-name", 8, *asked, *options, longest=128)
        unguided = f"{plain['generated']['name accuracy']['mean']:.3f}"
        whole = f"{actions['generated']['whole']['mean']:.2f}"
        rows.append(_row(variant.name, run["steps"], f"{run['nll']:.3f}", *judged, unguided, whole))
    return rows


def guidances(bench: Bench) -> list[str]:
    """Table of the guidance, with the bundled generator."""
    judged = {g: _judged(bench, f"guidance-{g:g}", "--guidance", f"{g:g}") for g in GUIDANCES}
    return [*_head("guidance", *JUDGED), *(_row(f"{g:g}", *columns) for g, columns in judged.items())]


JUDGED = ("FID", "FID of real halves", "own name", "own name of real motion")


def _judged(bench: Bench, name: str, *options: str) -> list[str]:
    """The columns JUDGED of a generator."""
    found = bench.evaluated("fid", name, "--repeats", bench.repeats, "--clips", 240, *options)
    made, real = found["generated"], found["real"]
    return [
        _interval(made["fid"]),
        f"{real['fid']['mean']:.2f}",
        f"{made['name accuracy']['mean']:.3f}",
        f"{real['name accuracy']['mean']:.3f}",
    ]


def _size(run: dict[str, Any]) -> str:
    return f"{run['parameters'] / 1e6:.1f} M"


def _interval(figure: dict[str, Any]) -> str:
    half = "" if figure["half"] is None else f" ± {figure['half']:.1f}"
    return f"{figure['mean']:.1f}{half}"


def _head(*columns: str) -> list[str]:
    return [_row(*columns), _row(*("---" for _ in columns))]


def _row(*columns: object) -> str:
    return f"| {' | '.join(map(str, columns))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")
    parser.add_argument("--out", type=Path, default=Path("build/ablation"), help="where runs and reports lie")
    parser.add_argument("--cpu-minutes", type=float, default=4.0, help="training of a variant, of one core")
    parser.add_argument("--repeats", type=int, default=3, help="sets that FID and accuracy are the mean of")
    parser.add_argument("--table", type=Path, default=Path("docs/ablation.md"), help="file to write")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS), help="parts of the table")
    arguments = parser.parse_args()
    bench = Bench(arguments.data, arguments.out, 60 * arguments.cpu_minutes, arguments.repeats)
    parts = ["\n".join(PARTS[name](bench)) for name in arguments.only]
    write_atomically(arguments.table, ("\n\n".join(parts) + "\n").encode(), force=True)
    print(arguments.table)


PARTS = {"tokenizers": tokenizers, "generators": generators, "changes": changes, "guidances": guidances}

if __name__ == "__main__":
    main()
