#version 330 core
// Which heights block the light: low, middle and high blockers apart, since their shadows blur apart; alpha: contact.

in float height;

uniform float strength;  // of a figure that fades

out vec4 frag_color;

void main()
{
    float low = 1.0 - smoothstep(0.25, 0.45, height);
    float middle = smoothstep(0.05, 0.25, height) * (1.0 - smoothstep(0.9, 1.1, height));
    float high = smoothstep(0.6, 0.9, height);
    float contact = 1.0 - smoothstep(0.0, 0.13, height);
    frag_color = strength * vec4(low, middle, high, contact);
}
