#!/usr/bin/env bash
# Mitsuba 3.9.1: `rotate` about an axis whose length is not 1 is no rotation, in Python and in scene files.
#
# Guess: only the direction of the axis counts, as in glRotate and in other scene formats: <rotate x="1" y="2" z="0.5" angle="35"/> turns.
# Seen: Rodrigues' formula takes the components as they are. The cube below becomes a sheared box of 4.24 times the volume, without
# a word; of spheres only the plugin's own warning of shearing tells. An axis of half the length shrinks. Examples with (0, 1, 0) never show it.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi, numpy as np
mi.set_variant("scalar_rgb")
det = lambda axis: float(np.linalg.det(np.array(mi.ScalarTransform4f().rotate(axis, 35).matrix, float).reshape(4, 4)[:3, :3]))
axis = np.array([1, 2, 0.5])
unit = axis / np.linalg.norm(axis)
scene = mi.load_string('<scene version="3.0.0"><shape type="cube"><transform name="to_world"><rotate x="1" y="2" z="0.5" angle="35"/>'
                       '</transform></shape></scene>')
area = scene.shapes()[0].surface_area()
print("determinants", det(list(axis)), det(list(unit)), det(list(unit / 2)), "; area of the cube", area, "instead of 24")
assert abs(det(list(unit)) - 1) < 1e-5 and 4 < det(list(axis)) < 4.5 and det(list(unit / 2)) < 0.95 and area > 50, "changed"
PY
