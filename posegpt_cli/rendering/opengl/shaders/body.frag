#version 330 core

noperspective in vec3 v_light;

uniform vec4 fade;  // colour, and how far to go towards it

out vec4 frag_color;

void main()
{
    frag_color = vec4(mix(sqrt(v_light), fade.rgb, fade.a), 1.0);
}
