"""Tokenizers and priors on disk."""
