"""Objects that Infinigen's factories make, with their node materials baked into one texture each."""
