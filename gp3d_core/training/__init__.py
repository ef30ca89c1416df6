"""Training 3DGP: the loop, its steps, checkpoints, losses and what a run reports."""
