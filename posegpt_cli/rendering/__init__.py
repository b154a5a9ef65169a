"""Renderers: motion to pictures, as a mesh (OpenGL, pytorch3d) or a skeleton."""
