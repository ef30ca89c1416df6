"""The panel in the sidebar and the operators behind its buttons."""
