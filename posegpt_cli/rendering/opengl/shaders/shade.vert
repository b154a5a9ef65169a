#version 330 core
// The rectangle of the floor that the shadow's mask covers; no vertex buffer.

uniform mat4 view_matrix;
uniform vec4 mask_rect;   // x, z of the mask's corner, its width and depth
uniform vec2 mask_share;  // part of the texture that the mask fills

out vec2 uv;

void main()
{
    vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2);
    uv = corner * mask_share;
    vec2 place = mask_rect.xy + corner * mask_rect.zw;
    gl_Position = view_matrix * vec4(place.x, 0.0, place.y, 1.0);
}
