"""The two text formats of Wavefront: OBJ statements as arrays, and the materials of MTL files."""
