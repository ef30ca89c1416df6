"""Sweet Home 3D's furniture libraries as a source of models (docs/libraries.md)."""
