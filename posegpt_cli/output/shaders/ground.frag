#version 330 core
// Backdrop and floor: the view ray meets y = 0; the pattern is filtered by its pixel's footprint.

in vec2 v_screen;  // -1..1, downwards in the picture

uniform vec3 eye;
uniform mat3 rays;          // columns: right and up, each times the tangent of its half angle; forward
uniform vec2 target;        // x, z that the camera looks at
uniform vec3 background;
uniform float pattern;      // 0 plain, 1 checker, 2 grid, 3 no floor
uniform float fade_start;
uniform float fade_end;

out vec4 frag_color;

// Integral of a square wave of period 2 that is +1 on [0, 1) and -1 on [1, 2).
vec2 square_integral(vec2 x)
{
    vec2 y = fract(x * 0.5) * 2.0;
    return min(y, 2.0 - y);
}

float checker(vec2 p, vec2 w)
{
    vec2 mean = (square_integral(p + 0.5 * w) - square_integral(p - 0.5 * w)) / w;
    return mean.x * mean.y;  // -1..1
}

// Share of the footprint that lies on a line of half width h around the integers.
float lines(vec2 p, vec2 w, float h)
{
    vec2 width = max(w, vec2(1e-4));
    vec2 d = abs(fract(p - 0.5) - 0.5);
    vec2 cover = clamp((h - d) / width + 0.5, 0.0, 1.0) * min(vec2(1.0), 2.0 * h / width + 0.35);
    return max(cover.x, cover.y);
}

void main()
{
    vec3 ray = rays * vec3(v_screen, 1.0);
    vec3 backdrop = background * (1.0 - 0.055 * smoothstep(-0.6, 1.0, v_screen.y));
    frag_color = vec4(backdrop, 1.0);
    if (pattern > 2.5 || ray.y > -1e-3)
        return;

    vec2 p = eye.xz - ray.xz * (eye.y / ray.y);
    float away = 1.0 - smoothstep(fade_start, fade_end, distance(p, target));
    if (away <= 0.0)
        return;

    vec2 w = max(fwidth(p), vec2(1e-4));
    vec3 floor_color = background * vec3(0.955, 0.958, 0.962);
    if (pattern > 1.5)
        floor_color *= 1.0 - 0.10 * lines(p * 2.0, w * 2.0, 0.008) - 0.08 * lines(p * 0.5, w * 0.5, 0.004);
    else if (pattern > 0.5)
        floor_color *= 1.0 + 0.028 * checker(p * 2.0, w * 2.0);
    frag_color.rgb = mix(backdrop, floor_color, away);
}
