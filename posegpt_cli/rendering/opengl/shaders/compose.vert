#version 330 core
// One triangle that covers the viewport, and where it is in the bodies' own picture; no vertex buffer.

uniform vec4 place;  // the viewport's middle and half its size, in coordinates of that picture

noperspective out vec2 v_uv;

void main()
{
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    v_uv = place.xy + corner * place.zw;
    gl_Position = vec4(corner, 0.0, 1.0);
}
