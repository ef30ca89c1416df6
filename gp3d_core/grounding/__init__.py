"""Learning from known shapes, and the prior over latents that follows."""
