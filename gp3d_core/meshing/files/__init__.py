"""Files of meshes: one module for every format, and what writes and reads them by their suffix."""
