"""Cameras, rays and patches, and volume rendering of any field of points."""
