#version 330 core
// A body without a texture: body.vert has computed its colour.

noperspective in vec3 v_light;

out vec4 frag_color;

void main()
{
    frag_color = vec4(v_light, 1.0);
}
