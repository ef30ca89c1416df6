"""Tokenizers and code priors on disk."""
