"""One file per family: a builder that draws its parameters, and the ImageNet class it stands for."""
