#version 330 core
// Constants in capitals are those of shading.py, defined when this is compiled.
// What the floor keeps of its light under the shadow; multiplied into the picture.

in vec2 uv;

uniform sampler2D shadow_mask;  // red: sun's shadow, green: contact
uniform vec2 furthest;           // middle of the mask's last pixel

out vec4 frag_color;

void main()
{
    // Beside the mask lies what an earlier picture left.
    vec2 shade = textureLod(shadow_mask, min(uv, furthest), 0.0).rg;
    frag_color = vec4((1.0 - shade.r * vec3(TINT_RED, TINT_GREEN, TINT_BLUE)) * (1.0 - CONTACT_DARK * shade.g), 1.0);
}
