"""The networks of VQ3D: tokenizer, critic and prior."""
