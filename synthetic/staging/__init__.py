"""Foreign model files read into one surface: what is drawn, checked, sampled and counted alike."""
