#version 330 core
// The bodies, premultiplied by their coverage, at the picture's size: a tent over their finer pixels.

noperspective in vec2 v_uv;

uniform sampler2D body;
uniform vec2 tap;  // how far from a pixel's middle the samples lie

out vec4 frag_color;

void main()
{
    vec2 other = vec2(tap.x, -tap.y);
    frag_color = 0.25 * (textureLod(body, v_uv + tap, 0.0) + textureLod(body, v_uv - tap, 0.0)
                         + textureLod(body, v_uv + other, 0.0) + textureLod(body, v_uv - other, 0.0));
}
