#version 330 core
// Constants in capitals are those of shading.py, defined when this is compiled.
// The floor below the horizon: the view ray meets y = 0; edges are as soft as a pixel's footprint is wide.

in vec2 v_screen;  // -1..1, downwards in the picture

uniform vec3 eye;
uniform mat3 rays;       // columns: right and up, each times the tangent of its half angle; forward
uniform vec2 target;     // x, z that the camera looks at
uniform vec3 background;
uniform vec3 floor_color;
uniform float contrast;  // of the pattern, 1 before a white background
uniform vec2 fade;       // distances from the target (m) where the floor begins to fade, and one over the way to its end

out vec4 frag_color;

void main()
{
    vec3 ray = rays * vec3(v_screen, 1.0);
    vec2 p = eye.xz - ray.xz * (eye.y / min(ray.y, -1e-4));
    vec2 w = fwidth(p) + 1e-5;
    // Signed distance to the nearest edge of a tile, positive in every other row of tiles.
    vec2 edge = TILE * (0.5 - abs(fract(p / (2.0 * TILE)) * 2.0 - 1.0));
    edge *= 2.0;

    float light = CHECKER_BRIGHT - CHECKER_DEPTH * contrast;
    if (PATTERN > 1.5) {
        vec2 cover = clamp(1.5 - abs(edge) / max(vec2(LINE_METRES), 0.7 * w), 0.0, 1.0) * min(vec2(1.0), LINE_THIN / w + LINE_LEAST);
        light = GRID_BRIGHT - GRID_DEPTH * contrast * max(cover.x, cover.y);
    } else if (PATTERN > 0.5) {
        vec2 tile = clamp(edge / w, -1.0, 1.0) * clamp(0.5 * TILE / w, 0.0, 1.0);
        light += CHECKER_DEPTH * contrast * tile.x * tile.y;
    }
    float away = clamp(1.0 - (distance(p, target) - fade.x) * fade.y, 0.0, 1.0);
    away *= away * (3.0 - 2.0 * away);
    float down = clamp(v_screen.y, 0.0, 1.0);
    float fall = FALL * down * down;
    frag_color = vec4(mix(background * (1.0 - fall), floor_color * (light - fall), away), 1.0);
}
