"""Depth maps beside the images of a data set: from a network or from files (docs/data.md)."""
