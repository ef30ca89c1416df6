"""Surfaces read and measured without Blender, to compare with what Blender rendered."""
