"""VQ3D: one photograph becomes a radiance field in one pass; a prior dreams new ones (docs/vq3d.md)."""
