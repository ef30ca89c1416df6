"""Data sets for class-conditional 3D learning: procedural models in ShapeNet layout, rendered with BlenderProc."""
