"""From a class and a seed to pictures, films and meshes."""
