"""Training VQ3D's tokenizer and the prior over its codes."""
