#version 330 core
// The body laid on the floor along a direction: seen from straight above the floor.

layout(location = 0) in vec3 position;

uniform vec3 along;      // towards the light, divided by its height
uniform vec4 mask_rect;  // x, z of the mask's corner, one over its width and depth

out float height;

void main()
{
    height = position.y;
    vec2 p = position.xz - along.xz * max(height, 0.0);
    gl_Position = vec4((p - mask_rect.xy) * mask_rect.zw * 2.0 - 1.0, 0.0, 1.0);
}
