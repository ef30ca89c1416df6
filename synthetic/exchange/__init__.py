"""Data sets in the layouts of other programs (NeRF, BOP, WebDataset), and back from what was exported."""
