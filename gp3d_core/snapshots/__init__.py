"""Weights on disk: snapshots, what they say of themselves, export, and the folder of a run."""
