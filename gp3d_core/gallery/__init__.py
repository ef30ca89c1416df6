"""Galleries: one HTML page of all meshes of a folder, which needs no server and no network (docs/gallery.md)."""
