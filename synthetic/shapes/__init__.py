"""Procedural object library: one family per ImageNet class, written out in ShapeNetCore.v2 layout.

`library.FAMILIES` lists the families, `family.build_model` makes one model of one, `shapenet_writer.write_library`
writes many, and `python -m synthetic.shapes OUT --classes mug,barrel --per-class 4 --seed 0` does so from a shell.

Every family is built in the frame of ShapeNet: right-handed, +Y up, the front looks along -Z. Seen from the front,
+X is on the left. Parts are closed surfaces with outward normals; different parts may interpenetrate.
"""
