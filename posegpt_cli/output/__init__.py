"""Motion to pictures and files: mesh and skeleton renderers, video, contact sheet."""
