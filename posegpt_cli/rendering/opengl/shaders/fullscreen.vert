#version 330 core
// One triangle that covers the viewport; no vertex buffer.

out vec2 v_screen;  // -1..1, y up

void main()
{
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    v_screen = corner;
    gl_Position = vec4(corner, 0.0, 1.0);
}
