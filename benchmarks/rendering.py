"""Pictures a second: our mesh and skeleton renderers against pyrender used the plain way, in one run.

The plain way makes a new renderer, scene and mesh for every picture and lets pyrender shade it, with its
shadow. Both draw the same body in the same pose from the same camera. Times are medians, which a busy
machine disturbs less; only the whole of a video is a mean. Prints a table and the ratio;
`--pictures DIR` keeps one picture of each to look at.

    python -m benchmarks.rendering [--size 720x720] [--frames 96] [--jobs 2] [--pictures DIR]
"""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.table import Row, add_options, finish
from data.synthetic import make_motion
from models.body.body import load_body
from posegpt_cli.output.pictures import write_png
from posegpt_cli.output.video import open_video
from posegpt_cli.rendering.camera import FOV_Y, look_rotation
from posegpt_cli.rendering.opengl.context import open_context
from posegpt_cli.rendering.opengl.mesh import MeshRenderer
from posegpt_cli.rendering.options import RenderOptions, parse_color
from posegpt_cli.rendering.parallel import draw_in_processes
from posegpt_cli.rendering.person import POSED_AT_ONCE, Person
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Animation, Picture, Scene
from posegpt_cli.rendering.software.skeleton import SkeletonRenderer

TARGETS = {"mesh": (8.0, None), "mesh, to MP4": (None, 20.0), "skeleton": (None, 100.0)}
"""Ratio to the plain way, and pictures a second on two cores."""
Draw = Callable[[Scene], Picture]


@dataclass(frozen=True)
class Timing:
    """One renderer's speed."""

    name: str
    wall: float
    """Seconds a picture."""
    cpu: float
    """Processor seconds a picture, all threads together."""


def import_pyrender_whole() -> ModuleType:
    """pyrender as its users import it, but for its window, which would load X libraries."""
    viewer = ModuleType("pyrender.viewer")
    viewer.Viewer = None  # type: ignore[attr-defined]
    sys.modules.setdefault("pyrender.viewer", viewer)
    return importlib.import_module("pyrender")


def draw_plainly(shown: Scene, background: str) -> Picture:
    """One picture as pyrender's own examples draw it: everything new, its own shader and shadow map."""
    import trimesh

    pyrender = import_pyrender_whole()
    body = shown.figures[0].person.body
    vertices = shown.figures[0].vertices
    scene = pyrender.Scene(bg_color=[*parse_color(background), 1.0], ambient_light=[0.45, 0.45, 0.45])
    mesh = trimesh.Trimesh(vertices, body.faces, vertex_colors=body.vertex_colors, process=False)
    scene.add(pyrender.Mesh.from_trimesh(mesh, smooth=True))
    x, _, z = shown.camera.target
    corners = np.array([[x - 8, 0, z - 8], [x - 8, 0, z + 8], [x + 8, 0, z + 8], [x + 8, 0, z - 8]])
    floor = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], vertex_colors=[225, 228, 232], process=False)
    scene.add(pyrender.Mesh.from_trimesh(floor, smooth=False))
    scene.add(pyrender.PerspectiveCamera(FOV_Y), pose=shown.camera.pose)
    sun = np.eye(4)
    sun[:3, :3] = look_rotation(shown.sun).T
    scene.add(pyrender.DirectionalLight(intensity=3.0), pose=sun)
    renderer = pyrender.Renderer(*shown.camera.size)
    flags = pyrender.RenderFlags.OFFSCREEN | pyrender.RenderFlags.SHADOWS_DIRECTIONAL
    picture, _ = renderer.render(scene, flags)
    renderer.delete()
    return picture


def measure(name: str, draw: Draw, animation: Animation, frames: list[int]) -> Timing:
    """Median time of a picture, after one that is not counted."""
    draw(animation.scene(frames[0]))
    times = []
    for frame in frames:
        wall, cpu = time.perf_counter(), time.process_time()
        draw(animation.scene(frame))
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = np.median(times, axis=0)
    return Timing(name, float(wall), float(cpu))


def measure_video(name: str, animation: Animation, renderer: Renderer, n_frames: int) -> Timing:
    """Mean time of a picture that is posed, drawn and encoded: from opening the file until it is whole."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        with open_video(Path(folder) / "walk.mp4", animation.size, animation.options.fps) as video:
            for picture in renderer.draw_all(map(animation.scene, range(n_frames))):
                video.write(picture)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timing(name, wall / n_frames, cpu / n_frames)


def measure_jobs(options: RenderOptions, n_frames: int) -> Timing:
    """Mean time of a picture that several processes draw, once they have all begun."""
    pictures = draw_in_processes([make_motion("walk", n_frames)], options, n_frames)
    n_first = POSED_AT_ONCE * options.jobs
    for _ in range(n_first):
        next(pictures)
    wall = time.perf_counter()
    n = sum(1 for _ in pictures)
    return Timing(f"mesh, {options.jobs} processes", (time.perf_counter() - wall) / n, float("nan"))


def row_of(timing: Timing, plain: Timing) -> Row:
    """Pictures a second, with the target of its name."""
    rates = (1 / timing.wall, 1 / plain.wall)
    targets = TARGETS.get(timing.name, (None, None))
    return Row(f"rendering: {timing.name}", "pictures/s", *rates, *targets)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="720x720")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--jobs", type=int, default=1, help="also time this many processes")
    parser.add_argument("--pictures", type=Path)
    add_options(parser)
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    options = RenderOptions(size=(width, height))
    animation = Animation([Person(make_motion("walk", arguments.frames), load_body())], options)
    frames = list(range(arguments.frames))

    context = open_context(options.size)
    plain = measure(
        "pyrender, plainly", lambda shown: draw_plainly(shown, options.background), animation, frames[:6]
    )
    plain_picture = draw_plainly(animation.scene(10), options.background)
    context.close()
    with MeshRenderer(options) as mesh, SkeletonRenderer(options) as skeleton:
        timings = [plain, measure("mesh", mesh.draw, animation, frames)]
        pictures = {
            "plain": plain_picture,
            "mesh": mesh.draw(animation.scene(10)),
            "skeleton": skeleton.draw(animation.scene(10)),
        }
        timings.append(measure_video("mesh, to MP4", animation, mesh, arguments.frames))
        timings.append(measure("skeleton", skeleton.draw, animation, frames))
        timings.append(measure_video("skeleton, to MP4", animation, skeleton, arguments.frames))
    with MeshRenderer(RenderOptions(size=options.size, multisampling=False)) as mesh:
        timings.append(measure("mesh, one sample", mesh.draw, animation, frames))
    if arguments.jobs > 1:
        shared = RenderOptions(size=options.size, renderer="mesh", jobs=arguments.jobs)
        timings.append(measure_jobs(shared, POSED_AT_ONCE * 6 * arguments.jobs))

    print(f"{arguments.size}, with shadow, {load_body().n_vertices} vertices")
    for timing in timings:
        print(f"{timing.name:20s} {timing.wall * 1e3:7.1f} ms {timing.cpu * 1e3:7.1f} cpu ms")
    difference = np.abs(pictures["mesh"].astype(int) - pictures["plain"]).mean()
    print(f"mean difference of mesh and plain pictures: {difference:.1f} of 255")
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            write_png(arguments.pictures / f"{name}.png", picture)
    return finish([row_of(timing, plain) for timing in timings[1:]], arguments)


if __name__ == "__main__":
    sys.exit(main())
