"""How far generated surfaces can be relied on: what training cameras saw, where mesh and field differ."""
