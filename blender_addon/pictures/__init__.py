"""Image to 3D: what can be chosen about it, and which files are meant."""
