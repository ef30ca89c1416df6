"""The networks of 3DGP: generator, discriminator and their parts, one concept per file."""
