"""Scores of shapes: a snapshot's objects, or anyone's meshes."""
