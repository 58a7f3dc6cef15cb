"""Where a warp field lives: the sphere of directions at a point, or the film of a camera.

A chart draws auxiliary rays around a main one and tells how what they hit moves in its coordinates.
``kappa`` is the concentration of the draw: p ∝ exp(-q), and ∂log p / ∂(main) = κ · offset.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi


class SphereChart:
    """Directions around ``d`` at a surface point.

    Args:
        si: detached interaction that rays leave, or ``None`` with ``ray``.
        d: Vector3f, main direction.
        kappa: vMF concentration.
        tangent: Vector3f, motion of the origin (forward mode), else 0.
    """

    def __init__(self, si: Any, d: Any, kappa: float, tangent: Any = 0):
        self.si, self.d, self.kappa = si, mi.Vector3f(d), kappa
        self.frame = mi.Frame3f(self.d)
        self.tangent = mi.Vector3f(tangent)
        self.vector, self.matrix = mi.Vector3f, mi.Matrix3f
        self.horizon = None if si is None else mi.Vector3f(si.n)  # normal of the plane that ends the view

    def below(self, d: Any) -> Any:
        """Does a direction run through the surface, as the main one does not?"""
        if self.horizon is None:
            return mi.Bool(False)
        return dr.dot(self.horizon, d) * dr.dot(self.horizon, self.d) < 0

    def draw(self, u: Any, scale: Any) -> tuple[Any, Any, Any]:
        """(ω'⊥, 1 - ω·ω', q) of an ω' from a vMF density of concentration κ · ``scale``."""
        q = -dr.log(1 - u.x * (1 - dr.exp(-2 * self.kappa * scale))) / scale
        drop = q / self.kappa
        r = dr.safe_sqrt(drop * (2 - drop))
        s, c = dr.sincos(2 * dr.pi * u.y)
        return (self.frame.s * c + self.frame.t * s) * r, drop, q

    def narrow(self, si: Any) -> Any:
        """1 / width of the kernel, per radian of what is seen at ``si``."""
        return mi.Float(self.kappa**0.5)

    def closeness(self, offset: Any, drop: Any, n: Any, along: Any) -> tuple[Any, Any]:
        """q with ω' at a distance that counts ``along`` as much as across n, and its gradient by ω."""
        c, f = 1 - drop, dr.dot(n, offset)
        flat = (1 - along) * dr.squared_norm(n)
        turn = self.d * dr.dot(n, self.d)
        slope = -(n - turn) * c - offset * dr.dot(n, self.d)
        q = drop - 0.5 * flat * (dr.squared_norm(offset) - dr.square(f))
        return q * self.kappa, ((offset * c + slope * f) * flat - offset) * self.kappa

    def ray(self, offset: Any, drop: Any) -> Any:
        return self.si.spawn_ray(dr.normalize(self.d * (1 - drop) + offset))

    def toward(self, ray: Any, p: Any) -> tuple[Any, Any]:
        """(ω'⊥, 1 - ω·ω') of the direction ω' to ``p``."""
        d = dr.normalize(p - ray.o)
        # 1 - ω·ω' without cancellation.
        drop = 0.5 * dr.squared_norm(d - self.d)
        return d - self.d * (1 - drop), drop

    def across(self, ray: Any, p: Any, t: Any) -> Any:
        """Unit vector across a curve along ``t`` that is seen at ``p``; 0 if it is a point."""
        return _unit(dr.cross(ray.d, t))

    def velocity(self, ray: Any, si: Any, y: Any) -> Any:
        """Motion of the direction to a point that moves with ``y``, the origin with its tangent."""
        v = (y - self.tangent) / dr.detach(si.t)
        return v - ray.d * dr.dot(ray.d, v)

    def velocity_adjoint(self, ray: Any, si: Any, δv: Any) -> tuple[Any, Any]:
        """Adjoints of ``y`` and of the origin."""
        δy = (δv - ray.d * dr.dot(ray.d, δv)) / dr.detach(si.t)
        return δy, -δy

    def on_the_surface(self, V: Any, div: Any) -> tuple[Any, Any]:
        """Tangential part of a field of vectors in space, and its divergence on the sphere."""
        radial = dr.dot(self.d, V)
        return V - self.d * radial, div - 2 * radial

    def on_the_surface_adjoint(self, δV: Any, δdiv: Any) -> tuple[Any, Any]:
        return δV - self.d * (dr.dot(self.d, δV) + 2 * δdiv), δdiv


class FilmChart:
    """Film positions (pixels) around ``pos``, of a camera that rests."""

    def __init__(self, camera: Any, pos: Any, time: Any, wavelength: Any, aperture: Any, lens: Any, kappa: float):
        self.camera, self.pos, self.lens = camera, mi.Point2f(pos), lens
        self.more = (time, wavelength, aperture)
        self.kappa = kappa
        self.vector, self.matrix = mi.Vector2f, mi.Matrix2f
        self.horizon = None

    def below(self, d: Any) -> Any:
        return mi.Bool(False)

    def draw(self, u: Any, scale: Any) -> tuple[Any, Any, Any]:
        q = -dr.log(1 - u.x) / scale
        s, c = dr.sincos(2 * dr.pi * u.y)
        return mi.Vector2f(c, s) * dr.sqrt(2 * q / self.kappa), mi.Float(0), q

    def narrow(self, si: Any) -> Any:
        pixels = dr.max(dr.abs(self.camera.scale * self.camera.size))  # per radian; orthographic: per unit of length
        return dr.sqrt(self.kappa) * pixels * (1 if self.camera.is_point else dr.select(si.is_valid(), si.t, 1))

    def closeness(self, offset: Any, drop: Any, n: Any, along: Any) -> tuple[Any, Any]:
        f = dr.dot(n, offset)
        flat = (1 - along) * dr.squared_norm(n)
        q = 0.5 * (dr.squared_norm(offset) * (1 - flat) + flat * dr.square(f))
        return q * self.kappa, (offset * (flat - 1) - n * (f * flat)) * self.kappa

    def ray(self, offset: Any, drop: Any) -> Any:
        ray, _ = self.camera.ray(self.pos + offset, *self.more)
        return mi.Ray3f(ray)

    def toward(self, ray: Any, p: Any) -> tuple[Any, Any]:
        s, _ = self.camera.project(p, self.lens)
        return mi.Vector2f(s - self.pos), mi.Float(0)

    def across(self, ray: Any, p: Any, t: Any) -> Any:
        t = self.camera.project_tangent(p, t, self.lens)
        return _unit(mi.Vector2f(-t.y, t.x))

    def velocity(self, ray: Any, si: Any, y: Any) -> Any:
        return self.camera.project_tangent(dr.detach(si.p), y, self.lens)

    def velocity_adjoint(self, ray: Any, si: Any, δv: Any) -> tuple[Any, Any]:
        p = mi.Point3f(dr.detach(si.p))
        with dr.resume_grad():
            dr.enable_grad(p)
            s, _ = self.camera.project(p, self.lens)
            dr.backward_from(dr.dot(mi.Vector2f(s), δv))
            return mi.Vector3f(dr.grad(p)), mi.Vector3f(0)

    def on_the_surface(self, V: Any, div: Any) -> tuple[Any, Any]:
        return V, div

    def on_the_surface_adjoint(self, δV: Any, δdiv: Any) -> tuple[Any, Any]:
        return δV, δdiv


def _unit(v: Any) -> Any:
    n2 = dr.squared_norm(v)
    return dr.select(dr.isfinite(n2) & (n2 > 1e-20), v * dr.rsqrt(n2), 0)
