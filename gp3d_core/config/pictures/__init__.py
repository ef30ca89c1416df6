"""Settings of what draws pictures without a shape, and of what judges pictures alone."""
