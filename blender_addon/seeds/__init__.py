"""Objects that the seed browser shows, stars and asks pictures of, without pictures and without Blender."""
