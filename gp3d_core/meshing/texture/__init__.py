"""The atlas of a mesh and the colours on it."""
