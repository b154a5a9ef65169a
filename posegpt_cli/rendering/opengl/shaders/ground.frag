#version 330 core
// Constants in capitals are those of shading.py and of the options, defined when this is compiled.
// The floor below the horizon: the view ray meets y = 0; edges are as soft as a pixel's footprint is wide.

noperspective in vec3 v_ray;
noperspective in float v_down;  // -1..1, downwards in the picture

uniform vec3 eye;
uniform vec2 target;     // x, z that the camera looks at
uniform vec2 fade;       // distances from the target (m) where the floor begins to fade, and one over the way to its end

out vec4 frag_color;

void main()
{
    vec2 p = eye.xz - v_ray.xz * (eye.y / min(v_ray.y, -1e-4));
    vec2 sharpness = 1.0 / (fwidth(p) + 1e-5);
    // Signed distance to the nearest edge of a tile, positive in every other row of tiles.
    vec2 edge = TILE - 2.0 * TILE * abs(fract(p * (0.5 / TILE)) * 2.0 - 1.0);

    float light = CHECKER_BRIGHT - CHECKER_DEPTH * CONTRAST;
    if (PATTERN > 1.5) {
        vec2 cover = clamp(1.5 - abs(edge) / max(vec2(LINE_METRES), 0.7 / sharpness), 0.0, 1.0)
                     * min(vec2(1.0), LINE_THIN * sharpness + LINE_LEAST);
        light = GRID_BRIGHT - GRID_DEPTH * CONTRAST * max(cover.x, cover.y);
    } else if (PATTERN > 0.5) {
        vec2 tile = clamp(edge * sharpness, -1.0, 1.0) * min(0.5 * TILE * sharpness, vec2(1.0));
        light += CHECKER_DEPTH * CONTRAST * tile.x * tile.y;
    }
    float away = clamp(1.0 - (distance(p, target) - fade.x) * fade.y, 0.0, 1.0);
    away *= away * (3.0 - 2.0 * away);
    float down = max(v_down, 0.0);
    float fall = FALL * down * down;
    frag_color = vec4(mix(BACKDROP * (1.0 - fall), FLOOR_COLOR * (light - fall), away), 1.0);
}
