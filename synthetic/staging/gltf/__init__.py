"""glTF 2.0 files, as .glb and as .gltf with files beside it: the scene that the file shows, in the file's pose."""
