#version 330 core
// What the floor keeps of its light under the shadow; multiplied into the picture.

in vec2 uv;

uniform sampler2D shadow_mask;  // red: sun's shadow, green: contact
uniform vec4 darkness;          // what the sun's shadow takes of red, green and blue; what contact takes
uniform vec2 mask_share;        // part of the texture that the mask fills

out vec4 frag_color;

void main()
{
    // Beside the mask lies what an earlier picture left.
    vec2 shade = texture(shadow_mask, min(uv, mask_share - 0.5 / textureSize(shadow_mask, 0))).rg;
    frag_color = vec4((1.0 - shade.r * darkness.rgb) * (1.0 - darkness.a * shade.g), 1.0);
}
