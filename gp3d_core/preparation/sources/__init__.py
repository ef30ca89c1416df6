"""Where photographs come from: folders, zips and tables, their layouts and class names."""
