"""Draws bodies with pytorch3d, several pictures at once on a GPU; the package is imported only when used.

pytorch3d finds which triangle each pixel sees; light, floor and shadows are computed in torch as the mesh
renderer's shaders compute them. With multisampling bodies are drawn at twice their size and averaged.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from posegpt_cli.rendering.camera import Camera
from posegpt_cli.rendering.look import Look
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Picture, Scene
from posegpt_cli.rendering.shading import (
    CONTACT_DARK,
    FLOOR,
    PATTERNS,
    SHADOW_TINT,
    Proxy,
    fade_range,
    sun_view,
)
from posegpt_cli.rendering.torch3d.raster import check_package, find_device, project, rasterize
from posegpt_cli.rendering.torch3d.shading import (
    FloorShadow,
    MeshBatch,
    floor_light,
    floor_places,
    lay_shadows,
    light_vertices,
)

BATCH = 8
"""Pictures drawn at once."""


class Torch3dRenderer(Renderer):
    """Draws `BATCH` scenes at a time on a GPU.

    Raises PoseGPTError if pytorch3d is not installed or does not load, or if there is no GPU.
    """

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        check_package()
        super().__init__(options, size)
        self.device = find_device()
        self._fineness = 2 if options.samples > 1 else 1
        self._background = self._tensor(self.background)
        self._floor_color = self._tensor(self.floor_paint.color)
        self._looks: dict[int, _Topology] = {}

    def draw(self, scene: Scene) -> Picture:
        """The scene's picture, (H, W, 3) sRGB."""
        return self.draw_batch([scene])[0]

    def draw_all(self, scenes: Iterable[Scene]) -> Iterator[Picture]:
        """The pictures of scenes that show the same bodies, a batch at a time."""
        left = iter(scenes)
        while batch := list(islice(left, BATCH)):
            yield from self.draw_batch(batch)

    @torch.inference_mode()
    def draw_batch(self, scenes: Sequence[Scene]) -> list[Picture]:
        """The pictures of scenes that show the same bodies."""
        batch = self._gather(scenes)
        layer = self._bodies_layer(batch)
        # Colours are multiplied by their coverage already.
        pictures = layer[..., :3] + (1 - layer[..., 3:]) * self._ground(batch)
        return list((pictures.clamp(0, 1) * 255 + 0.5).byte().cpu().numpy())

    def _bodies_layer(self, batch: MeshBatch) -> Tensor:
        """(B, H, W, 4) the bodies alone: colours times coverage, and coverage."""
        points = torch.stack(
            [project(v, camera) for v, camera in zip(batch.vertices, batch.cameras, strict=True)]
        )
        points[..., :2] *= self._fineness
        points[..., 2] *= _layer_scale(points[..., 2], batch.layers)
        fine = (self.size[0] * self._fineness, self.size[1] * self._fineness)
        seen = rasterize(points, batch.faces, fine, is_perspective=True)

        # Height goes along with the colours: what lies under the floor is hidden by it.
        values = torch.cat((light_vertices(batch), batch.vertices[..., 1:2]), dim=-1)
        body = seen.interpolate(values, batch.faces)
        covered = (seen.face >= 0) & ((body[..., 3] >= 0) | (self.options.floor == "none"))
        layer = torch.cat((body[..., :3].clamp(0, 1), torch.ones_like(body[..., :1])), dim=-1)
        layer = (layer * covered[..., None]).permute(0, 3, 1, 2)
        return F.avg_pool2d(layer, self._fineness).permute(0, 2, 3, 1)

    def _tensor(self, values: object) -> Tensor:
        return torch.tensor(np.asarray(values, np.float32), device=self.device)

    def _gather(self, scenes: Sequence[Scene]) -> MeshBatch:
        """The figures of every scene as one mesh."""
        vertices, colors, fades = [], [], []
        for scene in scenes:
            vertices.append(torch.cat([self._tensor(figure.vertices) for figure in scene.figures]))
            scene_colors, scene_fades = self._paint(scene)
            colors.append(scene_colors)
            fades.append(scene_fades)

        # Triangles and layers are those of the first scene: all of them show the same bodies.
        faces, proxy_faces, layers = [], [], []
        start = 0
        for figure in scenes[0].figures:
            topology = self._topology(figure.person.look)
            faces.append(topology.faces + start)
            proxy_faces.append(topology.proxy_faces + start)
            layers.append(torch.full((topology.n_vertices,), float(figure.layer), device=self.device))
            start += topology.n_vertices
        return MeshBatch(
            vertices=torch.stack(vertices),
            colors=torch.stack(colors),
            fades=torch.stack(fades),
            layers=torch.cat(layers),
            faces=torch.cat(faces),
            proxy_faces=torch.cat(proxy_faces),
            eyes=self._tensor([scene.camera.eye for scene in scenes]),
            sun=self._tensor(scenes[0].sun),
            sun_views=self._tensor([_sun_view(scene) for scene in scenes]),
            background=self._background,
            cameras=tuple(scene.camera for scene in scenes),
        )

    def _paint(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """(V, 3) colours and (V,) fades of a scene's vertices, figure after figure."""
        colors, fades = [], []
        for figure in scene.figures:
            topology = self._topology(figure.person.look)
            if figure.color is None:
                colors.append(topology.colors)
            else:
                colors.append(self._tensor(figure.color).expand(topology.n_vertices, 3))
            fades.append(torch.full((topology.n_vertices,), figure.fade, device=self.device))
        return torch.cat(colors), torch.cat(fades)

    def _topology(self, look: Look) -> "_Topology":
        if id(look) not in self._looks:
            self._looks[id(look)] = _Topology.of(look, self.device)
        return self._looks[id(look)]

    def _ground(self, batch: MeshBatch) -> Tensor:
        """(B, H, W, 3) backdrop, floor and the shadow on it."""
        width, height = self.size
        if self.options.floor == "none":
            return self._background.expand(len(batch.cameras), height, width, 3)
        shadows = lay_shadows(batch)
        grounds = []
        for camera, shadow in zip(batch.cameras, shadows, strict=True):
            grounds.append(self._ground_of(camera, shadow))
        return torch.stack(grounds)

    def _ground_of(self, camera: Camera, shadow: FloorShadow) -> Tensor:
        """(H, W, 3); the floor fades into the backdrop as in ground.frag, shade as in shade.frag."""
        height = self.size[1]
        place, is_floor = floor_places(camera, self.device)
        light = floor_light(place, PATTERNS[self.options.floor], self.floor_paint.contrast)[..., None]

        start, end = fade_range(camera)
        target = self._tensor(camera.target[[0, 2]])
        away = (1 - ((place - target).norm(dim=-1) - start) / (end - start)).clamp(0, 1) * is_floor
        away = (away * away * (3 - 2 * away))[..., None]
        down = (torch.arange(height, device=self.device) + 0.5) * 2 / height - 1
        fall = FLOOR.fall * down.clamp(0, 1)[:, None, None] ** 2
        ground = torch.lerp(self._background * (1 - fall), self._floor_color * (light - fall), away)

        shade = shadow.at(place)
        kept = (1 - shade[..., :1] * self._tensor(SHADOW_TINT)) * (1 - CONTACT_DARK * shade[..., 1:])
        return torch.where(is_floor[..., None], ground * kept, ground)


@dataclass(frozen=True, eq=False)
class _Topology:
    """What all figures of one look share."""

    n_vertices: int
    faces: Tensor
    """(F, 3)"""
    proxy_faces: Tensor
    """(f, 3) the coarse twin's, for shadows."""
    colors: Tensor
    """(V, 3) sRGB."""

    @classmethod
    def of(cls, look: Look, device: torch.device) -> Self:
        """A look's, on a device."""
        proxy = Proxy(look.rest_vertices, look.faces)
        return cls(
            look.n_vertices,
            torch.tensor(look.faces.astype(np.int64), device=device),
            torch.tensor(proxy.faces.astype(np.int64), device=device),
            torch.tensor(look.colors[:, :3], device=device),
        )


def _layer_scale(depths: Tensor, layers: Tensor) -> Tensor:
    """(V,) what brings every layer before the lower ones; perspective is the same at any scale of depth."""
    # The farthest point of a layer comes before the nearest of the layer below.
    step = 0.99 * depths.min() / depths.max()
    return step**layers


def _sun_view(scene: Scene) -> np.ndarray:
    points = np.concatenate([figure.vertices for figure in scene.figures])
    return sun_view(points, scene.sun)
