"""Writes what a finished run recovered: images, meshes, textures, the scene, a summary."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np

from ..scene.keys import is_positions
from ..scene.load import load_file
from ..scene.targets import render_targets
from .figures import save_error_map, save_image, save_mesh_pair


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
    depth = int(experiment.integrator.get("max_depth", 6))
    summary: dict[str, Any] = {"views": [], "parameters": {}}
    views = [(f"view-{k:02d}", s, np.array(t)) for k, (s, t) in enumerate(zip(problem.sensors, problem.targets))]
    if reference is not None and held_out:
        extra = render_targets(reference, held_out, 256, depth, None)
        views += [(f"held-out-{k:02d}", s, t) for k, (s, t) in enumerate(zip(held_out, extra))]
    for name, sensor, target in views:
        (initial,) = render_targets(start, [sensor], 64, depth, None)
        (final,) = render_targets(problem.scene, [sensor], 128, depth, None)
        for kind, image in (("target", target), ("initial", initial), ("recovered", final)):
            save_image(images / f"{name}-{kind}.png", image)
        save_error_map(images / f"{name}-error.png", final, target)
        mi.Bitmap(final).write(str(images / f"{name}-recovered.exr"))
        summary["views"].append({"name": name, "psnr": psnr(final, target), "psnr_initial": psnr(initial, target)})
    _write_parameters(experiment, problem, start, reference, folder, summary)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))


def _write_parameters(experiment, problem, start, reference, folder, summary) -> None:
    before, truth = mi.traverse(start), mi.traverse(reference) if reference is not None else {}
    replaced: dict[str, str] = {}
    for key, value in problem.collection.values().items():
        other = experiment.compare.get(key, key)
        entry: dict[str, Any] = {}
        stem = key.replace(".", "-")
        if is_positions(key):
            (folder / "meshes").mkdir(exist_ok=True)
            owner = key.rsplit(".", 1)[0]
            mesh = next(s for s in problem.scene.shapes() if s.id() == owner or (s.is_mesh() and owner in s.id()))
            path = folder / "meshes" / f"{owner}.ply"
            mesh.write_ply(str(path))
            replaced[owner] = f"meshes/{path.name}"
            faces = np.array(problem.params[owner + ".faces"]).reshape(-1, 3)
            points = value.reshape(-1, 3)
            initial = np.array(before[key]).reshape(-1, 3)
            meshes = [("initial", initial, faces), ("recovered", points, faces)]
            if other in truth:
                true_points = np.array(truth[other]).reshape(-1, 3)
                true_faces = np.array(truth[other.rsplit(".", 1)[0] + ".faces"]).reshape(-1, 3)
                meshes.append(("target", true_points, true_faces))
                entry["chamfer_initial"] = chamfer(initial, faces, true_points, true_faces)
                entry["chamfer"] = chamfer(points, faces, true_points, true_faces)
            save_mesh_pair(folder / "images" / f"mesh-{stem}.png", meshes)
        else:
            if value.ndim == 3:
                (folder / "textures").mkdir(exist_ok=True)
                mi.Bitmap(value.astype(np.float32)).write(str(folder / "textures" / f"{stem}.exr"))
                pictures = [("initial", np.array(before[key])), ("recovered", value)]
                if other in truth:
                    pictures.append(("target", np.array(truth[other])))
                for kind, picture in pictures:
                    shown = np.kron(picture, np.ones((max(1, 128 // picture.shape[0]),) * 2 + (1,)))
                    save_image(folder / "images" / f"map-{stem}-{kind}.png", shown)
            if other in truth:
                true = np.array(truth[other])
                if true.shape == value.shape:
                    entry["mean_error"] = float(np.abs(value - true).mean())
                    entry["mean_error_initial"] = float(np.abs(np.array(before[key]) - true).mean())
                if value.ndim == 3:
                    entry.update(_surface_errors(key, value, before, problem.params, truth, true))
            entry["mean"] = float(value.mean())
        summary["parameters"][key] = entry
    _write_scene(experiment, problem, replaced, folder)


def _write_scene(experiment, problem, meshes: dict[str, str], folder: Path) -> None:
    """``scene.xml``: the input scene with recovered meshes and maps; plain Mitsuba loads it."""
    import xml.etree.ElementTree as ET

    source = experiment.path(experiment.scene)
    tree = ET.parse(source)
    values = problem.collection.values()
    for shape in tree.iter("shape"):
        if shape.get("id") in meshes:
            shape.set("type", "ply")
            _set_string(shape, "filename", meshes[shape.get("id")])
            for node in shape.findall("transform"):
                shape.remove(node)
    for key in values:
        owner, *_, slot, last = f"{key}".split(".") if key.count(".") >= 2 else (key, "", "")
        for holder in (e for e in tree.iter() if e.get("id") == owner):
            for texture in holder.iter("texture"):
                if texture.get("name") == slot and last == "data":
                    _set_string(texture, "filename", f"textures/{key.replace('.', '-')}.exr")
    for node in tree.iter("integrator"):
        node.set("type", "path")
    for node in tree.iter("string"):
        value = node.get("value", "")
        if node.get("name") == "filename" and not (folder / value).exists():
            original = Path(source).parent / value
            if original.is_file():
                (folder / "assets").mkdir(exist_ok=True)
                shutil.copy(original, folder / "assets" / original.name)
                node.set("value", f"assets/{original.name}")
    tree.write(folder / "scene.xml")


def _set_string(node, name: str, value: str) -> None:
    for child in node.findall("string"):
        if child.get("name") == name:
            child.set("value", value)
            return
    raise AssertionError(f"<{node.tag} id={node.get('id')}> has no string '{name}'")


def _surface_errors(key: str, value: np.ndarray, before: Any, params: Any, truth: Any, true: np.ndarray) -> dict:
    """Mean absolute map error at nearest surface points: a map may slide along a recovered shape."""
    owner = key.split(".", 1)[0]
    if f"{owner}.vertex_texcoords" not in truth or f"{owner}.vertex_texcoords" not in params:
        return {}
    from scipy.spatial import cKDTree

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
    from scipy.spatial import cKDTree

    points, _ = trimesh.sample.sample_surface(a, count, seed=seed)
    dense, face = trimesh.sample.sample_surface(b, 50 * count, seed=seed + 2)
    distance, index = cKDTree(dense).query(points)
    plane = np.abs(((points - dense[index]) * b.face_normals[face[index]]).sum(1))
    spacing = np.sqrt(b.area / len(dense))
    # Closer than the sample spacing, the plane of the nearest sample is the better measure.
    return float(np.where(distance < 3 * spacing, plane, distance).mean())
