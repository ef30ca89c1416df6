"""Keeps Blender from the network, whatever is run in it."""

from __future__ import annotations

import bpy  # the first of them: it brings addon_utils along

# isort: split
import addon_utils


def stay_offline() -> None:
    """Takes away Blender's online access and the operators that grant it or go to its extension site.

    The preference alone is not enough: scripts may switch it on again (`bpy.ops.extensions.userpref_allow_online`).
    Without the add-on that brings them these operators do not exist, and calling one raises AttributeError.
    """
    bpy.context.preferences.system.use_online_access = False
    addon_utils.disable("bl_pkg")
