"""Models of the game 0 A.D. (Debian's 0ad-data): animals in many coats and poses, buildings, ships, plants."""
