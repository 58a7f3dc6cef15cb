"""Make the meshes of this scene (procedural; run again after a change).

python scenes/translucent_blob/make_assets.py
"""

from pathlib import Path

import numpy as np

import pbdr

pbdr.set_variant("llvm_ad_rgb")

from pbdr.validation.meshes import even_sphere, make_mesh  # noqa: E402

HERE = Path(__file__).parent


def blob(p):
    """A soap-like body: three bumps around, narrower at the top."""
    x, y, z = p.T
    around = np.arctan2(z, x)
    r = 0.85 + 0.12 * np.cos(3 * around + 0.5) * (1 - y**2) - 0.15 * y + 0.08 * np.sin(3 * y)
    return np.stack([r * x, 0.8 * y, r * z], -1)


def main():
    p, faces = even_sphere()
    make_mesh(0.75 * p, faces, None, True).write_ply(str(HERE / "start.ply"))
    make_mesh(blob(p), faces, None, True).write_ply(str(HERE / "blob.ply"))


if __name__ == "__main__":
    main()
