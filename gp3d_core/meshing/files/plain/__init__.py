"""Files of others in the form that trimesh reads right."""
