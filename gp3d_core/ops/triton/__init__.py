"""The reference's operations as Triton kernels; nothing here is imported before it is known that Triton can run."""
