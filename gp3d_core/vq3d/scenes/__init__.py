"""Scenes: files, composition, editing, meshes, and what is made from photographs."""
