"""3DGP's Tables 1, 2, 4 and 7 on a data set of one's own: every row trained, measured, and set beside the paper's."""
