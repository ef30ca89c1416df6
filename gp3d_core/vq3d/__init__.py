"""VQ3D: one photograph becomes a radiance field in one pass; new ones are sampled with a code prior (docs/vq3d.md)."""
