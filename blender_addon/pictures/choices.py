"""What a person can choose about Image to 3D. `properties` adds it to the choices of a scene."""

import math

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

# For paths that may begin with "//", beside the .blend; before 4.5 every path might
BLEND_RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5) else set()


class PictureSettings:
    """Part of GP3DSettings."""

    picture: StringProperty(
        name="Picture",
        description="Photograph of any size that becomes a mesh",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    method: EnumProperty(
        name="Method",
        description="How a picture becomes a mesh",
        items=(
            (
                "SCENE",
                "Scene Model",
                "An image model makes up an object that looks like it, seen from the front",
            ),
            (
                "RELIEF",
                "Relief from Depth",
                "The photograph itself, in full resolution, on a relief of its depth",
            ),
        ),
    )
    mask: StringProperty(
        name="Mask",
        description="Picture of the subject, white or opaque: nothing else stays. Empty: all of it",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    depth: StringProperty(
        name="Depth",
        description="Depth map of the picture: PNG, npy, npz or EXR. Empty: made by the Depth Model",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    depth_kind: EnumProperty(
        name="Holds",
        description="What the numbers of the depth map are. If a relief looks turned inside out, it is the other one",
        items=(
            ("DEPTH", "Depth", "Larger is farther, of any scale"),
            ("DISPARITY", "Disparity", "Larger is nearer, as most networks give"),
            ("METRIC", "Metres", "Distances in metres, in a PNG millimetres; the relief is in metres"),
        ),
    )
    depth_ratio: FloatProperty(
        name="Far / Near",
        description="Farthest distance over the nearest; 0: as deep as the picture is wide. Not for metres",
        default=0.0,
        min=0.0,
        soft_max=10.0,
        max=1000.0,
    )
    fov: FloatProperty(
        name="Field of View",
        description="Of the longer side of the picture; 0: as its EXIF data say, else 53°",
        default=0.0,
        min=0.0,
        max=math.radians(150.0),
        subtype="ANGLE",
    )
    border: FloatProperty(
        name="Border",
        description="How far the picture is carried on around it, in longer sides",
        default=0.2,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    backdrop: BoolProperty(
        name="Backdrop",
        description="Keep also what lies behind the subject and its ground, unless Depth Cut in the panel Mesh is set",
    )
