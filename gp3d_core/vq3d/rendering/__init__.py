"""Views of VQ3D's contracted space, and its depth."""
