"""EG3D (CVPR 2022): tri-planes, a raw picture of features rendered from them, and its super-resolution."""
