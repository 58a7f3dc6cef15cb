"""Make the meshes and maps of this scene (all procedural; run again after a change).

python scenes/vase/make_assets.py
"""

from pathlib import Path

import numpy as np

import pbdr

pbdr.set_variant("llvm_ad_rgb")
import mitsuba as mi  # noqa: E402

from pbdr.validation.meshes import make_mesh  # noqa: E402

HERE = Path(__file__).parent
ROWS, COLUMNS, MAP = 28, 40, 64


def lathe(radius, height):
    """A closed surface of revolution about y with texture coordinates (one seam)."""
    i, j = np.mgrid[0 : ROWS + 1, 0 : COLUMNS + 1]
    t, angle = i / ROWS, 2 * np.pi * (j % COLUMNS) / COLUMNS
    r, y = radius(t), height(t)
    p = np.stack([r * np.sin(angle), y, r * np.cos(angle)], -1).reshape(-1, 3)
    uv = np.stack([j / COLUMNS, t], -1).reshape(-1, 2)
    k = (i[:-1, :-1] * (COLUMNS + 1) + j[:-1, :-1]).ravel()
    a, b, c, d = k, k + 1, k + COLUMNS + 1, k + COLUMNS + 2
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    q = p[faces]
    area = np.linalg.norm(np.cross(q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]), axis=1)
    return make_mesh(p, faces[area > 1e-7], uv, True)


def start_radius(t):
    return 0.62 * np.sin(np.pi * t) + 0.0


def vase_radius(t):
    body = 0.46 + 0.22 * np.sin(2 * np.pi * (0.95 * t + 0.02)) + 0.06 * np.cos(5 * np.pi * t)
    caps = np.sqrt(np.clip(1 - np.abs(2 * t - 1) ** 10, 0, 1))
    return body * caps


def height(t):
    return 0.9 * -np.cos(np.pi * t)


def write(name, image):
    mi.Bitmap(np.ascontiguousarray(image, np.float32)).write(str(HERE / name))


def main():
    lathe(start_radius, height).write_ply(str(HERE / "start.ply"))
    lathe(vase_radius, height).write_ply(str(HERE / "vase.ply"))
    v, u = (np.mgrid[0:MAP, 0:MAP] + 0.5) / MAP
    band = (np.sin(2 * np.pi * (6 * u + 2 * v)) > 0) & (np.abs(v - 0.5) < 0.18)
    glaze = np.stack([0.26 + 0.1 * v, 0.42 + 0.18 * np.cos(3 * v), 0.6 - 0.15 * v], -1)
    glaze[band] = (0.75, 0.5, 0.16)
    write("colour.exr", glaze)
    rough = 0.3 + 0.1 * np.sin(4 * np.pi * v) * np.cos(4 * np.pi * u)
    rough[band] = 0.6
    write("roughness.exr", rough[..., None])
    write("grey.exr", np.full((MAP, MAP, 3), 0.4))
    write("half.exr", np.full((MAP, MAP, 1), 0.45))
    theta, phi = (np.mgrid[0:32, 0:64] + 0.5) * np.pi / 32
    d = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi)], -1)
    sky = np.full((32, 64, 3), 0.25)
    lobes = (
        ((1, 0.6, 0.5), (5, 4, 3), 30),
        ((-1, 0.3, 0.4), (1.5, 2.5, 4), 25),
        ((0.1, 0.2, -1), (3, 3, 3), 30),
        ((0, -1, 0), (0.3, 0.25, 0.2), 2),
    )
    for axis, colour, width in lobes:
        a = np.array(axis) / np.linalg.norm(axis)
        sky += np.exp(width * (d @ a - 1))[..., None] * np.array(colour)
    write("sky.exr", sky)


if __name__ == "__main__":
    main()
