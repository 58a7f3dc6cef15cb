"""Target images: read from files, or rendered once from a reference scene and cached by content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.errors import InputError
from .shapes import translucent_shapes


def read_image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A linear RGB image of the given [height, width, 3] shape.

    Raises:
        InputError: unreadable, another size, or not finite.
    """
    try:
        bitmap = mi.Bitmap(str(path)).convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.Float32, False)
    except RuntimeError as error:
        raise InputError(f"{path}: not an image that Mitsuba can read ({str(error).splitlines()[0]})") from None
    data = np.array(bitmap)
    if data.shape != shape:
        raise InputError(f"{path}: the target is {data.shape[1]}x{data.shape[0]}, its view {shape[1]}x{shape[0]}.")
    if not np.isfinite(data).all():
        raise InputError(f"{path}: the target has {int((~np.isfinite(data)).sum())} values that are NaN or infinite.")
    return data


def content_key(scene_file: Path, *facts: Any) -> str:
    """Hash of a scene file, everything beside it, and the render settings."""
    digest = hashlib.sha256(repr(facts).encode())
    for file in sorted(scene_file.parent.rglob("*")):
        if file.is_file() and file.suffix in {".xml", ".ply", ".obj", ".exr", ".hdr", ".png", ".jpg"}:
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def render_targets(
    scene: Any, sensors: list[Any], spp: int, settings: dict[str, Any], cache: Path | None
) -> list[np.ndarray]:
    """Reference renders; read back from ``cache`` (an .npz) if it exists.

    By the C++ path tracer, except for what it cannot render. ``settings``: its parameters.
    """
    if cache is not None and cache.exists():
        with np.load(cache) as stored:
            return [stored[f"v{k}"] for k in range(len(sensors))]
    integrator = mi.load_dict({"type": "prb_edge" if translucent_shapes(scene) else "path", **settings})
    images = []
    for k, sensor in enumerate(sensors):
        passes = max(1, spp // 256)
        parts = [
            np.array(mi.render(scene, sensor=sensor, integrator=integrator, spp=spp // passes, seed=7919 * (k + 1) + j))
            for j in range(passes)
        ]
        images.append(np.mean(parts, axis=0).astype(np.float32)[..., :3])
    dr.sync_thread()
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_suffix(".tmp.npz")
        np.savez(temporary, **{f"v{k}": x for k, x in enumerate(images)})
        temporary.replace(cache)
    return images
