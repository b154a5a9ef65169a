#version 330 core
// The body seen from the sun, for shadows that it casts on itself.

layout(location = 0) in vec3 position;

uniform mat4 sun_matrix;

void main()
{
    gl_Position = sun_matrix * vec4(position, 1.0);
}
