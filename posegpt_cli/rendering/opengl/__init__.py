"""The mesh renderer: OpenGL without a window. Only modules in here import OpenGL."""
