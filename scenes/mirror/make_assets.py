"""Make the meshes of this scene (procedural; run again after a change).

python scenes/mirror/make_assets.py
"""

from pathlib import Path

import numpy as np

import pbdr

pbdr.set_variant("llvm_ad_rgb")

from pbdr.validation.meshes import even_sphere, make_mesh  # noqa: E402

HERE = Path(__file__).parent


def main():
    p, faces = even_sphere()
    x, y, z = p.T
    r = 0.62 + 0.16 * np.sin(3 * y + 1) + 0.12 * np.cos(2 * np.arctan2(z, x)) * (1 - y**2)
    make_mesh(0.55 * p, faces, None, True).write_ply(str(HERE / "start.ply"))
    make_mesh(r[:, None] * p * [1, 1.15, 1], faces, None, True).write_ply(str(HERE / "object.ply"))


if __name__ == "__main__":
    main()
