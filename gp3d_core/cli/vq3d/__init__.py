"""The commands `gp3d vq3d …`."""
