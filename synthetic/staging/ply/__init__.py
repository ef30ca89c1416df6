"""PLY files: their elements as arrays, and the surface these make."""
