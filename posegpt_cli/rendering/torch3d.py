"""Draws bodies with pytorch3d, several pictures at once on a GPU; the package is imported only when used.

pytorch3d finds which triangle each pixel sees; light, floor and shadows are computed in torch as the mesh
renderer's shaders compute them. With multisampling bodies are drawn at twice their size and averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.body.body import Body
from models.errors import PoseGPTError
from posegpt_cli.rendering.camera import FOV_Y, Camera
from posegpt_cli.rendering.mesh import (
    DEFAULT_COLOR,
    PATTERNS,
    SHADOW_BLUR,
    Proxy,
    fade_range,
    sun_view,
)
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Picture, Shot

TORCH3D_HINT = (
    "install it for your torch and CUDA: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/pytorch3d.git@stable', or use --renderer mesh"
)
BATCH = 8
"""Pictures drawn at once."""
_SUN_MAP, _MASK = 512, 512
_TILE = 0.5


@dataclass(frozen=True, eq=False)
class Fragments:
    """Which triangle each pixel sees first."""

    face: Tensor
    """(B, H, W) triangle, -1 for none."""
    bary: Tensor
    """(B, H, W, 3) where in it."""

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """(B, V, C) values at the vertices of faces (F, 3) to (B, H, W, C), zero where nothing is seen."""
        corners = faces[self.face.clamp(min=0)]
        batch = torch.arange(len(values), device=values.device)[:, None, None, None]
        mixed = (values[batch, corners] * self.bary[..., None]).sum(dim=-2)
        return mixed * (self.face >= 0)[..., None]


def rasterize(points: Tensor, faces: Tensor, size: tuple[int, int], is_perspective: bool) -> Fragments:
    """The nearest triangle in every pixel.

    Args:
        points: (B, V, 3) pixel x, pixel y (right and down from the upper left corner), distance in metres.
        faces: (F, 3) triangles, the same in all pictures.
        size: width and height.
        is_perspective: whether the distance is that from a camera, so that it bends interpolation.
    """
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    width, height = size
    half = min(size) / 2  # its coordinates run left and up, the shorter side from -1 to 1
    left_up = torch.stack(
        ((width / 2 - points[..., 0]) / half, (height / 2 - points[..., 1]) / half, points[..., 2]), dim=-1
    )
    face, _, bary, _ = rasterize_meshes(
        Meshes(verts=left_up, faces=faces.expand(len(points), -1, -1)),
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        max_faces_per_bin=len(faces),  # its own guess overflows where a person is small
        perspective_correct=is_perspective,
    )
    face = face[..., 0]
    first = torch.arange(len(points), device=face.device)[:, None, None] * len(faces)
    return Fragments(torch.where(face >= 0, face - first, face), bary[..., 0, :])


class Torch3dRenderer(Renderer):
    """Draws `BATCH` shots at a time, on a GPU where there is one.

    Raises PoseGPTError where pytorch3d is not installed or does not load.
    """

    batch = BATCH

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        _check_package()
        super().__init__(options, size)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._fineness = 2 if options.samples > 1 else 1
        self._background, self._floor_color = (
            torch.tensor(color, device=self.device) for color in (self.background, self.floor_paint.color)
        )
        self._bodies: dict[int, _Topology] = {}

    def draw(self, shot: Shot) -> Picture:
        """The shot's picture, (H, W, 3) sRGB."""
        return self.draw_batch([shot])[0]

    @torch.inference_mode()
    def draw_batch(self, shots: Sequence[Shot]) -> list[Picture]:
        """The pictures of shots that show the same bodies."""
        scene = self._gather(shots)
        ground = self._ground(scene)
        fine = (self.size[0] * self._fineness, self.size[1] * self._fineness)
        points = torch.stack(
            [
                project(vertices, shot.camera) * self._tensor([self._fineness, self._fineness, 1])
                for vertices, shot in zip(scene.vertices, shots, strict=True)
            ]
        )
        points[..., 2] *= _layer_scale(points[..., 2], scene.layers)
        seen = rasterize(points, scene.faces, fine, is_perspective=True)
        body = seen.interpolate(torch.cat((_light(scene), scene.vertices[..., 1:2]), dim=-1), scene.faces)
        covered = (seen.face >= 0) & ((body[..., 3] >= 0) | (self.options.floor == "none"))
        layer = torch.cat((body[..., :3].clamp(0, 1), torch.ones_like(body[..., :1])), dim=-1)
        layer = (layer * covered[..., None]).permute(0, 3, 1, 2)
        layer = F.avg_pool2d(layer, self._fineness).permute(0, 2, 3, 1)
        pictures = layer[..., :3] + (1 - layer[..., 3:]) * ground
        return list((pictures.clamp(0, 1) * 255 + 0.5).byte().cpu().numpy())

    def _tensor(self, values: object) -> Tensor:
        return torch.tensor(np.asarray(values, np.float32), device=self.device)

    def _gather(self, shots: Sequence[Shot]) -> "_Scene":
        """The figures of every shot as one mesh."""
        topologies = [self._topology(figure.performer.body) for figure in shots[0].figures]
        starts = np.cumsum([0, *(t.n_vertices for t in topologies)])[:-1].tolist()
        vertices, colors, fades = [], [], []
        for shot in shots:
            vertices.append(torch.cat([self._tensor(figure.vertices) for figure in shot.figures]))
            colors.append(
                torch.cat(
                    [
                        topology.colors if figure.color is None else self._tensor(figure.color).expand(n, 3)
                        for figure, topology in zip(shot.figures, topologies, strict=True)
                        for n in (topology.n_vertices,)
                    ]
                )
            )
            fades.append(
                torch.cat(
                    [
                        torch.full((topology.n_vertices,), figure.fade, device=self.device)
                        for figure, topology in zip(shot.figures, topologies, strict=True)
                    ]
                )
            )
        return _Scene(
            vertices=torch.stack(vertices),
            colors=torch.stack(colors),
            fades=torch.stack(fades),
            layers=self._tensor(
                [
                    f.layer
                    for f, t in zip(shots[0].figures, topologies, strict=True)
                    for _ in range(t.n_vertices)
                ]
            ),
            faces=torch.cat([t.faces + start for t, start in zip(topologies, starts, strict=True)]),
            proxy_faces=torch.cat(
                [t.proxy_faces + start for t, start in zip(topologies, starts, strict=True)]
            ),
            eyes=self._tensor([shot.camera.eye for shot in shots]),
            sun=self._tensor(shots[0].sun),
            sun_views=self._tensor([_sun_view(shot) for shot in shots]),
            background=self._background,
            cameras=tuple(shot.camera for shot in shots),
        )

    def _topology(self, body: Body) -> "_Topology":
        if id(body) not in self._bodies:
            self._bodies[id(body)] = _Topology.of(body, self.device)
        return self._bodies[id(body)]

    def _ground(self, scene: "_Scene") -> Tensor:
        """(B, H, W, 3) backdrop, floor and the shadow on it."""
        return torch.stack([self._ground_of(scene, k, camera) for k, camera in enumerate(scene.cameras)])

    def _ground_of(self, scene: "_Scene", k: int, camera: Camera) -> Tensor:
        """(H, W, 3); the floor fades into the backdrop as in ground.frag, shade as in shade.frag."""
        width, height = self.size
        down = (torch.arange(height, device=self.device) + 0.5) * 2 / height - 1
        if self.options.floor == "none":
            return self._background.expand(height, width, 3)
        place, is_floor = floor_places(camera, self.device)
        light = floor_light(place, PATTERNS[self.options.floor], self.floor_paint.contrast)[..., None]
        start, end = fade_range(camera)
        target = self._tensor(camera.target[[0, 2]])
        away = (1 - ((place - target).norm(dim=-1) - start) / (end - start)).clamp(0, 1) * is_floor
        away = (away * away * (3 - 2 * away))[..., None]
        fall = 0.05 * down.clamp(0, 1)[:, None, None] ** 2
        ground = torch.lerp(self._background * (1 - fall), self._floor_color * (light - fall), away)
        shade = shadow_on_floor(scene, k, place)
        tint = 1 - shade[..., :1] * self._tensor([0.46, 0.44, 0.40])
        return torch.where(is_floor[..., None], ground * tint * (1 - 0.45 * shade[..., 1:]), ground)


@dataclass(frozen=True, eq=False)
class _Topology:
    """What all figures of one body share."""

    n_vertices: int
    faces: Tensor
    """(F, 3)"""
    proxy_faces: Tensor
    """(f, 3) the coarse twin's, for shadows."""
    colors: Tensor
    """(V, 3) sRGB."""

    @classmethod
    def of(cls, body: Body, device: torch.device) -> Self:
        rest = body.v_template.numpy()
        colors = (
            np.full(rest.shape, DEFAULT_COLOR) if body.vertex_colors is None else body.vertex_colors / 255
        )
        return cls(
            len(rest),
            torch.tensor(body.faces.astype(np.int64), device=device),
            torch.tensor(Proxy(rest, body.faces).faces.astype(np.int64), device=device),
            torch.tensor(colors.astype(np.float32), device=device),
        )


@dataclass(frozen=True, eq=False)
class _Scene:
    """The figures of B shots as one mesh of V vertices."""

    vertices: Tensor
    """(B, V, 3) metres."""
    colors: Tensor
    """(B, V, 3) sRGB."""
    fades: Tensor
    """(B, V) how far each goes into the background."""
    layers: Tensor
    """(V,) its figure's layer: higher ones cover lower ones."""
    faces: Tensor
    proxy_faces: Tensor
    eyes: Tensor
    """(B, 3) metres."""
    sun: Tensor
    """(3,) unit vector towards the sun."""
    sun_views: Tensor
    """(B, 4, 4) world to the sun's view, all of it within -1 to 1."""
    background: Tensor
    cameras: tuple[Camera, ...]


def _check_package() -> None:
    try:
        import pytorch3d.renderer.mesh.rasterize_meshes  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pytorch3d"):
            raise PoseGPTError("pytorch3d is not installed", TORCH3D_HINT) from error
        raise PoseGPTError(f"pytorch3d does not load: {error}", TORCH3D_HINT) from error
    except (ImportError, OSError) as error:  # built for another torch
        reason = " ".join(str(error).split())[:160]
        raise PoseGPTError(f"pytorch3d does not load: {reason}", TORCH3D_HINT) from error


def project(points: Tensor, camera: Camera) -> Tensor:
    """(..., 3) metres to (..., 3) pixel x, pixel y, distance; Camera.project in torch."""
    rotation = torch.tensor(camera.rotation, dtype=points.dtype, device=points.device)
    eye = torch.tensor(camera.eye, dtype=points.dtype, device=points.device)
    local = (points - eye) @ rotation.T
    depth = -local[..., 2]
    scale = camera.focal / depth.clamp(min=1e-6)
    width, height = camera.size
    return torch.stack((width / 2 + local[..., 0] * scale, height / 2 - local[..., 1] * scale, depth), dim=-1)


def _layer_scale(depths: Tensor, layers: Tensor) -> Tensor:
    """(V,) what brings every layer before the lower ones; perspective is the same at any scale of depth."""
    step = 0.99 * depths.min() / depths.max()
    return step**layers


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(B, V, 3) smooth normals, weighted by the triangles' areas."""
    a, b, c = (vertices[:, corner] for corner in faces.T)
    cross = torch.cross(b - a, c - a, dim=-1)
    normals = torch.zeros_like(vertices)
    for corner in faces.T:
        normals.index_add_(1, corner, cross)
    return F.normalize(normals, dim=-1)


def _sun_view(shot: Shot) -> np.ndarray:
    points = np.concatenate([figure.vertices for figure in shot.figures])
    return sun_view(points, shot.sun)


def _light(scene: _Scene) -> Tensor:
    """(B, V, 3) colour of every vertex as body.vert and body.frag light it."""
    normals = vertex_normals(scene.vertices, scene.faces)
    to_eye = F.normalize(scene.eyes[:, None] - scene.vertices, dim=-1)
    direct = ((normals @ scene.sun + 0.18) / 1.18).clamp(min=0)
    direct = direct * (0.12 + 0.88 * _sunlit(scene, scene.vertices + 0.01 * normals))
    up = 0.5 + 0.5 * normals[..., 1:2]
    near = (scene.vertices[..., 1:2] / 0.35).clamp(0, 1)
    near_floor = 0.72 + 0.28 * near * near * (3 - 2 * near)
    below, above = (scene.background.new_tensor(c) for c in ((0.30, 0.29, 0.28), (0.50, 0.53, 0.58)))
    ambient = (below + (above - below) * up) * near_floor
    rim = 1 - (normals * to_eye).sum(dim=-1, keepdim=True).clamp(min=0)
    shine = (normals * F.normalize(scene.sun + to_eye, dim=-1)).sum(dim=-1, keepdim=True).clamp(min=0)
    direct = direct[..., None]
    light = scene.colors**2 * (ambient + direct * scene.background.new_tensor((0.92, 0.88, 0.82)))
    light = light + rim**3 * 0.10 * up + shine**16 * direct * 0.055
    color = (light / (1 + 0.12 * light)).clamp(min=0).sqrt()
    return color + scene.fades[..., None] * (scene.background - color)


def _sunlit(scene: _Scene, points: Tensor) -> Tensor:
    """(B, N) share of the sun's disc that points (B, N, 3) see, by nine looks into the sun's depth map."""
    homogeneous = F.pad(scene.vertices, (0, 1), value=1.0)
    placed = (homogeneous @ scene.sun_views.transpose(1, 2))[..., :3]
    pixels = (placed[..., :2] + 1) / 2 * _SUN_MAP
    turned = torch.cat((pixels[..., :1], _SUN_MAP - pixels[..., 1:2], placed[..., 2:] + 2), dim=-1)
    seen = rasterize(turned, scene.proxy_faces, (_SUN_MAP, _SUN_MAP), is_perspective=False)
    depth = seen.interpolate(placed[..., 2:], scene.proxy_faces)[..., 0]
    depth = torch.where(seen.face >= 0, depth, torch.full_like(depth, 2.0))
    asked = (F.pad(points, (0, 1), value=1.0) @ scene.sun_views.transpose(1, 2))[..., :3]
    lit = torch.zeros_like(asked[..., 0])
    # near sides block here, the shader's far sides do not: ask from a little nearer to the sun instead
    bias = 0.02 * scene.sun_views[:, 2, :3].norm(dim=-1)[:, None, None]
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            at = asked[..., :2] + 4.0 / _SUN_MAP * asked.new_tensor((dx, dy))
            grid = torch.stack((at[..., 0], -at[..., 1]), dim=-1)[:, None]
            nearest = F.grid_sample(
                depth[:, None], grid, mode="nearest", align_corners=False, padding_mode="border"
            )
            lit += (asked[:, None, :, 2] - bias[..., 0] < nearest[:, 0])[:, 0]
    return lit / 9


def floor_places(camera: Camera, device: torch.device) -> tuple[Tensor, Tensor]:
    """(H, W, 2) x and z where each pixel's ray meets the floor, and (H, W) whether it does."""
    width, height = camera.size
    tangent = float(np.tan(FOV_Y / 2))
    across = ((torch.arange(width, device=device) + 0.5) * 2 / width - 1) * tangent * width / height
    down = ((torch.arange(height, device=device) + 0.5) * 2 / height - 1) * tangent
    right, up, back = (torch.tensor(axis, dtype=torch.float32, device=device) for axis in camera.rotation)
    rays = across[None, :, None] * right - down[:, None, None] * up - back
    eye = torch.tensor(camera.eye, dtype=torch.float32, device=device)
    reach = eye[1] / (-rays[..., 1]).clamp(min=1e-4)
    return eye[[0, 2]] + rays[..., [0, 2]] * reach[..., None], rays[..., 1] < -1e-4


def floor_light(place: Tensor, pattern: float, contrast: float) -> Tensor:
    """(H, W) brightness of the floor's pattern at places (H, W, 2), soft over a pixel's footprint."""
    across, down = place.diff(dim=1).abs(), place.diff(dim=0).abs()
    footprint = torch.cat((across, across[:, -1:]), dim=1) + torch.cat((down, down[-1:])) + 1e-5
    wave = place / (2 * _TILE)
    edge = 2 * _TILE * (0.5 - ((wave - wave.floor()) * 2 - 1).abs())
    if pattern == PATTERNS["grid"]:
        cover = (1.5 - edge.abs() / (0.7 * footprint).clamp(min=0.005)).clamp(0, 1)
        cover = cover * (0.006 / footprint + 0.3).clamp(max=1)
        return 0.97 - 0.13 * contrast * cover.amax(dim=-1)
    if pattern == PATTERNS["checker"]:
        tile = (edge / footprint).clamp(-1, 1) * (0.5 * _TILE / footprint).clamp(0, 1)
        return 0.985 - 0.027 * contrast * (1 - tile.prod(dim=-1))
    return torch.full_like(place[..., 0], 0.985 - 0.027 * contrast)


def shadow_on_floor(scene: _Scene, k: int, place: Tensor) -> Tensor:
    """(H, W, 2) the sun's shadow and the contact shadow of shot k at places (H, W, 2) of the floor.

    Blockers of three heights are laid on the floor and blurred apart, as footprint.frag and its blur do. The
    lowest and the highest blocker of a place are known, which is all that low, high and nearly all that
    middle ones need.
    """
    vertices, fades = scene.vertices[k], scene.fades[k]
    heights = vertices[:, 1].clamp(min=0)
    flat = vertices[:, [0, 2]]
    along = flat - (scene.sun[[0, 2]] / scene.sun[1]) * heights[:, None]
    everything = torch.cat((flat, along))
    room = 3 * max(SHADOW_BLUR)
    corner = everything.amin(dim=0) - room
    extent = float((everything.amax(dim=0) + room - corner).max())

    def lay(spots: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """(M, M) height and strength of what comes first by order among what is laid on each spot."""
        pixels = (spots - corner) / extent * _MASK
        points = torch.cat((pixels, order[:, None]), dim=-1)[None]
        seen = rasterize(points, scene.proxy_faces, (_MASK, _MASK), is_perspective=False)
        values = torch.stack((vertices[:, 1], 1 - fades), dim=-1)[None]
        height, strength = seen.interpolate(values, scene.proxy_faces)[0].unbind(dim=-1)
        return height, strength * (seen.face[0] >= 0)

    (low, low_strength), (high, high_strength) = lay(along, heights + 1), lay(along, 20 - heights)
    under, under_strength = lay(flat, heights + 1)
    middles = [
        strength * _step(height, 0.05, 0.25) * (1 - _step(height, 0.9, 1.1))
        for height, strength in ((low, low_strength), (high, high_strength))
    ]
    layers = (
        low_strength * (1 - _step(low, 0.25, 0.45)),
        torch.maximum(*middles),
        high_strength * _step(high, 0.6, 0.9),
        under_strength * (1 - _step(under, 0.0, 0.13)),
    )
    blurred = [_blur(layer, width * _MASK / extent) for layer, width in zip(layers, SHADOW_BLUR, strict=True)]
    shadow = 1 - (1 - blurred[0]) * (1 - blurred[1]) * (1 - blurred[2])
    grid = ((place - corner) / extent * 2 - 1)[None]
    mask = torch.stack((shadow, blurred[3]))[None]
    return F.grid_sample(mask, grid, align_corners=False, padding_mode="zeros")[0].permute(1, 2, 0)


def _step(values: Tensor, low: float, high: float) -> Tensor:
    """GLSL's smoothstep."""
    t = ((values - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _blur(layer: Tensor, sigma: float) -> Tensor:
    """(M, M) blurred by a Gaussian of a width in pixels, zero outside."""
    reach = max(1, int(3 * sigma))
    distance = torch.arange(-reach, reach + 1, device=layer.device, dtype=layer.dtype)
    kernel = torch.exp(-0.5 * (distance / max(sigma, 0.3)) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    rows = F.conv2d(layer[None, None], kernel[..., None, :], padding=(0, reach))
    return F.conv2d(rows, kernel[..., :, None], padding=(reach, 0))[0, 0]
