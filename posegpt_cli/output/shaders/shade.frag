#version 330 core
// What the floor keeps of its light under the shadow; multiplied into the picture.

in vec2 v_screen;

uniform vec3 eye;
uniform mat3 rays;
uniform sampler2D shadow_mask;  // red: sun's shadow, green: contact
uniform vec4 mask_rect;         // x, z of the mask's corner, one over its width and depth
uniform vec2 mask_share;        // part of the texture that the mask fills

out vec4 frag_color;

void main()
{
    vec3 ray = rays * vec3(v_screen, 1.0);
    vec2 uv = (eye.xz - ray.xz * (eye.y / min(ray.y, -1e-4)) - mask_rect.xy) * mask_rect.zw;
    vec2 inside = step(vec2(0.0), uv) * step(uv, vec2(1.0));
    vec2 shade = texture(shadow_mask, clamp(uv, 0.0, 1.0) * mask_share).rg * inside.x * inside.y;
    frag_color = vec4((1.0 - shade.r * vec3(0.46, 0.44, 0.40)) * (1.0 - 0.45 * shade.g), 1.0);
}
