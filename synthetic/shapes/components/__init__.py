"""Parts that several families share: balls, citrus fruit, leaves, vehicles, vessels."""
