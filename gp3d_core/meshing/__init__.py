"""From a field of densities to a finished mesh and its files."""
