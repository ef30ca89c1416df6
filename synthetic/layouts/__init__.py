"""Model libraries: layouts and classes of ShapeNet and its kin, and checked copies of their files."""
