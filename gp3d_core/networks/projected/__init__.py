"""The projected discriminator (Sauer et al. 2021): small heads on random mixtures of frozen features."""
