"""The engine as the add-on sees it: its process, the session with it, and what can go wrong. No bpy."""
