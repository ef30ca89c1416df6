"""GLB files: scenes of meshes, plain or in fewer bytes, and those of others."""
