"""How far objects can be relied on: what the engine found out, as layers of colour on them, and report cards."""
