"""Scenes with a rough plastic: the roughness and the index of refraction of its coat."""

from __future__ import annotations

from .cases import case, environment, lamp, plane, rgb, texture, world


def coat(**more) -> dict:
    return {"type": "roughplastic", "diffuse_reflectance": rgb(0.6, 0.3, 0.2), "alpha": 0.3, **more}


@case("material", "ball.bsdf.alpha", step=0.02)
def coat_alpha():
    return world(sky=0, light=environment(), ball={"type": "sphere", "bsdf": coat()})


@case("material", "ball.bsdf.eta", step=0.02)
def coat_eta():
    return world(sky=0, light=environment(), ball={"type": "sphere", "bsdf": coat()})


@case("material", "plane.bsdf.brdf_0.alpha", step=0.02)
def beckmann_coat_alpha():
    """Seen from the back, inside a twosided, and what is below it is textured and changes the colour of what comes back."""
    inner = coat(distribution="beckmann", nonlinear=True, diffuse_reflectance=texture())
    seen = plane({"type": "twosided", "inner": inner}, flip_normals=True)
    return world(plane=seen, lamp=lamp())


@case("material", "plane.bsdf.brdf_0.eta", step=0.02)
def beckmann_coat_eta():
    return beckmann_coat_alpha()
