"""Makes the volumes of this scene: python scenes/torus/make_assets.py"""

from pathlib import Path

import pbdr

pbdr.set_variant("llvm_ad_rgb")

import mitsuba as mi  # noqa: E402
import numpy as np  # noqa: E402

HERE = Path(__file__).parent
N = 32
z, y, x = np.meshgrid(*[np.linspace(-0.5, 0.5, N)] * 3, indexing="ij")


def write(name, field):
    mi.VolumeGrid(field[..., None].astype(np.float32)).write(str(HERE / name))


# A torus that leans, thicker on one side.
u, v, w = x, 0.92 * y - 0.39 * z, 0.39 * y + 0.92 * z
write("torus.vol", np.hypot(np.hypot(u, v) - 0.26, w) - (0.105 + 0.05 * u))
write("sphere.vol", np.sqrt((x - 0.2) ** 2 + y**2 + z**2) - 0.17)
