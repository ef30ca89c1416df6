"""What is around a model in its pictures: the light, the ground it stands on, and what is behind it."""
