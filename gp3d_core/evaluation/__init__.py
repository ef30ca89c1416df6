"""Measuring snapshots and meshes: who is sampled, what it is compared with, what is written (docs/evaluation.md).

The measures themselves, which know nothing of snapshots and files, are in `metrics`.
"""
