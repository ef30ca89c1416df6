"""Processes that render: the run over a library, executors of its jobs, and the Blender at the other end of a pipe."""
