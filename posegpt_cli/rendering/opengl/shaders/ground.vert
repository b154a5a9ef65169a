#version 330 core
// One triangle that covers the viewport, and where its points look; no vertex buffer.

uniform mat3 rays;  // columns: right and up, each times the tangent of its half angle; forward

noperspective out vec3 v_ray;
noperspective out float v_down;  // -1..1, downwards in the picture

void main()
{
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    v_ray = rays * vec3(corner, 1.0);
    v_down = corner.y;
    gl_Position = vec4(corner, 0.0, 1.0);
}
