"""The skeleton renderer: numpy and Pillow, for machines without OpenGL."""
