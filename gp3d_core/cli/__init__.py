"""The command line `gp3d`: one module a group of commands; the only place that knows flags."""
