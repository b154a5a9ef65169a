"""The pytorch3d renderer draws what the mesh renderer draws.

Its compiled part cannot be installed everywhere: where it is not, a naive rasterizer stands in for it, after
the conventions that pytorch3d documents. What that cannot show is pytorch3d's own speed and precision.
"""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from data.synthetic import make_motion
from models.body.body import load_body
from models.errors import PoseGPTError
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.opengl.context import check_gl
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import Person
from posegpt_cli.rendering.scene import Animation

SIZE = (120, 96)
needs_gl = pytest.mark.skipif(check_gl().platform is None, reason="there is no OpenGL here")


def naive_rasterize_meshes(
    meshes: Any, image_size: tuple[int, int], perspective_correct: bool, **settings: Any
) -> tuple[torch.Tensor, ...]:
    """pytorch3d's rasterize_meshes: +X left, +Y up, the shorter side from -1 to 1, faces numbered through."""
    assert settings["faces_per_pixel"] == 1 and settings["blur_radius"] == 0
    height, width = image_size
    n = len(meshes.verts)
    face, depth = np.full((n, height, width), -1), np.full((n, height, width), np.inf)
    bary = np.full((n, height, width, 3), -1.0, np.float32)
    for b in range(n):
        corners = meshes.verts[b].double().numpy()[meshes.faces[b].numpy()]
        x = width / 2 - corners[..., 0] * min(image_size) / 2 - 0.5  # pixel centres at whole numbers
        y = height / 2 - corners[..., 1] * min(image_size) / 2 - 0.5
        low = np.ceil(np.stack((x.min(1), y.min(1)), 1)).clip(0).astype(int)
        high = np.floor(np.stack((x.max(1), y.max(1)), 1)).clip(-1, (width - 1, height - 1)).astype(int)
        span = (high - low).max(axis=0) + 1
        for dy, dx in np.ndindex(span[1], span[0]):  # one pixel of every triangle's box at a time
            column, row = low[:, 0] + dx, low[:, 1] + dy
            f = np.flatnonzero((column <= high[:, 0]) & (row <= high[:, 1]))
            column, row = column[f], row[f]
            edges = [
                (column - x[f, i]) * (y[f, j] - y[f, i]) - (row - y[f, i]) * (x[f, j] - x[f, i])
                for i, j in ((1, 2), (2, 0), (0, 1))
            ]
            with np.errstate(divide="ignore", invalid="ignore"):
                weights = np.stack(edges, -1) / sum(edges)[:, None]
                if perspective_correct:
                    weights = weights / corners[f, :, 2]
                    weights = weights / weights.sum(-1, keepdims=True)
            near = (weights * corners[f, :, 2]).sum(-1)
            seen = np.flatnonzero((weights >= 0).all(-1))
            seen = seen[np.argsort(-near[seen])]  # the nearest is written last
            seen = seen[near[seen] < depth[b, row[seen], column[seen]]]
            depth[b, row[seen], column[seen]] = near[seen]
            face[b, row[seen], column[seen]] = f[seen] + b * len(corners)
            bary[b, row[seen], column[seen]] = weights[seen]
    return (
        torch.tensor(face)[..., None],
        torch.tensor(depth)[..., None],
        torch.tensor(bary)[..., None, :],
        torch.zeros(1),
    )


def stand_in_meshes(verts, faces):
    return SimpleNamespace(verts=verts, faces=faces)


HAS_REAL = importlib.util.find_spec("pytorch3d") is not None


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pytorch3d if it is installed, else one with the two names that we use.

    On a processor if need be, which only tests may, with small shadow maps, as both are slow there.
    """
    from posegpt_cli.rendering.torch3d import renderer, shading

    monkeypatch.setattr(shading, "SHADOW_MASK", 128)
    monkeypatch.setattr(shading, "SUN_MAP", 128)
    if not torch.cuda.is_available():
        monkeypatch.setattr(renderer, "find_device", lambda: torch.device("cpu"))
    if HAS_REAL:
        return
    names = ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh", "pytorch3d.structures")
    for name in (*names, "pytorch3d.renderer.mesh.rasterize_meshes"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["pytorch3d.structures"], "Meshes", stand_in_meshes, raising=False)
    rasterizer = sys.modules["pytorch3d.renderer.mesh.rasterize_meshes"]
    monkeypatch.setattr(rasterizer, "rasterize_meshes", naive_rasterize_meshes, raising=False)


def test_pixels_are_those_of_the_camera(stand_in: None) -> None:
    from posegpt_cli.rendering.torch3d.raster import project, rasterize

    animation = Animation([Person(make_motion("walk", 3), load_body())], RenderOptions(size=SIZE))
    scene = animation.scene(1)
    points = torch.tensor(scene.figures[0].vertices)
    expected = scene.camera.project(scene.figures[0].vertices)
    assert np.abs(project(points, scene.camera).numpy() - expected).max() < 1e-3
    triangle = torch.tensor([[[10.0, 5.0, 1.0], [30.0, 5.0, 1.0], [10.0, 25.0, 1.0]]])
    twice = torch.cat((triangle, triangle + torch.tensor([40.0, 30.0, 0.0])))
    seen = rasterize(twice, torch.tensor([[0, 1, 2]]), SIZE, is_perspective=False)
    rows, columns = np.nonzero(seen.face[0].numpy() == 0)
    assert (rows.min(), columns.min()) == (5, 10) and rows.max() in (23, 24)
    assert set(seen.face[1].unique().tolist()) == {-1, 0}  # numbered within its own picture
    place = seen.interpolate(twice, torch.tensor([[0, 1, 2]]))[1, 38, 53]
    assert np.allclose(place[:2], (53.5, 38.5), atol=1e-3)


@needs_gl
@pytest.mark.parametrize("floor", ["checker", "grid"])
def test_it_draws_what_the_mesh_renderer_draws(stand_in: None, floor: str) -> None:
    from posegpt_cli.rendering.opengl.mesh import MeshRenderer
    from posegpt_cli.rendering.torch3d.renderer import Torch3dRenderer

    options = RenderOptions(size=SIZE, floor=floor)  # type: ignore[arg-type]
    scene = Animation([Person(make_motion("walk", 30), load_body())], options).scene(10)
    with MeshRenderer(options) as mesh, Torch3dRenderer(options) as torch3d:
        expected, picture = mesh.draw(scene).astype(int), torch3d.draw(scene).astype(int)
    difference = np.abs(expected - picture).max(axis=-1)
    assert difference.mean() < 1.0
    assert (difference > 40).mean() < 0.01  # along the outline, where a pixel may go either way
    assert np.abs(expected - picture)[-1].max() <= 3  # floor without shadow


def test_a_batch_is_the_same_as_one_by_one(stand_in: None) -> None:
    from posegpt_cli.rendering.torch3d.renderer import Torch3dRenderer

    options = RenderOptions(size=(64, 48), past_frames=2, multisampling=False)
    animation = Animation([Person(make_motion("walk", 4), load_body())], options)
    with Torch3dRenderer(options) as renderer:
        together = renderer.draw_batch([animation.scene(k) for k in (1, 2)])
        for k, picture in zip((1, 2), together, strict=True):
            difference = np.abs(renderer.draw(animation.scene(k)).astype(int) - picture)
            assert difference.max() <= 40 and (difference > 1).mean() < 1e-3  # sums round apart
    saturated = [(np.ptp(picture.astype(int), axis=-1) > 60).sum() for picture in together]
    assert saturated[0] < 0.2 * saturated[1]


def test_videos_are_drawn_in_batches(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from posegpt_cli.rendering.backends import open_renderer
    from posegpt_cli.rendering.parallel import draw_frames
    from posegpt_cli.rendering.torch3d.renderer import Torch3dRenderer

    options = RenderOptions(size=(48, 48), renderer="pytorch3d", multisampling=False, floor="none")
    composition = Composition([make_motion("walk", 5)], options)
    sizes = []
    real = Torch3dRenderer.draw_batch
    monkeypatch.setattr("posegpt_cli.rendering.torch3d.renderer.BATCH", 2)
    monkeypatch.setattr(
        Torch3dRenderer, "draw_batch", lambda self, shots: sizes.append(len(shots)) or real(self, shots)
    )
    with open_renderer(options, composition.cell_size) as backend:
        pictures = list(draw_frames(composition, backend))
    assert sizes == [2, 2, 1] and len(pictures) == 5 and backend.name == "pytorch3d"
    assert (pictures[0] != pictures[4]).any()


def test_a_package_that_does_not_load_is_told_from_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from posegpt_cli.rendering.torch3d.renderer import Torch3dRenderer

    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(PoseGPTError, match="pytorch3d is not installed") as caught:
        Torch3dRenderer(RenderOptions())
    assert "--renderer mesh" in caught.value.hint


def test_a_batch_takes_five_calls_of_the_rasterizer(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from posegpt_cli.rendering.torch3d import renderer, shading

    options = RenderOptions(size=(32, 24), multisampling=False)
    animation = Animation([Person(make_motion("walk", 4), load_body())], options)
    n_pictures: list[int] = []
    for module in (renderer, shading):
        real = module.rasterize

        def counted(points, *arguments, real=real, **named):
            n_pictures.append(len(points))
            return real(points, *arguments, **named)

        monkeypatch.setattr(module, "rasterize", counted)
    with renderer.Torch3dRenderer(options) as drawing:
        drawing.draw_batch([animation.scene(k) for k in range(4)])
    assert n_pictures == [4] * 5  # bodies, the sun's depth, the shadow's three layers


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused_with_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from posegpt_cli.rendering.torch3d import renderer

    monkeypatch.setattr(renderer, "check_package", lambda: None)
    with pytest.raises(PoseGPTError, match="torch sees none here") as caught:
        renderer.Torch3dRenderer(RenderOptions())
    assert "--renderer mesh" in caught.value.hint


@pytest.mark.parametrize(
    ("system", "version", "expected"),
    [
        ("linux", (3, 12, 1), "easypytorch3d==0.7.9.post1"),
        ("linux", (3, 13, 0), "FORCE_CUDA=1"),
        ("win32", (3, 12, 1), "no build of it for this system"),
        ("darwin", (3, 12, 1), "no build of it for this system"),
    ],
)
def test_the_hint_suits_the_machine(monkeypatch: pytest.MonkeyPatch, system, version, expected) -> None:
    from posegpt_cli.rendering.torch3d import raster

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(raster.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "version_info", version)
    hint = raster.install_hint()
    assert expected in hint and "--renderer mesh" in hint
