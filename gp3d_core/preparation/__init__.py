"""From photographs to a data set with depth and features (docs/data.md)."""
