"""VolumeGAN (CVPR 2022): a feature volume, a perceptron that reads it, and an image network of 1×1 convolutions."""
