"""Training VQ3D's tokenizer and the code prior."""
