"""Situations of sensors, films and reconstruction filters: what they see."""

from __future__ import annotations

from typing import Any

from .situations import SIZE, T, add, ball, camera, diffuse, film, stage

# What a sensor, a film or a filter sees: a colour, and an outline that moves.
SEEN = (("thing.bsdf.reflectance.value", "uniform"), ("thing.to_world", "translate_x"))


def seen(name: str, kind: str, plugins: str, sensor: Any, own: str = "", also: Any = SEEN, **more: Any) -> None:
    def build() -> dict:
        return stage(thing=ball(diffuse(0.6, 0.3, 0.2)), **sensor())

    add(name, kind, plugins, build, own, also=also, **more)


def lens(name: str, sensor: Any, own: str = "sensor.*", **more: Any) -> None:
    seen(name, "Sensor", name.split()[0], sensor, own, **more)


def register() -> None:
    lens("perspective", lambda: {"sensor": camera(principal_point_offset_x=0.05)}, core=True)
    lens("thinlens", lambda: {"sensor": camera("thinlens", aperture_radius=0.6, focus_distance=3.0)})
    view = T().look_at([0, 1.2, 5], [0, 0, 0], [0, 1, 0])
    lens("orthographic", lambda: {"sensor": camera("orthographic", to_world=view.scale(1.6))})
    lens("batch", lambda: {"sensor": _batch()}, own="sensor.*")
    one = film(1, filter="box", sample_border=False)
    towards = T().look_at([0, 1.2, 5], [0.6, 0.3, 0], [0, 1, 0])
    sampler = {"sampler": {"type": "multijitter"}}
    lens("radiancemeter", lambda: {"sensor": {"type": "radiancemeter", "to_world": towards, "film": one, **sampler}})
    patch = {"type": "rectangle", "to_world": T().look_at([0, 1.2, 3], [0, 0, 0], [0, 1, 0]).scale(0.3)}
    lens(
        "irradiancemeter",
        lambda: {
            "sensor": None,
            "patch": {**patch, "bsdf": diffuse(), "meter": {"type": "irradiancemeter", "film": one, **sampler}},
        },
        own="patch.to_world",
    )
    far = {"type": "distant", "direction": [0.2, -0.4, -1], "film": one, **sampler}
    lens("distant", lambda: {"sensor": far})
    lens("distant aimed", lambda: {"sensor": {**far, "target": [0.2, 0.1, 0]}})
    for pixels in ("rgb", "rgba", "luminance", "luminance_alpha", "xyz", "xyza"):
        _film(f"hdrfilm {pixels}", core=pixels in ("rgba", "luminance"), pixel_format=pixels)
    _film("hdrfilm crop", crop_width=6, crop_height=7, crop_offset_x=2, crop_offset_y=1)
    _film("hdrfilm no border", sample_border=False)
    seen("specfilm", "Film", "specfilm", _bands, variants=("spectral",), core=True)
    for name in ("box", "tent", "gaussian", "mitchell", "catmullrom", "lanczos"):
        seen(name, "ReconstructionFilter", name, lambda f=name: {"sensor": camera(film=film(SIZE, filter=f))},
             core=name in ("box", "tent"))  # fmt: skip


def _film(name: str, core: bool = False, **more: Any) -> None:
    seen(name, "Film", "hdrfilm", lambda: {"sensor": camera(film=film(SIZE, **more))}, "sensor.film.*", core=core)


def _bands() -> dict:
    bands = {
        f"band{k}": {"type": "regular", "wavelength_min": w, "wavelength_max": w + 120, "values": "1,1"}
        for k, w in enumerate((400, 500, 600))
    }
    size = {"width": SIZE, "height": SIZE, "rfilter": {"type": "gaussian"}, "sample_border": True}
    return {"sensor": camera(film={"type": "specfilm", **size, **bands})}


def _batch() -> dict:
    views = {
        name: camera(to_world=T().look_at([x, 1.2, 5], [0, 0, 0], [0, 1, 0]))
        for name, x in (("left", -1), ("right", 1))
    }
    return {"type": "batch", **views, "film": {**film(SIZE, sample_border=False), "width": 2 * SIZE},
            "sampler": {"type": "multijitter"}}  # fmt: skip
