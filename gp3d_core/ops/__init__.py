"""Kernels, and the plain torch they are tested against: `reference`."""
