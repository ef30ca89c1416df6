"""Maps that lie beside the images of a data set, and subject masks, which are such maps."""
