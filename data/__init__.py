"""Motion files and data sets: read, retarget, prepare, store, load. Data sets themselves live elsewhere."""
