"""Make the meshes of this scene (procedural; run again after a change).

python scenes/shadow/make_assets.py
"""

from pathlib import Path

import numpy as np

import pbdr

pbdr.set_variant("llvm_ad_rgb")

from pbdr.validation.meshes import even_sphere, make_mesh  # noqa: E402

HERE = Path(__file__).parent


def pear(p):
    """A body with a neck and three lobes."""
    x, y, z = p.T
    around = np.arctan2(z, x)
    r = 0.62 - 0.2 * np.tanh(2.5 * y) + 0.13 * np.cos(3 * around) * (1 - y**2)
    return np.stack([r * x, 0.75 * y, r * z], -1)


def main():
    p, faces = even_sphere()
    make_mesh(0.55 * p, faces, None, True).write_ply(str(HERE / "start.ply"))
    make_mesh(pear(p), faces, None, True).write_ply(str(HERE / "object.ply"))


if __name__ == "__main__":
    main()
