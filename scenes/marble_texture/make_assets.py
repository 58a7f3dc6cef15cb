"""Make the maps of this scene (procedural; run again after a change).

python scenes/marble_texture/make_assets.py
"""

from pathlib import Path

import mitsuba as mi
import numpy as np

import pbdr

pbdr.set_variant("llvm_ad_rgb")

HERE = Path(__file__).parent
ROWS, COLUMNS = 32, 64


def marble():
    """Albedo [rows, columns, 3]: warm veins in a light stone, periodic around the axis."""
    v, u = np.meshgrid((np.arange(ROWS) + 0.5) / ROWS, (np.arange(COLUMNS) + 0.5) / COLUMNS, indexing="ij")
    φ, θ = 2 * np.pi * u, np.pi * v
    x, y, z = np.sin(θ) * np.cos(φ), np.cos(θ), np.sin(θ) * np.sin(φ)
    wave = 4 * x + 3 * y + 1.2 * np.sin(3 * z + 2 * x) + 0.8 * np.cos(5 * y - 2 * z)
    vein = np.exp(-4 * np.sin(wave) ** 2)[..., None]
    stone, colour = np.array([0.85, 0.8, 0.72]), np.array([0.45, 0.3, 0.22])
    return ((1 - vein) * stone + vein * colour).astype(np.float32)


def main():
    for name, image in (("marble", marble()), ("grey", np.full((ROWS, COLUMNS, 3), 0.5, np.float32))):
        mi.Bitmap(image).write(str(HERE / f"{name}.exr"))


if __name__ == "__main__":
    main()
