"""The networks of the systems that 3DGP is compared with, on the same layers, cameras and operations."""
