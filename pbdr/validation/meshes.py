"""Small procedural meshes for the catalogue, the tests and the demo scenes."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np


def even_sphere(levels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of even triangles, a subdivided icosahedron: (positions, faces)."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=levels)
    return np.array(mesh.vertices), np.array(mesh.faces)


def divided_box(levels: int = 5, size: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed box around the origin, each side of two triangles divided ``levels`` times in four: (positions, faces)."""
    import trimesh

    mesh = trimesh.creation.box(extents=3 * [size])
    for _ in range(levels):
        mesh = mesh.subdivide()
    return np.array(mesh.vertices), np.array(mesh.faces)


def uv_sphere(rows: int = 12, seam: bool = True, normals: bool = True, radius: float = 1.0) -> Any:
    """A sphere mesh whose texture seam and poles split vertices (or not)."""
    n, m = rows, 2 * rows
    i, j = np.mgrid[0 : n + 1, 0 : m + 1]
    θ, φ = np.pi * i / n, 2 * np.pi * (j % m) / m
    p = np.stack([np.sin(θ) * np.cos(φ), np.cos(θ), np.sin(θ) * np.sin(φ)], -1).astype(np.float32)
    p[0], p[-1] = (0, 1, 0), (0, -1, 0)
    uv = np.stack([j / m, i / n], -1).astype(np.float32)
    k = i[:-1, :-1] * (m + 1) + j[:-1, :-1]
    a, b, c, d = k.ravel(), (k + 1).ravel(), (k + m + 1).ravel(), (k + m + 2).ravel()
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)]).astype(np.uint32)
    p = p.reshape(-1, 3)
    if not seam:
        _, index, inverse = np.unique(p.round(6), axis=0, return_index=True, return_inverse=True)
        p, faces = p[index], inverse.ravel()[faces].astype(np.uint32)
    q = p[faces]
    sound = np.linalg.norm(np.cross(q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]), axis=1) > 1e-6
    faces = faces[sound]
    return make_mesh(p * radius, faces, uv.reshape(-1, 2) if seam else None, normals)


def make_mesh(positions: np.ndarray, faces: np.ndarray, uv: np.ndarray | None, normals: bool) -> Any:
    mesh = mi.Mesh("mesh", len(positions), len(faces), has_vertex_normals=normals, has_vertex_texcoords=uv is not None)
    p = mi.traverse(mesh)
    p["vertex_positions"] = np.ravel(positions).astype(np.float32)
    p["faces"] = np.ravel(faces).astype(np.uint32)
    if uv is not None:
        p["vertex_texcoords"] = np.ravel(uv).astype(np.float32)
    p.update()
    return mesh


def mesh_file(rows: int = 12, seam: bool = True, normals: bool = True, radius: float = 1.0) -> dict:
    """The same as a plugin dictionary, through a temporary PLY file (so that a BSDF can be given)."""
    return as_file(uv_sphere(rows, seam, normals, radius), normals)


def as_file(mesh: Any, normals: bool) -> dict:
    path = Path(_folder().name) / f"{next(_numbers)}.ply"
    mesh.write_ply(str(path))
    return {"type": "ply", "filename": str(path), "face_normals": not normals}


_numbers = itertools.count()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="pbdr-meshes-")


def knobbly_ball(rows: int, radius: float = 0.5) -> Any:
    """A ball with bumps: ``rows`` × 2 ``rows`` quads, no split vertices; about 6 rows² edges."""
    mesh = uv_sphere(rows, seam=False)
    p = np.array(mi.traverse(mesh)["vertex_positions"]).reshape(-1, 3)
    x, y, z = p.T
    r = radius * (1 + 0.12 * np.sin(5 * x) * np.cos(4 * y + 1) * np.sin(6 * z + 2))
    return make_mesh(r[:, None] * p, np.array(mi.traverse(mesh)["faces"]).reshape(-1, 3), None, True)


def smooth_box() -> Any:
    """A closed cube of side 2 whose faces share vertices and normals."""
    p = np.stack(np.meshgrid(*3 * [[-1.0, 1.0]], indexing="ij"), -1).reshape(-1, 3)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([(q[0], q[i], q[i + 1]) for q in quads for i in (1, 2)])
    return make_mesh(p, faces, None, True)


def corner() -> dict:
    """A floor and a wall that share an edge, as one flat-shaded mesh."""
    a, b, c = np.mgrid[0:2, 0:2, 0:1].reshape(3, -1).astype(float)
    low = np.stack([3 * a - 1.5, c - 1, 2.5 * b - 1], -1)
    high = np.array([[-1.5, 0.5, -1], [1.5, 0.5, -1]])
    p = np.concatenate([low, high])  # 0, 2: the shared edge; 1, 3: front; 4, 5: top
    faces = np.array([[0, 1, 3], [0, 3, 2], [0, 2, 5], [0, 5, 4]])
    return as_file(make_mesh(p, faces, None, False), False)


def dome(n: int = 6) -> dict:
    """A coarse convex cap: it has shading normals, but neither outlines nor shadows of its own."""
    y, x = np.mgrid[0:n, 0:n] * (8 / (n - 1)) - 4
    z = -0.15 * (x**2 + y**2 - 0.6 * x * y)
    p = np.stack([x, y, z], -1).reshape(-1, 3)
    row, column = np.mgrid[0 : n - 1, 0 : n - 1]
    k = (row * n + column).ravel()
    faces = np.concatenate([np.stack([k, k + 1, k + n + 1], 1), np.stack([k, k + n + 1, k + n], 1)])
    return as_file(make_mesh(p, faces, None, True), True)
