"""One model the usual BlenderProc way: a process that starts Blender, loads it, renders colour and depth, and ends.

`python blenderproc_process.py MODEL.obj OUT RESOLUTION SAMPLES DENOISER`, with BlenderProc's own defaults for the rest.
"""

import os
import sys

os.environ["OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"] = "1"

import bpy

# isort: split
import numpy as np
from blenderproc.python.camera import CameraUtility
from blenderproc.python.loader.ObjectLoader import load_obj
from blenderproc.python.renderer import RendererUtility
from blenderproc.python.types.LightUtility import Light
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.SetupUtility import SetupUtility
from blenderproc.python.utility.Utility import Utility

model, out, resolution, samples, denoiser = sys.argv[1:]
SetupUtility.setup_utility_paths(out)
Utility.temp_dir = out
clean_up(clean_up_camera=True)
bpy.context.scene.render.engine = "CYCLES"
RendererUtility.set_render_devices()
_Initializer.set_default_parameters()
RendererUtility.set_max_amount_of_samples(int(samples))
if denoiser == "none":
    RendererUtility.set_denoiser(None)
RendererUtility.enable_depth_output(activate_antialiasing=False)
load_obj(model)
light = Light()
light.set_location([2, -2, 3])
light.set_energy(300)
CameraUtility.set_intrinsics_from_blender_params(
    lens=0.7, image_width=int(resolution), image_height=int(resolution), lens_unit="FOV"
)
CameraUtility.add_camera_pose(np.array([[1.0, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0], [0, 0, 0, 1]]))
data = RendererUtility.render(verbose=True)
np.savez_compressed(os.path.join(out, "data.npz"), colors=data["colors"][0], depth=data["depth"][0])
sys.stdout.flush()
os._exit(0)
