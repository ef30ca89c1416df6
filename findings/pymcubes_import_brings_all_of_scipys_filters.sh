#!/usr/bin/env bash
# PyMCubes 0.1.6 with SciPy 1.17.1: `import mcubes`, for marching cubes alone, imports the package's smoothing as well,
# and with it all of scipy.ndimage: hundreds of times what the extension itself takes, a sixth of what `import torch`
# takes. Every short command that makes a mesh pays it. What to do: load the extension `_mcubes` by
# itself (importlib's PathFinder in the package's folder); its marching_cubes needs nothing but numpy and gives the same
# vertices. Fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "PyMCubes==0.1.6" "scipy==1.17.1" "numpy==2.2.6"
cat >"$folder/seen.py" <<'PYTHON'
import sys
import time
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

import numpy as np

start = time.process_time()
spec = PathFinder.find_spec("_mcubes", find_spec("mcubes").submodule_search_locations)
alone = module_from_spec(spec)
spec.loader.exec_module(alone)
extension = time.process_time() - start
print("SciPy after the extension:", any(name.startswith("scipy") for name in sys.modules))
field = np.linalg.norm(np.mgrid[-1:1:24j, -1:1:24j, -1:1:24j], axis=0)
vertices, faces = alone.marching_cubes(field, 0.7)

start = time.process_time()
import mcubes

package = time.process_time() - start
print("filters after the package:", "scipy.ndimage" in sys.modules)
same = [np.array_equal(one, other) for one, other in zip((vertices, faces), mcubes.marching_cubes(field, 0.7))]
print("the same surface:", same)
print(f"extension {extension:.3f} s, package {package:.3f} s of the processor", file=sys.stderr)
print("package at least twenty times the extension:", package > 20 * extension)
PYTHON
expected='SciPy after the extension: False
filters after the package: True
the same surface: [True, True]
package at least twenty times the extension: True'
seen=$("$folder/venv/bin/python" "$folder/seen.py")
echo "$seen"
[ "$seen" = "$expected" ]
