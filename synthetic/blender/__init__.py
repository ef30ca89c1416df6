"""Blender's part: a staged model drawn. The only modules of `synthetic` that import Blender and BlenderProc are here.

`synthetic.workers.blender_process.prepare_blender` must have run before one of them is imported.
"""
