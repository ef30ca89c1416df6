"""The process that `gp3d serve` starts: its protocol, its queue of jobs and its loaded models."""
