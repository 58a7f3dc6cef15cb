import mitsuba as mi
import numpy as np

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
