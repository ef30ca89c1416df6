"""`gp3d mcp`: a server of the Model Context Protocol, whose tools are those of the worker (docs/mcp.md)."""
