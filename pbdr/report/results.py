"""Writes what a finished run recovered: images, meshes, textures, the scene, a summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np
from scipy.spatial import cKDTree

from ..geometry.redistance import zero_crossings
from ..scene.keys import is_distance_grid, is_positions, is_transform, numbers, picture
from ..scene.load import load_file
from ..scene.shapes import translucent_shapes
from ..scene.targets import render_targets
from .figures import save_error_map, save_image, save_mesh_pair
from .recovered_scene import write_scene


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; the peak is 1, values are clipped to [0, 1]."""
    error = np.mean((np.clip(image, 0, 1) - np.clip(target, 0, 1)) ** 2)
    return float(10 * np.log10(1 / max(error, 1e-12)))


def write_results(experiment: Any, problem: Any, held_out: list[Any], folder: Path) -> None:
    """Fill ``images/``, ``meshes/``, ``textures/``, ``scene.xml`` and ``summary.json``."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    start = load_file(experiment.path(experiment.scene))
    reference = load_file(experiment.path(experiment.targets.scene)) if experiment.targets.scene else None
    lamps = [experiment.lighting(mi.traverse(scene)) for scene in (start, reference) if scene is not None]
    lamps += [problem.lighting] if problem.lighting is not None else []
    settings = experiment.light_paths
    more = 4 if translucent_shapes(problem.scene) else 1  # samples: entry points of light add noise
    summary: dict[str, Any] = {"views": [], "parameters": {}}
    # Where the cameras are those of the scene file, they may be what was looked for.
    own = [] if experiment.views.count else list(start.sensors())
    for name, light, sensor, first, target in _pictures(experiment, problem, held_out, own):
        for lighting in lamps:
            lighting.turn_on(light)
        if target is None:
            if reference is None:
                continue
            (target,) = render_targets(reference, [sensor], 256 * more, settings, None)
        (initial,) = render_targets(start, [first], 64 * more, settings, None)
        (final,) = render_targets(problem.scene, [sensor], 128 * more, settings, None)
        for kind, image in (("target", target), ("initial", initial), ("recovered", final)):
            save_image(images / f"{name}-{kind}.png", image)
        save_error_map(images / f"{name}-error.png", final, target)
        mi.Bitmap(final).write(str(images / f"{name}-recovered.exr"))
        summary["views"].append({"name": name, "psnr": psnr(final, target), "psnr_initial": psnr(initial, target)})
    for lighting in lamps:
        lighting.turn_on(None)
    _write_parameters(experiment, problem, start, reference, folder, summary)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))


def _pictures(experiment, problem, held_out, own):
    """(name, illumination, sensor, sensor of the start, target or ``None``) of every picture that is judged.

    What was optimized; held-out views in the same illuminations; held-out illuminations of views that were optimized.
    """
    lit = problem.lit or [None] * len(problem.sensors)
    count = len(problem.sensors) // len(experiment.lit)
    for k, (light, sensor, target) in enumerate(zip(lit, problem.sensors, problem.targets)):
        name = f"view-{k % count:02d}" + (f"-{light}" if light else "")
        yield name, light, sensor, own[k % count] if own else sensor, np.array(target)
    for light in experiment.lit:
        for k, sensor in enumerate(held_out):
            yield f"held-out-{k:02d}" + (f"-{light}" if light else ""), light, sensor, sensor, None
    for light in (x.name for x in experiment.lights if x.held_out):
        for k in range(min(count, max(1, len(held_out)))):
            yield (
                f"held-out-light-{light}-{k:02d}",
                light,
                problem.sensors[k],
                own[k] if own else problem.sensors[k],
                None,
            )


def _write_parameters(experiment, problem, start, reference, folder, summary) -> None:
    before, truth = mi.traverse(start), mi.traverse(reference) if reference is not None else {}
    meshes: dict[str, str] = {}
    for key, value in problem.collection.values().items():
        other = experiment.compare.get(key, key)
        true = truth[other] if other in truth else None
        if is_positions(key):
            entry = _mesh(key, other, value, problem, before, truth, folder, meshes)
        elif is_distance_grid(key, before[key]):
            entry = _field(key, other, value, before, truth, folder)
        elif is_transform(before[key]):
            entry = _pose(value, numbers(before[key]), None if true is None else numbers(true))
        else:
            if key.rsplit(".", 1)[-1].startswith(("vertex_", "face_")):
                _write_mesh(key.rsplit(".", 1)[0], problem, folder, meshes)
            entry = _map(key, value, picture(before, key), None if true is None else picture(truth, other), folder)
            if value.ndim == 3 and true is not None:
                entry.update(_surface_errors(key, value, before, problem.params, truth, np.array(true)))
        summary["parameters"][key] = entry
    np.savez(folder / "values.npz", **problem.collection.values())
    summary["not in scene.xml"] = write_scene(experiment, problem, meshes, folder)


def _mesh(key, other, value, problem, before, truth, folder, meshes) -> dict[str, float]:
    owner = key.rsplit(".", 1)[0]
    _write_mesh(owner, problem, folder, meshes)
    faces = np.array(problem.params[owner + ".faces"]).reshape(-1, 3)
    points, initial = value.reshape(-1, 3), np.array(before[key]).reshape(-1, 3)
    drawn, entry = [("initial", initial, faces), ("recovered", points, faces)], {}
    if other in truth:
        true_points = np.array(truth[other]).reshape(-1, 3)
        true_faces = np.array(truth[other.rsplit(".", 1)[0] + ".faces"]).reshape(-1, 3)
        drawn.append(("target", true_points, true_faces))
        entry["chamfer_initial"] = chamfer(initial, faces, true_points, true_faces)
        entry["chamfer"] = chamfer(points, faces, true_points, true_faces)
    save_mesh_pair(folder / "images" / f"mesh-{key.replace('.', '-')}.png", drawn)
    return entry


def _write_mesh(owner: str, problem: Any, folder: Path, meshes: dict[str, str]) -> None:
    """The mesh of that name, with all attributes, if there is one."""
    for mesh in (s for s in problem.scene.shapes() if s.is_mesh() and s.id() == owner):
        (folder / "meshes").mkdir(exist_ok=True)
        meshes[owner] = f"meshes/{owner}.ply"
        mesh.write_ply(str(folder / meshes[owner]))


def _field(key, other, value, before, truth, folder) -> dict[str, float]:
    """A distance field: Chamfer distances in voxels."""
    (folder / "volumes").mkdir(exist_ok=True)
    mi.VolumeGrid(value.astype(np.float32)).write(str(folder / "volumes" / f"{key.replace('.', '-')}.vol"))
    if other not in truth:
        return {}
    cells = max(value.shape) - 1
    true = zero_crossings(np.array(truth[other])[..., 0])
    points = {"chamfer_initial_voxels": np.array(before[key]), "chamfer_voxels": value}
    return {name: cells * _apart(zero_crossings(x[..., 0]), true) for name, x in points.items()}


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of the mean nearest distances, both ways."""
    if not len(a) or not len(b):
        return float("inf")
    return float(0.5 * (cKDTree(a).query(b)[0].mean() + cKDTree(b).query(a)[0].mean()))


def _pose(value: np.ndarray, before: np.ndarray, true: np.ndarray | None) -> dict[str, float]:
    """Angles in degrees and distances in scene units, to the start pose or to the true one."""
    pairs = {"": (value, true), "_initial": (before, true)} if true is not None else {"_moved": (value, before)}
    entry = {}
    for name, (a, b) in pairs.items():
        turns = [m[:3, :3] / np.linalg.norm(m[:3, :3], axis=0) for m in (a, b)]
        cos = 0.5 * (np.trace(turns[0].T @ turns[1]) - 1)
        entry["rotation_degrees" + name] = float(np.degrees(np.arccos(np.clip(cos, -1, 1))))
        entry["translation" + name] = float(np.linalg.norm(a[:3, 3] - b[:3, 3]))
    return entry


def _map(key, value, before, true, folder) -> dict[str, float]:
    stem, entry = key.replace(".", "-"), {}
    if value.ndim == 3:
        (folder / "textures").mkdir(exist_ok=True)
        mi.Bitmap(value.astype(np.float32)).write(str(folder / "textures" / f"{stem}.exr"))
        pictures = [("initial", before), ("recovered", value), *([("target", true)] if true is not None else [])]
        for kind, picture in pictures:
            shown = np.kron(picture, np.ones((max(1, 128 // picture.shape[0]),) * 2 + (1,)))
            save_image(folder / "images" / f"map-{stem}-{kind}.png", shown)
    if true is not None and true.shape == value.shape:
        entry["mean_error"] = float(np.abs(value - true).mean())
        entry["mean_error_initial"] = float(np.abs(before - true).mean())
    entry["mean"] = float(value.mean())
    return entry


def _surface_errors(key: str, value: np.ndarray, before: Any, params: Any, truth: Any, true: np.ndarray) -> dict:
    """Mean absolute map error at nearest surface points: a map may slide along a recovered shape."""
    owner = key.split(".", 1)[0]
    if f"{owner}.vertex_texcoords" not in truth or f"{owner}.vertex_texcoords" not in params:
        return {}
    true_points, true_values = _map_on_surface(truth, owner, true, 100_000)
    tree = cKDTree(true_points)
    errors = {}
    for name, scene, data in (
        ("surface_error_initial", before, np.array(before[key])),
        ("surface_error", params, value),
    ):
        points, values = _map_on_surface(scene, owner, data, 20_000)
        errors[name] = float(np.abs(values - true_values[tree.query(points)[1]]).mean())
    return errors


def _map_on_surface(scene: Any, owner: str, data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random surface points of a mesh and the texel that belongs to each."""
    import trimesh

    mesh = trimesh.Trimesh(
        np.array(scene[owner + ".vertex_positions"]).reshape(-1, 3).astype(np.float64),
        np.array(scene[owner + ".faces"]).reshape(-1, 3),
        process=False,
    )
    uv = np.array(scene[owner + ".vertex_texcoords"]).reshape(-1, 2)
    points, face = trimesh.sample.sample_surface(mesh, count, seed=5)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], points)
    at = (uv[mesh.faces[face]] * weights[:, :, None]).sum(1)
    size = np.array([data.shape[1], data.shape[0]])
    x, y = np.clip((at * size).astype(int), 0, size - 1).T
    return points, data[y, x]


def chamfer(va: np.ndarray, fa: np.ndarray, vb: np.ndarray, fb: np.ndarray, count: int = 4000) -> float:
    """Symmetric mean distance between surface samples and surfaces, in scene units."""
    import trimesh

    a, b = (trimesh.Trimesh(v.astype(np.float64), f, process=False) for v, f in ((va, fa), (vb, fb)))
    return 0.5 * (_one_way(a, b, count, 0) + _one_way(b, a, count, 1))


def _one_way(a: Any, b: Any, count: int, seed: int) -> float:
    """Mean distance from samples on ``a`` to ``b`` (dense samples with their tangent planes)."""
    import trimesh

    points, _ = trimesh.sample.sample_surface(a, count, seed=seed)
    dense, face = trimesh.sample.sample_surface(b, 50 * count, seed=seed + 2)
    distance, index = cKDTree(dense).query(points)
    plane = np.abs(((points - dense[index]) * b.face_normals[face[index]]).sum(1))
    spacing = np.sqrt(b.area / len(dense))
    # Closer than the sample spacing, the plane of the nearest sample is the better measure.
    return float(np.where(distance < 3 * spacing, plane, distance).mean())
