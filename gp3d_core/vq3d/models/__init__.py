"""The networks of VQ3D: tokenizer, critic and code prior."""
