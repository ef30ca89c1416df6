"""Kernels and their plain-torch law: `reference`."""
