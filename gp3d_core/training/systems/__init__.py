"""What each system's players minimise: 3DGP on patches, those it is compared with on whole pictures."""
