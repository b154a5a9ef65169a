#version 330 core
// A character's surface: the light of body.vert on its texture. Colours are square roots of linear light.

noperspective in vec3 v_light;
noperspective in vec3 v_glow;
in vec2 v_uv;
in float v_alpha;

uniform sampler2D surface;
uniform vec4 body_color;   // alpha 1: one colour for the whole body
uniform vec4 fade;         // colour, and how far to go towards it
uniform float cutoff;      // points less opaque are left out
uniform float blend;       // 1: what is behind shines through

out vec4 frag_color;

void main()
{
    vec4 texel = texture(surface, v_uv);
    float alpha = texel.a * v_alpha;
    if (alpha < cutoff)
        discard;
    vec3 base = mix(texel.rgb, vec3(1.0), body_color.a);
    vec3 light = v_light * base * base + v_glow;
    light /= 1.0 + 0.12 * light;
    float opacity = mix(1.0, alpha, blend);
    // Multiplied by its coverage, as the composition wants it.
    frag_color = opacity * vec4(mix(sqrt(light), fade.rgb, fade.a), 1.0);
}
