"""Other objects made of a model: its proportions, bends, colours and the scale of its cloth, drawn from a seed."""
