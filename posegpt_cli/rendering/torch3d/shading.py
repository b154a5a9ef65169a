"""Light, floor and shadows in torch, as the mesh renderer's shaders compute them."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from posegpt_cli.rendering.camera import FOV_Y, Camera
from posegpt_cli.rendering.shading import FLOOR, PATTERNS, SHADOW_BLUR, SHADOW_MASK, SUN_MAP
from posegpt_cli.rendering.torch3d.raster import rasterize


@dataclass(frozen=True, eq=False)
class MeshBatch:
    """The figures of B scenes as one mesh of V vertices."""

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


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(B, V, 3) smooth normals, weighted by the triangles' areas."""
    a, b, c = vertices[:, faces.T].unbind(dim=1)
    cross = torch.cross(b - a, c - a, dim=-1)
    normals = torch.zeros_like(vertices)
    for corner in faces.T:
        normals.index_add_(1, corner, cross)
    return F.normalize(normals, dim=-1)


def light_vertices(batch: MeshBatch) -> Tensor:
    """(B, V, 3) colour of every vertex as body.vert and body.frag light it."""
    normals = vertex_normals(batch.vertices, batch.faces)
    to_eye = F.normalize(batch.eyes[:, None] - batch.vertices, dim=-1)
    sun_color = batch.background.new_tensor((0.92, 0.88, 0.82))
    floor_glow = batch.background.new_tensor((0.30, 0.29, 0.28))
    sky_glow = batch.background.new_tensor((0.50, 0.53, 0.58))

    # The sun, a little around the edge, where nothing blocks it.
    direct = ((normals @ batch.sun + 0.18) / 1.18).clamp(min=0)
    direct = direct * (0.12 + 0.88 * _sunlit(batch, batch.vertices + 0.01 * normals))
    direct = direct[..., None]

    # Sky from above and floor from below, less of both close to the floor.
    up = 0.5 + 0.5 * normals[..., 1:2]
    near_floor = 0.72 + 0.28 * _step(batch.vertices[..., 1:2], 0.0, 0.35)
    ambient = (floor_glow + (sky_glow - floor_glow) * up) * near_floor

    # Rim and sheen, then a curve that keeps bright spots from burning out.
    rim = 1 - (normals * to_eye).sum(dim=-1, keepdim=True).clamp(min=0)
    half_way = F.normalize(batch.sun + to_eye, dim=-1)
    shine = (normals * half_way).sum(dim=-1, keepdim=True).clamp(min=0)
    light = batch.colors**2 * (ambient + direct * sun_color)
    light = light + rim**3 * 0.10 * up + shine**16 * direct * 0.055
    color = (light / (1 + 0.12 * light)).clamp(min=0).sqrt()
    return color + batch.fades[..., None] * (batch.background - color)


def _sunlit(batch: MeshBatch, points: Tensor) -> Tensor:
    """(B, N) share of the sun's disc that points (B, N, 3) see, by nine samples of the sun's depth map."""
    # The depth map: what is nearest to the sun in each pixel, 2 where nothing is.
    placed = _seen_from_sun(batch, batch.vertices)
    pixels = (placed[..., :2] + 1) / 2 * SUN_MAP
    turned = torch.cat((pixels[..., :1], SUN_MAP - pixels[..., 1:2], placed[..., 2:] + 2), dim=-1)
    seen = rasterize(turned, batch.proxy_faces, (SUN_MAP, SUN_MAP), is_perspective=False)
    depth = seen.interpolate(placed[..., 2:], batch.proxy_faces)[..., 0]
    depth = torch.where(seen.face >= 0, depth, torch.full_like(depth, 2.0))

    # Near sides block here, the shader's far sides do not: ask from a little nearer to the sun instead.
    asked = _seen_from_sun(batch, points)
    bias = 0.02 * batch.sun_views[:, 2, :3].norm(dim=-1)[:, None]
    is_lit_before = asked[..., 2] - bias
    lit = torch.zeros_like(is_lit_before)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            at = asked[..., :2] + 4.0 / SUN_MAP * asked.new_tensor((dx, dy))
            grid = torch.stack((at[..., 0], -at[..., 1]), dim=-1)[:, None]
            nearest = F.grid_sample(
                depth[:, None], grid, mode="nearest", align_corners=False, padding_mode="border"
            )
            lit += is_lit_before < nearest[:, 0, 0]
    return lit / 9


def _seen_from_sun(batch: MeshBatch, points: Tensor) -> Tensor:
    """(B, N, 3) points in the sun's view."""
    return (F.pad(points, (0, 1), value=1.0) @ batch.sun_views.transpose(1, 2))[..., :3]


def floor_places(camera: Camera, device: torch.device) -> tuple[Tensor, Tensor]:
    """(H, W, 2) x and z where each pixel's ray meets the floor, and (H, W) whether it does."""
    width, height = camera.size
    tangent = float(np.tan(FOV_Y / 2))
    across = ((torch.arange(width, device=device) + 0.5) * 2 / width - 1) * tangent * width / height
    down = ((torch.arange(height, device=device) + 0.5) * 2 / height - 1) * tangent
    right, up, back = torch.tensor(camera.rotation, dtype=torch.float32, device=device)
    rays = across[None, :, None] * right - down[:, None, None] * up - back
    eye = torch.tensor(camera.eye, dtype=torch.float32, device=device)
    reach = eye[1] / (-rays[..., 1]).clamp(min=1e-4)
    return eye[[0, 2]] + rays[..., [0, 2]] * reach[..., None], rays[..., 1] < -1e-4


def floor_light(place: Tensor, pattern: float, contrast: float) -> Tensor:
    """(H, W) brightness of the floor's pattern at places (H, W, 2), soft over a pixel's footprint."""
    # GLSL's fwidth: how far the neighbouring pixels' places are.
    across = place.diff(dim=1).abs()
    down = place.diff(dim=0).abs()
    footprint = torch.cat((across, across[:, -1:]), dim=1) + torch.cat((down, down[-1:])) + 1e-5

    wave = place / (2 * FLOOR.tile)
    edge = 2 * FLOOR.tile * (0.5 - ((wave - wave.floor()) * 2 - 1).abs())
    if pattern == PATTERNS["grid"]:
        thin, least = FLOOR.line_thin
        cover = (1.5 - edge.abs() / (0.7 * footprint).clamp(min=FLOOR.line_metres)).clamp(0, 1)
        cover = cover * (thin / footprint + least).clamp(max=1)
        return FLOOR.grid_bright - FLOOR.grid_depth * contrast * cover.amax(dim=-1)
    depth = FLOOR.checker_depth * contrast
    if pattern == PATTERNS["checker"]:
        tile = (edge / footprint).clamp(-1, 1) * (0.5 * FLOOR.tile / footprint).clamp(0, 1)
        return FLOOR.checker_bright - depth * (1 - tile.prod(dim=-1))
    return torch.full_like(place[..., 0], FLOOR.checker_bright - depth)


@dataclass(frozen=True, eq=False)
class FloorShadow:
    """The shadow on the floor of one picture."""

    mask: Tensor
    """(2, M, M) the sun's shadow and the contact shadow, over a square of the floor."""
    corner: Tensor
    """(2,) x and z of the square's corner, metres."""
    extent: Tensor
    """() its side, metres."""

    def at(self, place: Tensor) -> Tensor:
        """(H, W, 2) both shadows at places (H, W, 2) of the floor, none outside the square."""
        grid = ((place - self.corner) / self.extent * 2 - 1)[None]
        shade = F.grid_sample(self.mask[None], grid, align_corners=False, padding_mode="zeros")
        return shade[0].permute(1, 2, 0)


def lay_shadows(batch: MeshBatch) -> list[FloorShadow]:
    """The shadow on the floor of every picture.

    Blockers of three heights are laid on the floor and blurred apart, as footprint.frag and its blur do. The
    lowest and the highest blocker of a place are known, which is all that low, high and nearly all that
    middle ones need. Each is one call of the rasterizer for all pictures.
    """
    heights = batch.vertices[..., 1].clamp(min=0)
    straight = batch.vertices[..., [0, 2]]
    along = straight - (batch.sun[[0, 2]] / batch.sun[1]) * heights[..., None]

    # The square of each floor that holds both shadows, with room for the blur.
    everything = torch.cat((straight, along), dim=1)
    room = 3 * max(SHADOW_BLUR)
    corner = everything.amin(dim=1) - room
    extent = (everything.amax(dim=1) + room - corner).amax(dim=-1)
    per_metre = (SHADOW_MASK / extent)[:, None, None]
    laid_along = (along - corner[:, None]) * per_metre
    laid_straight = (straight - corner[:, None]) * per_metre

    # What is nearest in this order is kept: the lowest blocker, and the highest.
    low, low_strength = _lay(batch, laid_along, heights + 1)
    high, high_strength = _lay(batch, laid_along, 20 - heights)
    under, under_strength = _lay(batch, laid_straight, heights + 1)
    middle = torch.maximum(low_strength * _is_middle(low), high_strength * _is_middle(high))
    layers = (
        low_strength * (1 - _step(low, 0.25, 0.45)),
        middle,
        high_strength * _step(high, 0.6, 0.9),
        under_strength * (1 - _step(under, 0.0, 0.13)),
    )

    # Squares of different sizes are blurred by different numbers of pixels.
    shadows = []
    for k in range(len(batch.vertices)):
        blurred = []
        for layer, width in zip(layers, SHADOW_BLUR, strict=True):
            blurred.append(_blur(layer[k], width * float(per_metre[k])))
        sun = 1 - (1 - blurred[0]) * (1 - blurred[1]) * (1 - blurred[2])
        shadows.append(FloorShadow(torch.stack((sun, blurred[3])), corner[k], extent[k]))
    return shadows


def _lay(batch: MeshBatch, pixels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """(B, M, M) height and strength of what comes first by order (B, V) among what lies on each pixel.

    Args:
        pixels: (B, V, 2) where the vertices lie, in pixels of the mask.
        order: (B, V) the smallest comes first.
    """
    points = torch.cat((pixels, order[..., None]), dim=-1)
    seen = rasterize(points, batch.proxy_faces, (SHADOW_MASK, SHADOW_MASK), is_perspective=False)
    values = torch.stack((batch.vertices[..., 1], 1 - batch.fades), dim=-1)
    height, strength = seen.interpolate(values, batch.proxy_faces).unbind(dim=-1)
    return height, strength * (seen.face >= 0)


def _is_middle(height: Tensor) -> Tensor:
    """How much a blocker of a height (m) counts as a middle one."""
    return _step(height, 0.05, 0.25) * (1 - _step(height, 0.9, 1.1))


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
    # Rows, then columns: a Gaussian over the plane is the product of the two.
    rows = F.conv2d(layer[None, None], kernel[..., None, :], padding=(0, reach))
    return F.conv2d(rows, kernel[..., :, None], padding=(reach, 0))[0, 0]
