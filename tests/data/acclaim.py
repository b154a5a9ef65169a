"""A small ASF/AMC skeleton like CMU's, and files of it."""

from pathlib import Path

import numpy as np

# name, parent, direction, length, axis, dof: like CMU's, legs astride, arms out
BONES = [
    ("lowerback", "root", (0, 1, 0), 2, (0, 0, 0), "rx ry rz"),
    ("upperback", "lowerback", (0, 1, 0), 2, (0, 0, 0), "rx ry rz"),
    ("thorax", "upperback", (0, 1, 0), 2, (0, 0, 0), "rx ry rz"),
    ("lowerneck", "thorax", (0, 1, 0), 1, (0, 0, 0), "rx ry rz"),
    ("upperneck", "lowerneck", (0, 1, 0), 1, (0, 0, 0), "rx ry rz"),
    ("head", "upperneck", (0, 1, 0), 1, (0, 0, 0), "rx ry rz"),
]
for _s, _x in (("l", 1), ("r", -1)):
    BONES += [
        (f"{_s}hipjoint", "root", (0.8 * _x, -0.6, 0), 2, (0, 0, 0), ""),
        (f"{_s}femur", f"{_s}hipjoint", (0.342 * _x, -0.94, 0), 7, (0, 0, 20 * _x), "rx ry rz"),
        (f"{_s}tibia", f"{_s}femur", (0.342 * _x, -0.94, 0), 7, (0, 0, 20 * _x), "rx"),
        (f"{_s}foot", f"{_s}tibia", (0, -0.3, 0.95), 2, (-90, 0, 20 * _x), "rx rz"),
        (f"{_s}toes", f"{_s}foot", (0, 0, 1), 1, (-90, 0, 20 * _x), "rx"),
        (f"{_s}clavicle", "thorax", (0.95 * _x, 0.3, 0), 3.5, (0, 0, 0), "ry rz"),
        (f"{_s}humerus", f"{_s}clavicle", (_x, 0, 0), 5, (180, -30 * _x, -90 * _x), "rx ry rz"),
        (f"{_s}radius", f"{_s}humerus", (_x, 0, 0), 3, (180, -30 * _x, -90 * _x), "rx"),
        (f"{_s}wrist", f"{_s}radius", (_x, 0.001, 0), 1.5, (0, 90 * _x, 90 * _x), "ry"),
        (f"{_s}hand", f"{_s}wrist", (_x, 0, 0), 1.2, (0, 90 * _x, 90 * _x), "rx rz"),
    ]


def write_asf(path: Path, bones=BONES, length: float = 0.45) -> Path:
    blocks = []
    for k, (name, _, direction, size, axis, dof) in enumerate(bones):
        block = (
            f"  begin\n     id {k + 1}\n     name {name}\n     direction {' '.join(map(str, direction))}\n"
        )
        block += f"     length {size}\n     axis {' '.join(map(str, axis))}  XYZ\n"
        if dof:
            block += f"    dof {dof}\n    limits (-180.0 180.0)\n"
        blocks.append(block + "  end\n")
    names = ["root", *(b[0] for b in bones)]
    children = {name: [b[0] for b in bones if b[1] == name] for name in names}
    tree = "".join(f"    {name} {' '.join(found)}\n" for name, found in children.items() if found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# a comment\n:version 1.10\n:name VICON\n:units\n  mass 1.0\n  length {length}\n  angle deg\n"
        ":documentation\n   made for tests\n:root\n   order TX TY TZ RX RY RZ\n   axis XYZ\n"
        "   position 0 0 0\n   orientation 0 0 0\n:bonedata\n" + "".join(blocks)
        + f":hierarchy\n  begin\n{tree}  end\n"
    )  # fmt: skip
    return path


def write_amc(path: Path, frames: list[dict[str, list[float]]]) -> Path:
    lines = ["#!OML:ASF x.ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    for k, frame in enumerate(frames, start=1):
        lines.append(str(k))
        for name, *_, dof in [("root", "tx ty tz rx ry rz"), *BONES]:
            if dof:
                values = frame.get(name, [0.0] * len(dof.split()))
                lines.append(" ".join([name, *(f"{v:.6g}" for v in values)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def random_frames(n: int) -> list[dict[str, list[float]]]:
    rng = np.random.default_rng(0)
    return [
        {"root": [1.0 + 0.1 * k, 17.0, 0.2 * k, *rng.uniform(-40, 40, 3)]}
        | {name: list(rng.uniform(-40, 40, len(dof.split()))) for name, *_, dof in BONES if dof}
        for k in range(n)
    ]
