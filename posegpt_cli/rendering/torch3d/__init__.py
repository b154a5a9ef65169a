"""The renderer for GPUs by pytorch3d, which is imported only when it draws."""
