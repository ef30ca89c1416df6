"""StyleNeRF (ICLR 2022): a modulated radiance field, a background sphere, and upsampling that keeps views alike."""
