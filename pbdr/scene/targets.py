"""Target images: read from files, or rendered once from a reference scene and cached by content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np
from PIL import ExifTags, Image

from ..core.errors import InputError
from .load import contents
from .shapes import translucent_shapes

# Files that Mitsuba's plugins read.
READ = {".xml", ".ply", ".obj", ".serialized", ".exr", ".hdr", ".rgbe", ".png", ".jpg", ".jpeg", ".bmp", ".tga", ".pfm"}
READ |= {".ppm", ".vol", ".spd", ".bsdf", ".txt"}
# Modes of Pillow with 8 bits a channel; it would cut others to that.
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def read_image(path: Path, shape: tuple[int, ...], background: tuple[float, ...] | None = None) -> np.ndarray:
    """A linear RGB image of the given [height, width, 3] shape.

    Integer formats hold sRGB values; the orientation in EXIF is applied. What is (partly) transparent is put before
    ``background``, in linear light.

    Args:
        background: linear RGB behind transparent pixels. ``None``: floating-point images (EXR), whose colours already are
            what is seen before black, stay as they are; transparent pixels of other formats are refused, since nothing
            tells what was behind them.

    Raises:
        InputError: unreadable, another size, transparent without a ``background``, or not finite.
    """
    data, premultiplied = _read(path)
    turn = _orientation(path)
    data = _turned(data, turn)
    if data.shape[:2] != shape[:2]:
        turned = f" after the turn that its EXIF orientation ({turn}) asks for" if turn > 1 else ""
        raise InputError(
            f"{path}: the target is {data.shape[1]}x{data.shape[0]}{turned}, its view {shape[1]}x{shape[0]}."
        )
    if not np.isfinite(data).all():
        raise InputError(f"{path}: the target has {int((~np.isfinite(data)).sum())} values that are NaN or infinite.")
    colour, alpha = data[..., :3], data[..., 3:]
    if (alpha < 1).any() and not (premultiplied and background is None):
        if background is None:
            raise InputError(
                f"{path}: {100 * (alpha < 1).mean():.0f} % of the target's pixels are transparent, where such a file holds"
                " the colours of an old background, if any. Say what is behind them, as linear RGB: [targets] background ="
                " [0, 0, 0] for black, what a scene without a sky shows; or save the image without alpha."
            )
        colour = (colour if premultiplied else colour * alpha) + np.asarray(background, np.float32) * (1 - alpha)
    return np.ascontiguousarray(colour, np.float32)


def _read(path: Path) -> tuple[np.ndarray, bool]:
    """Linear RGBA, and whether colours are multiplied by alpha."""
    try:
        bitmap = mi.Bitmap(str(path))
        rgba = bitmap.convert(mi.Bitmap.PixelFormat.RGBA, mi.Struct.Type.Float32, False)
        return np.array(rgba), bool(bitmap.premultiplied_alpha())
    except RuntimeError as error:
        said = " ".join(str(error).split())
    try:  # WEBP, TIFF, ...
        with Image.open(path) as image:
            if image.mode not in EIGHT_BITS:
                raise InputError(f"{path}: Mitsuba cannot read this image ({said}); save it as PNG or EXR.")
            value = np.asarray(image.convert("RGBA"), np.float32) / 255
    except OSError:
        raise InputError(f"{path}: not an image that Mitsuba can read ({said})") from None
    value[..., :3] = np.where(
        value[..., :3] <= 0.04045, value[..., :3] / 12.92, ((value[..., :3] + 0.055) / 1.055) ** 2.4
    )
    return value, False


def _orientation(path: Path) -> int:
    """The orientation of a photograph (1 to 8) by its EXIF tag; 1 where there is none."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError):  # no format of photographs
        return 1


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright image of one that was stored in an EXIF ``orientation``."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def content_key(scene_file: Path, *facts: Any) -> str:
    """Hash of a scene file, everything that it reads or that lies beside it, and the render settings."""
    digest = hashlib.sha256(repr(facts).encode())
    for piece in contents(scene_file):
        digest.update(piece)
    for file in sorted(scene_file.parent.rglob("*")):
        if file.is_file() and file.suffix.lower() in READ:
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
