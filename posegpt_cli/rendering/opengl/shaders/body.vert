#version 330 core
// All light is computed at the vertices, which lie about a centimetre apart: software GL pays by the pixel.
// Sky and floor light, a soft sun with shadow, a little sheen and rim. Colours are square roots of linear light.
// Without a texture the colour itself is computed here, and its shader only hands it on.

layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 color;
layout(location = 7) in vec2 uv;

uniform mat4 view_matrix;
uniform mat4 sun_matrix;
uniform vec3 eye;
uniform vec3 sun;
uniform vec4 body_color;   // alpha 1: one colour for the whole body
uniform vec4 fade;         // colour, and how far to go towards it
uniform float floor_clip;  // 1: what lies under the floor is hidden by it
uniform sampler2DShadow sun_depth;
uniform float sun_blur;    // radius of the shadow's edge, in the map's coordinates

noperspective out vec3 v_light;  // triangles are small; without a texture the colour to be seen
noperspective out vec3 v_glow;   // what the surface adds to its own colour, where a texture brings that
out vec2 v_uv;
out float v_alpha;
out float gl_ClipDistance[1];

float sun_light(vec3 from)
{
    vec4 place = sun_matrix * vec4(from, 1.0);
    vec3 p = place.xyz * 0.5 + 0.5;
    float lit = 0.0;
    for (int k = 0; k < 4; ++k) {
        vec2 tap = 1.4 * vec2(k % 2, k / 2) - 0.7;
        lit += textureLod(sun_depth, vec3(p.xy + tap * sun_blur, p.z), 0.0);
    }
    return 0.25 * lit;
}

void main()
{
    vec3 base = mix(color.rgb, body_color.rgb, body_color.a);
    base *= base;
    vec3 to_eye = normalize(eye - position);

    float direct = max(0.0, (dot(normal, sun) + 0.18) / 1.18);
    // Ask from a little outside the skin: no acne where light grazes.
    direct *= mix(0.12, 1.0, sun_light(position + normal * 0.01));

    float up = 0.5 + 0.5 * normal.y;
    float near_floor = mix(0.72, 1.0, smoothstep(0.0, 0.35, position.y));
    vec3 ambient = mix(vec3(0.30, 0.29, 0.28), vec3(0.50, 0.53, 0.58), up) * near_floor;

    float rim = 1.0 - max(0.0, dot(normal, to_eye));
    float shine = max(0.0, dot(normal, normalize(sun + to_eye)));
    v_light = base * (ambient + direct * vec3(0.92, 0.88, 0.82));
    v_glow = vec3(rim * rim * rim * 0.10 * up + pow(shine, 16.0) * direct * 0.055);
    if (IS_TEXTURED == 0) {
        v_light += v_glow;
        v_light /= 1.0 + 0.12 * v_light;
        v_light = mix(sqrt(v_light), fade.rgb, fade.a);
    }
    v_uv = uv;
    v_alpha = mix(color.a, 1.0, body_color.a);

    gl_ClipDistance[0] = mix(1.0, position.y, floor_clip);
    gl_Position = view_matrix * vec4(position, 1.0);
}
