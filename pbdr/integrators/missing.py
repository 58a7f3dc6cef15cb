"""What a derivative misses in a scene, said once: discontinuities that are not sampled, and what Mitsuba itself gets wrong."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..bsdfs.lobes import PERTURBING, contains
from ..core.errors import warn_once
from ..core.recording import recording
from ..geometry.mesh_topology import has_face_attributes
from ..scene.attached import Parameter
from ..scene.instances import all_shapes, moves, parts
from ..scene.keys import is_positions
from ..scene.lights import lights_move
from ..scene.piercing import Pair, piercing
from ..scene.sensors import Camera, cameras, sensor_moves
from ..scene.shapes import (
    distance_grids,
    has_rim,
    interpolates_normals,
    jumps_between_faces,
    shapes_move,
    textures_of,
    translucent_shapes,
    varying_textures,
)
from .capabilities import plugin_name
from .jumps.cones import is_hard
from .jumps.levels import Levels, is_nearest
from .visibility import blocks


def warn_of_coarse_mirrors(found: list[Parameter]) -> None:
    """Say once that a border is missing which mirrors and smooth glass have on meshes of few faces that move.

    Args:
        found: the attached parameters.
    """
    for p in found:
        if not (is_positions(p.key) or p.name == "vertex_normals") or not isinstance(p.node, mi.Shape):
            continue
        bsdf = p.node.bsdf()
        if bsdf is not None and mi.has_flag(bsdf.flags(), mi.BSDFFlags.Delta) and has_rim(p.node):
            warn_once(
                f"Parameter '{p.key}': of a mirror or smooth glass with few faces, shading normals send light below the plane of"
                " a face; the derivative by the motion of that border is missing. Use a finer mesh, or face_normals = true."
            )


def warn_of_media(integrator: Any, scene: Any) -> None:
    """Say once that participating media are left out, where a scene has some."""
    shape = next((s for s in all_shapes(scene) if s.is_medium_transition()), None)
    if shape is not None:
        warn_once(
            f"{plugin_name(integrator)} leaves out participating media, as Mitsuba's path does: shape '{shape.id()}' has"
            " one, of which only its surface is rendered. Use volpath or prbvolpath."
        )


def warn_of_missing_terms(scene: Any, max_depth: int, sensor_moving: bool) -> None:
    """Name, once each, the boundary terms that `prb_edge` cannot sample and this scene may have."""
    flags = [shape.bsdf().flags() for shape in all_shapes(scene) if shape.bsdf() is not None]
    dirac = mi.BSDFFlags.DeltaReflection, mi.BSDFFlags.DeltaTransmission
    delta = any(mi.has_flag(f, kind) for f in flags for kind in dirac)
    rough = any(mi.has_flag(f, mi.BSDFFlags.Smooth) for f in flags)
    moving = shapes_move(scene)
    point_like = any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters())
    if delta and point_like and (moving or sensor_moving or lights_move(scene)):
        warn_once(
            "prb_edge: shadows of point-like lights that the camera sees in mirrors or through smooth glass have no derivative:"
            " use small area lights."
        )
    if point_like and any(_bends_normals(p.shape) for p in parts(scene) if p.moves):
        warn_once(
            "prb_edge: on meshes with interpolated normals and a bump or normal map, the border between light and shadow of point,"
            " spot, directional and projector lights is not followed exactly: derivatives have been found 4 % too small. Use area"
            " lights or an envmap."
        )
    if delta and rough and max_depth >= 3 and moving:
        warn_once(
            "prb_edge: outlines that rough surfaces see in mirrors or through smooth glass (caustics, and shadows"
            " cast through glass) are not sampled; those that the camera sees there are."
        )


def _bends_normals(shape: Any) -> bool:
    return shape.bsdf() is not None and interpolates_normals(shape) and contains(shape.bsdf(), PERTURBING)


def warn_of_meetings(scene: Any, pairs: list[Pair], max_depth: int, hide_emitters: bool) -> None:
    """Say once where `prb_edge` does not follow the border between shapes that pass through each other."""
    translucent = {s.id() for s in translucent_shapes(scene)}
    distant = [p for p in pairs if _is_far(scene, p)]
    if distant:
        warn_once(
            f"prb_edge: {_through(distant)} at coordinates {FAR} times their size, where rays start a part of it away from surfaces:"
            " the derivative beside their border is off by some percent. Move the scene to the origin."
        )
    shallow = [p for p in pairs if not p.deep]
    if shallow:
        warn_once(
            f"prb_edge: {_through(shallow)} by less than a five-hundredth of their edges, too little for the border between them to"
            " be found, and the derivative of its motion is missing. Let them touch exactly, or overlap by more."
        )
    inside = [p for p in pairs if translucent & set(p.names)]
    if inside:
        warn_once(
            f"prb_edge: {_through(inside)}. Where light enters a translucent object it jumps at the border between them, and the"
            " derivative of that is missing, which may be a large part. Let shapes touch, or keep them apart."
        )
    lit = [p for p in pairs if p.shines]
    if lit and (hide_emitters or max_depth != 1):
        hidden = " (also where the camera looks through the light, by hide_emitters)" if hide_emitters else ""
        warn_once(
            f"prb_edge: {_through(lit)}, one of which is a light. Where it ends there for what it lights, the derivative of that"
            f" border's motion{hidden} is missing, which may be a large part. Let lights end before other surfaces."
        )
    flags = [s.bsdf().flags() for s in all_shapes(scene) if s.bsdf() is not None]
    if pairs and (not 0 <= max_depth <= 2 or any(mi.has_flag(f, mi.BSDFFlags.Delta) for f in flags)):
        warn_once(
            f"prb_edge: {_through(pairs)}. The border between them is followed where the camera sees it, not as other surfaces and"
            " mirrors see it: a small part of the derivative may be missing. Let shapes touch, or join them."
        )


def _is_far(scene: Any, pair: Pair) -> bool:
    boxes = [s.bbox() for s in scene.shapes() if s.id() in pair.names]
    size, box = min(((float(dr.norm(b.extents())), b) for b in boxes), key=lambda x: x[0])
    return max(float(dr.max(dr.abs(corner))) for corner in (box.min, box.max)) > FAR * size


def _through(pairs: list[Pair]) -> str:
    (a, b), more = pairs[0].names, f" (and {len(pairs) - 1} more pairs)" if len(pairs) > 1 else ""
    if a == b:
        return f"shapes within instance '{a}' pass through each other{more}"
    return f"shapes '{a}' and '{b}' pass through each other{more}"


def warn_of_unfollowed_terms(scene: Any, hide_emitters: bool = False) -> None:
    """Name, once each, the discontinuities that `prb_reparam` does not follow and this scene has."""
    lamp = next((s for s in scene.shapes() if s.is_emitter()), None)
    if hide_emitters and lamp is not None:
        warn_once(
            f"prb_reparam: outlines behind a light that hide_emitters hides ('{lamp.id()}') are missing from the derivative. prb_edge"
            " samples them."
        )
    if any(mi.has_flag(e.flags(), mi.EmitterFlags.Delta) for e in scene.emitters()):
        warn_once(
            "prb_reparam: the shadows of point, spot, directional and projector lights have borders that no field of"
            " directions follows: their motion is missing from the derivative. prb_edge samples them."
        )
    if any(s.bsdf() is not None and mi.has_flag(s.bsdf().flags(), mi.BSDFFlags.Delta) for s in all_shapes(scene)):
        warn_once(
            "prb_reparam: outlines seen in mirrors or through smooth glass are missing from the derivative. prb_edge"
            " samples them."
        )
    _warn_of_large_spheres(scene)
    pairs = piercing(scene)
    if pairs:
        warn_once(
            f"prb_reparam: {_through(pairs)}, and the derivative of the border between them is missing. prb_edge samples it where"
            " the camera sees it."
        )
    with dr.resume_grad():
        grids = any(dr.grad_enabled(g) for g in distance_grids(scene))
    if grids:
        warn_once(
            "prb_reparam: the shading normals of an sdfgrid do not follow its grid in Mitsuba 3.9.1: outlines and positions are"
            " differentiated, how the surface is shaded is not. A grid that moves as a whole loses little, single values a third."
        )
    curve = next((s for s in scene.shapes() if s.class_name() in ("LinearCurve", "BSplineCurve")), None)
    if curve is not None:
        warn_once(
            f"prb_reparam: no field of directions follows the ends of curves (shape '{curve.id()}'): the derivative of what"
            " moves there or behind them is missing, that of radii has been found up to 4 % too small. Let curves end where"
            " nobody sees it."
        )
    if len(Levels(scene, lambda level, shapes: True)) or any(
        s.is_mesh() and (has_face_attributes(s) or jumps_between_faces(s)) for s in all_shapes(scene)
    ):
        warn_once(
            "prb_reparam: jumps inside surfaces (checkerboard, nearest-neighbour bitmaps, colours of faces, meshes without texture coordinates that need some, bump and normal"
            " maps that turn normals over, normals of vertices that do on meshes of few faces) are followed only where all"
            " around moves alike: the derivative may be wrong. prb_edge samples them."
        )


def _warn_of_large_spheres(scene: Any) -> None:
    sizes = {s: float(dr.norm(s.bbox().extents())) for s in scene.shapes()}
    smallest = min((x for s, x in sizes.items() if moves(s)), default=0)
    for s, x in sizes.items():
        if s.class_name() == "Sphere" and x > LARGE * smallest > 0:
            warn_once(
                f"prb_reparam: sphere '{s.id()}' is more than {LARGE} times as large as what moves; beside it single samples may be"
                " so far off that the derivative is of no use. Take a rectangle or a smaller sphere, or prb_edge."
            )


def warn_of_alpha(scene: Any, sensor: Any) -> None:
    """Say once that `prb_reparam` has no derivative of alpha by the pattern of a mask that moves."""
    if not mi.has_flag(sensor.film().flags(), mi.FilmFlags.Alpha):
        return
    for shape in all_shapes(scene):
        bsdf = shape.bsdf()
        if bsdf is not None and mi.has_flag(bsdf.flags(), mi.BSDFFlags.Null) and varying_textures(bsdf):
            warn_once(
                f"prb_reparam: what alpha owes to the pattern of material '{bsdf.id()}', parts of which are transparent, where it"
                " moves is missing from the derivative. prb_edge has it."
            )


def warn_of_what_moves(integrator: Any, scene: Any, sensor: Any) -> None:
    """What is missing if shapes, the sensor or lights move; the sensor's planes are looked at in the first derivative alone."""
    moving = shapes_move(scene) or sensor_moves(sensor)
    if moving or lights_move(scene):
        warn_of_projections(integrator, scene)
    if moving and id(scene) not in integrator.seen_scenes:
        warn_of_overlapping_texels(scene)
        warn_of_size(scene)
        if sensor.class_name() in integrator.capabilities.sensors:
            warn_of_clipping(integrator, scene, sensor)


def warn_of_projections(integrator: Any, scene: Any) -> None:
    """Say once that borders of light that a projector or a textured spot casts are not sampled, where anything moves."""
    name = plugin_name(integrator)
    for emitter in scene.emitters():
        kind = emitter.class_name()
        if kind in ("Projector", "SpotLight"):
            if any(x.class_name() == "Checkerboard" or is_nearest(x) for x in varying_textures(emitter)):
                what = "projector" if kind == "Projector" else "spot"
                warn_once(
                    f"{name}: the texture of {what} '{emitter.id()}' jumps, and the motion of these jumps on what it lights is"
                    " missing from the derivative. Use a bilinear bitmap."
                )
        if kind == "Projector" and not _fades(emitter):
            warn_once(
                f"{name}: the border of the image of projector '{emitter.id()}' on what it lights is a discontinuity whose motion"
                " is missing from the derivative. Let the image fade to black at its border."
            )
        elif kind == "SpotLight":
            if not integrator.capabilities.delta_lights and is_hard(emitter):
                warn_once(
                    f"{name}: the border of the light of spot '{emitter.id()}' (beam_width = cutoff_angle) is a discontinuity whose"
                    " motion is missing from the derivative. Give it a falloff, or use prb_edge."
                )


def _fades(projector: Any) -> bool:
    """Are the outermost texels of its image black? Inside of what `dr.freeze` records nothing can be looked at: it was before."""
    params = mi.traverse(projector)
    if recording() or "irradiance.data" not in params:
        return recording()
    texels = np.array(dr.detach(params["irradiance.data"]))
    return min(texels.shape[:2]) > 2 and not (texels[[0, -1]].any() or texels[:, [0, -1]].any())


def warn_of_overlapping_texels(scene: Any) -> None:
    """Say once that a mesh shines with a texture that it shows several times: Mitsuba 3.9.1 samples such lights wrongly."""
    for shape in scene.shapes():
        if not shape.is_emitter() or not shape.is_mesh():
            continue
        params = mi.traverse(shape)
        if "vertex_texcoords" not in params:
            continue
        if not any(t in mi.traverse(shape.emitter()).hierarchy for t in textures_of(shape)):
            continue
        faces = dr.detach(shape.faces_buffer()).numpy().reshape(-1, 3)
        uv = dr.detach(params["vertex_texcoords"]).numpy().reshape(-1, 2)[faces]
        a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        if 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() > 1.01:
            warn_once(
                f"Light '{shape.id()}': its faces show the same part of its texture several times. Mitsuba samples such a light"
                " wrongly, image and derivative are off. Unwrap the mesh so that texture coordinates do not overlap."
            )


def warn_of_clipping(integrator: Any, scene: Any, sensor: Any) -> None:
    """Say once that the near or the far plane of a camera cuts what is seen: the border of the cut is not sampled."""
    if recording():
        return
    for camera in cameras(sensor):
        near, far = camera.near, float(mi.traverse(camera.sensor)["far_clip"])
        for which, cut in (("near_clip", _before(scene, camera, near)), ("far_clip", _beyond(scene, camera, far))):
            if cut:
                warn_once(
                    f"{plugin_name(integrator)}: {which} of sensor '{camera.sensor.id()}' cuts what it would see. The border of the"
                    " cut is a discontinuity whose motion is missing from the derivative. Change the plane."
                )


GRID = 24  # rays along a side of the film that look for what a plane cuts off


def _rays(camera: Camera) -> Any:
    with dr.suspend_grad():
        i = dr.arange(mi.UInt32, GRID * GRID)
        uv = mi.Point2f(mi.Float(i % GRID) + 0.5, mi.Float(i // GRID) + 0.5) / GRID
        pos = camera.offset + uv * mi.Vector2f(camera.size)
        return camera.ray(pos, camera.sensor.shutter_open(), 0.5 if mi.is_spectral else 0, mi.Point2f(0.5))[0]


def _before(scene: Any, camera: Camera, near: float) -> bool:
    """Does anything lie between the viewpoint and the near plane?"""
    ray = _rays(camera)
    ahead = dr.norm(ray.o - camera.origin)
    origin = mi.Point3f(camera.origin) if camera.is_point else ray.o - ray.d * near
    back = mi.Ray3f(origin, ray.d, ray.time, ray.wavelengths)
    back.maxt = ahead if camera.is_point else mi.Float(near)
    return bool(dr.any(blocks(scene, back, True)))


def _beyond(scene: Any, camera: Camera, far: float) -> bool:
    """Does anything lie beyond the far plane?"""
    ray = _rays(camera)
    length = mi.Float(ray.maxt)
    beyond = mi.Ray3f(ray(length), ray.d, ray.time, ray.wavelengths)
    return bool(dr.any(dr.isfinite(length) & blocks(scene, beyond, True)))


FAR = 300  # coordinates, relative to the size of shapes
LARGE = 500  # extent of a sphere, relative to what moves, from which on its horizon is lost in rounding
# Extent of a scene, below which Mitsuba's distance between a ray's origin and its surface is a part of it.
SMALLEST = 5e-4
FINE = 3e-3  # extent of a shape that moves, below which that distance is more than some percent of it


def warn_of_size(scene: Any) -> None:
    """Say once that a scene is so small that rays start beside its surfaces."""
    extent = float(dr.norm(scene.bbox().extents()))
    if scene.shapes() and 0 < extent < SMALLEST:
        warn_once(
            f"The whole scene is {extent:.1g} units large: Mitsuba starts rays up to 9e-5 units away from surfaces, so that shadows"
            " and outlines are displaced. Scale it up."
        )
        return
    for shape in scene.shapes():
        size = float(dr.norm(shape.bbox().extents()))
        if moves(shape) and 0 < size < FINE:
            warn_once(
                f"Shape '{shape.id()}' is {size:.1g} units large, and moves: Mitsuba starts rays up to 9e-5 units away from surfaces, so"
                " that its shadows and outlines are displaced, and derivatives off by several percent. Scale the scene up."
            )
            return
