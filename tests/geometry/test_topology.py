import mitsuba as mi
import numpy as np

from pbdr.geometry.coincidences import partners
from pbdr.geometry.topology import mesh_edges, weld
from pbdr.validation.meshes import uv_sphere


def buffers(mesh):
    return np.array(mesh.vertex_positions_buffer()).reshape(-1, 3), np.array(mesh.faces_buffer()).reshape(-1, 3)


def test_cube_is_closed_although_its_vertices_are_split():
    edges = mesh_edges(*buffers(mi.load_dict({"type": "cube"})))
    assert len(edges) == 18  # 12 edges and 6 diagonals
    assert not edges.always.any()
    assert edges.split.sum() == 12


def test_seam_is_no_border():
    edges = mesh_edges(*buffers(uv_sphere(8, seam=True)))
    same = mesh_edges(*buffers(uv_sphere(8, seam=False)))
    assert not edges.always.any()
    assert len(edges) == len(same)
    assert edges.split.any() and not same.split.any()


def test_against_a_naive_search():
    p, f = buffers(uv_sphere(5))
    ids = weld(p)
    naive = {frozenset((ids[t[k]], ids[t[(k + 1) % 3]])) for t in f for k in range(3)}
    edges = mesh_edges(p, f)
    ends = {
        frozenset(ids[f[face[0], corner[0, j]]] for j in range(2)) for face, corner in zip(edges.face, edges.corner)
    }
    assert ends == naive
    for face, corner in zip(edges.face, edges.corner):  # both faces agree on the end points
        for j in range(2):
            assert ids[f[face[0], corner[0, j]]] == ids[f[face[1], corner[1, j]]]


def test_open_and_non_manifold_edges_are_always_active():
    p = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], np.float32)
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    edges = mesh_edges(p, fan)
    assert edges.always.all() and len(edges) == 7


def test_degenerate_faces_have_no_edges():
    p = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    assert len(mesh_edges(p, np.array([[0, 1, 2]]))) == 0


def test_points_far_away_join_nothing():
    """An unused vertex, and a triangle, 10⁷ times as far away as the sheet is wide: its own borders stay as they are."""
    p = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    far = np.array([[1e7, 1e7, 0], [-1e7, 1e7, 0], [0, -1e7, 0]], np.float32)
    assert mesh_edges(p, faces).always.sum() == 4
    assert mesh_edges(np.concatenate([p, far]), faces).always.sum() == 4
    assert mesh_edges(np.concatenate([p, far]), np.concatenate([faces, [[4, 5, 6]]])).always.sum() == 7


def test_a_seam_off_by_rounding_is_none():
    mesh = uv_sphere(12, seam=True)
    p, f = buffers(mesh)
    off = p * (1 + 2e-7 * np.random.default_rng(0).uniform(-1, 1, p.shape)).astype(np.float32)
    assert not mesh_edges(off, f).always.any()


def test_borders_that_coincide():
    """Two sheets that share a border, one of them off by rounding, beside a ground that reaches to the horizon."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    other = square[[0, 1]] * (1 + 3e-7), np.array([[1, 0, 1], [0, 0, 1]], float)
    lifted = square + np.array([0, 0, 2e-3])
    ground = 1e6 * (square - 0.5)
    ends = np.concatenate(
        [np.stack([s, np.roll(s, -1, 0)], 1) for s in (square, np.concatenate(other), lifted, ground)]
    )
    found = partners(ends)
    assert found[0, 0] == 4 and found[4, 0] == 0
    rest = [i for i in range(len(ends)) if i not in (0, 4)]
    assert (found[rest] == np.array(rest)[:, None]).all()
