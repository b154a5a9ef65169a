#version 330 core
// The bodies, premultiplied by their coverage, at the picture's size: a tent over their finer pixels.

uniform sampler2D body;
uniform float fineness;  // body pixels a pixel, along each side

out vec4 frag_color;

void main()
{
    vec2 texel = 1.0 / vec2(textureSize(body, 0));
    vec2 uv = gl_FragCoord.xy * fineness * texel;
    vec2 tap = (fineness - 1.0) * 0.7 * texel;
    frag_color = 0.25 * (texture(body, uv + tap) + texture(body, uv - tap)
                         + texture(body, uv + vec2(tap.x, -tap.y)) + texture(body, uv + vec2(-tap.x, tap.y)));
}
