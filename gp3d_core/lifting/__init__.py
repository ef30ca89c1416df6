"""A photograph and its depth to a relief: a mesh of what the camera saw, and of a little behind it."""
