"""How good, how varied, how deep: scores of generated images and shapes."""
