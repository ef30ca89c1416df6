"""Objects in Blender: built, changed, marked as assets and written."""
