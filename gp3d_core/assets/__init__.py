"""Finished assets: what fits a size, LODs, collision hulls, quads, real sizes and pivots of meshes."""
