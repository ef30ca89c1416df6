"""What there is of the add-on in a Blender without NumPy: a line that says how to get it."""

from __future__ import annotations

import bpy

MISSING = "GP3D needs NumPy, which this Blender has not"
REMEDY = "sudo apt install python3-numpy"  # Blender's own builds bring it, Debian's and Ubuntu's leave it out


class GP3D_PT_without_numpy(bpy.types.Panel):
    """The tab GP3D, with what to type."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "GP3D"
    bl_label = "NumPy Is Missing"

    def draw(self, context: bpy.types.Context) -> None:
        """Three lines; they fit the sidebar."""
        column = self.layout.column()
        column.label(text="GP3D needs NumPy. Type:", icon="ERROR")
        column.label(text=REMEDY, icon="CONSOLE")
        column.label(text="and start Blender again.")


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    bpy.utils.register_class(GP3D_PT_without_numpy)
    print(f"{MISSING}; type: {REMEDY}, and start Blender again")  # noqa: T201 -- for scripts and terminals


def unregister() -> None:
    """Called by Blender when the add-on is disabled."""
    bpy.utils.unregister_class(GP3D_PT_without_numpy)
