"""How good VQ3D's scenes are."""
