"""How a typed text is understood: copies of the core's rules and of its table, which tools/build_addon.py makes."""
