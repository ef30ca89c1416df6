"""Libraries of real models made ready for rendering (docs/libraries.md)."""
