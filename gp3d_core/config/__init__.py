"""Settings as frozen dataclasses, their validation, and the table of presets."""
