"""Warp field of the film, from points that the samples of a neighbourhood share.

Any field will do that is continuous and has the velocity of each boundary on it, also one that depends on points c_j
of the film. They are drawn evenly and without regard to the samples that will use them. So the divergence of

    F(s) = M⁻¹ Σ_j W_j A_j V_j,    M = Σ_j W_j A_j,    W = k(c_j - s) (1/y + 1/C)^α,    y = e^q - 1 + √κ s_j,

is that of the weights alone, without the score of a density, which is half of the variance where rays are drawn
around each sample (`warp`, whose notation this is). k ends one pixel away, and there is one point in each cell of a
grid: a few cells are all that count. C makes boundaries fade before k does. Each point speaks for several boundaries
near to what it hits: an edge of the triangle, and the contour further on; outline, end and opposite end of a cylinder;
and that of what is seen just across the first of them. Without the last, a sliver of a thing that looks out behind an
outline is missed where no point lies in it, and its own outline then moves with the other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from ..geometry.contour_walk import contour_ahead
from ..sampling.paired import seeded
from .charts import FilmChart
from .motion_fit import constraint
from .path_state import hit_values
from .warp import ALONG, FLOOR, Field, expm1, row_type

SIDES = (2, 3)  # points along each side of a pixel: where noise hides the difference, and
MANY = 64  # from so many samples a pixel on
SHARED = 16  # samples of a pixel that use the same points
SPREAD = 0.5  # width of the kernel √(1/κ), pixels
CAP = 2.0  # C
WAY = 4.0  # pixels to a boundary up to which a point moves there
TANGENT = 0.1  # ε: less, and where outlines are bent what turns beside them slides
BEYOND = 0.02  # pixels beyond a boundary, from where what it covers is seen
WEAK = 0.1  # least y of creases of fine meshes, where almost nothing jumps: their outlines come first


@dataclass
class Sight:
    """What film positions see, one lane each.

    Attributes:
        chart: of the positions.
        row: of `row_type`, the hit moved onto a boundary.
        beside: Point2f, that boundary on the film, and ``n`` across it.
        y: Float, what is left of the way there.
        met: Bool, there is one; ``further``: it is the contour ahead.
    """

    chart: Any
    row: Any
    beside: Any
    n: Any
    y: Any
    met: Any
    further: Any


@dataclass
class Sums:
    """Of one sample: M and Σ W A V, and their derivatives by both coordinates."""

    M: Any
    Mx: Any
    My: Any
    b: Any
    bx: Any
    by: Any

    @classmethod
    def empty(cls) -> Sums:
        return cls(*(mi.Matrix2f(0) for _ in range(3)), *(mi.Vector2f(0) for _ in range(3)))


class FilmField(Field):
    """Value and divergence of the film's field.

    Args:
        scene, measure, settings: of `Field`.
        camera: a pinhole or orthographic `Camera`, whose shutter is open for no time: all its rays through one
            position see the same.
        low, size: window of the film, pixels.
        stream: seed of the points.
        spp: samples per pixel that are going to use them.
    """

    def __init__(self, scene, measure, settings, camera, low, size, stream, spp):
        super().__init__(scene, measure, settings)
        self.low, self.size = mi.Point2f(low), size
        self.spp, self.looks = spp, measure.most_boundaries
        self.side = SIDES[spp >= MANY]
        self.camera = camera
        self.reach = 2 * self.side + 1  # cells across the kernel
        self.across, self.down = ((n + 2) * self.side for n in size)  # with a ring of pixels
        self.count = self.across * self.down * -(-spp // SHARED)
        lane = dr.arange(mi.UInt32, self.count * self.looks)
        index, look = lane % self.count, lane // self.count
        cell = mi.Vector2f(mi.Float(index % self.across), mi.Float(index // self.across % self.down))
        jitter = seeded(stream ^ 0x68E31DA4, index).next_2d()
        points = mi.Point2f(low - 1 + (cell + jitter) / self.side)
        near = self._look(points, look)
        beyond = self._look(self._beyond(points, near), mi.UInt32(0))
        self.sights = (near, beyond)
        # What every pair of sample and point reads, four numbers at a time.
        centres = (points, dr.gather(mi.Point2f, points, dr.arange(mi.UInt32, self.count)))
        places = [mi.Vector4f(c.x, c.y, x.beside.x, x.beside.y) for c, x in zip(centres, self.sights)]
        bounds = [mi.Vector4f(x.n.x, x.n.y, x.y, dr.select(x.met, mi.Float(1), 0)) for x in self.sights]
        self.places, self.bounds = (dr.concat([dr.ravel(v) for v in table]) for table in (places, bounds))
        self.looks += 1
        self.V, self.δV = None, dr.zeros(mi.Float, 2 * self.count * self.looks)
        dr.eval(self.places, self.bounds, self.δV)

    @staticmethod
    def serves(measure: Any, camera: Any) -> bool:
        """Can it stand for auxiliary rays? Not where outlines of shapes are unknown, nor behind a lens."""
        return camera.kind != "thinlens" and camera.sensor.shutter_open_time() == 0 and measure.knows_outlines

    def groups(self, pos: Any) -> Any:
        """Which points each of the samples at ``pos`` uses, that lie pixel by pixel."""
        return (dr.arange(mi.UInt32, dr.width(pos)) % self.spp) // SHARED

    def _look(self, points, look):
        """Trace film positions, and find boundary number ``look`` of what they hit."""
        camera, zero = self.camera, mi.Vector2f(0)
        time = mi.Float(camera.sensor.shutter_open())
        wavelength = mi.Float(0.5) if mi.is_spectral else 0
        chart = FilmChart(camera, points, time, wavelength, mi.Point2f(0.5), zero, mi.Float(SPREAD**-2))
        ray = chart.ray(zero, mi.Float(0))
        pi = self.scene.ray_intersect_preliminary(ray, coherent=False, reorder=False)
        si = pi.compute_surface_interaction(ray, self.flags)
        narrow = chart.narrow(si)
        further, there, p, along = contour_ahead(self.measure, ray, pi, si, look == 1, both=True)
        nearest = self.measure.eval(ray, pi, si, narrow * (SPREAD / WAY), look)
        pi = dr.select(further, there, pi)
        si.p = dr.select(further, p, si.p)
        y = dr.select(nearest.weak, WEAK, narrow * nearest.s + FLOOR)
        y = dr.select(further, FLOOR, y)
        met = nearest.met | further
        n = chart.across(ray, si.p, dr.select(further, along, nearest.along))
        beside, _ = chart.toward(ray, si.p)
        met &= dr.isfinite(dr.squared_norm(beside))
        beside = chart.pos + dr.select(met, beside, 0)
        to = mi.Vector3f(si.p - ray.o)
        t = dr.norm(to)
        pi.t = dr.select(pi.is_valid(), t, dr.inf)
        n = mi.Vector2f(dr.select(met, n, 0))
        row = row_type(mi.Vector2f)(
            zero, n, zero, mi.Float(0), mi.Float(1), mi.Float(1), mi.UInt32(0), to / t, *hit_values(pi)
        )
        sight = Sight(chart, row, mi.Point2f(beside), n, y, met, further)
        dr.eval(beside, n, y, met, further, row)
        return sight

    def _beyond(self, points, near):
        """Film positions just across the boundary of each point: the contour ahead, or else the first."""
        first = dr.arange(mi.UInt32, self.count)
        lane = mi.UInt32(first)
        if self.looks > 1:
            lane += dr.select(dr.gather(mi.Bool, near.further, first + self.count), mi.UInt32(self.count), 0)
        met = dr.gather(mi.Bool, near.met, lane)
        here, there = dr.gather(mi.Point2f, points, first), dr.gather(mi.Point2f, near.beside, lane)
        way = mi.Vector2f(there - here)
        length = dr.norm(way)
        return here + dr.select(met & (length > 0), way * (1 + BEYOND / length), 0)

    # ---------------------------------------------------------------- derivatives

    def follow(self) -> None:
        """Motion of what the points have hit, for the tangents set on the scene's parameters. Before `forward`."""
        self.V = dr.concat([dr.ravel(mi.Vector2f(self._velocity(x.chart, x.row))) for x in self.sights])
        dr.eval(self.V)

    def forward(self, pos: Any, group: Any) -> tuple[Any, Any]:
        """(F, ∇·F) at film positions, that use the points number ``group``."""
        S = self._sums(pos, group)
        inverse = dr.rcp(S.M)
        F = mi.Vector2f(inverse @ S.b)
        return F, (inverse @ (S.bx - S.Mx @ F)).x + (inverse @ (S.by - S.My @ F)).y

    def backward(self, pos: Any, group: Any, δF: Any, δdiv: Any) -> None:
        """Take the adjoints of F and ∇·F."""
        S = self._sums(pos, group)
        inverse = dr.rcp(S.M)
        row_x, row_y = (mi.Vector2f(inverse[k, 0], inverse[k, 1]) for k in range(2))
        δF = mi.Vector2f(δF) - mi.Vector2f(S.Mx @ row_x + S.My @ row_y) * δdiv
        self._spread(pos, group, inverse, δF, δdiv)

    def finish(self) -> None:
        """Add what `backward` has taken to the scene's parameters."""
        dr.eval(self.δV)
        first = 0
        for x in self.sights:
            lane = dr.arange(mi.UInt32, dr.width(x.y)) + first
            self._velocity_adjoint(x.chart, x.row, dr.gather(mi.Vector2f, self.δV, lane))
            first += dr.width(x.y)

    # ---------------------------------------------------------------- sums over the neighbourhood

    def _pair(self, pos, corner, group, i):
        """Of point ``i`` of the neighbourhood of ``pos``: number, W A, W and ∂log W."""
        x, y = corner.x + i % self.reach, corner.y + i // self.reach % self.reach
        number = (group * self.down + y) * self.across + x + i // self.reach**2 * self.count
        a, b = (dr.gather(mi.Vector4f, table, number) for table in (self.places, self.bounds))
        n, met = mi.Vector2f(b.x, b.y), b.w > 0.5
        off = mi.Vector2f(a.x, a.y) - pos
        near = dr.maximum(1 - dr.square(off), 0)
        k, slope = dr.square(near.x * near.y), 4 * off / dr.maximum(near, 1e-6)
        to = dr.select(met, mi.Vector2f(a.z, a.w) - pos, off)
        q, dq = self.sights[0].chart.closeness(to, mi.Float(0), n, ALONG)
        q = dr.minimum(q, self.settings.farthest)
        y = expm1(q) + b.z
        W = k * dr.power(1 / y + 1 / CAP, self.settings.power)
        steep = self.settings.exponent * dr.exp(q) / (y * (1 + y / CAP))
        slope -= dq * dr.select(q < self.settings.farthest, steep, 0)
        return number, constraint(n, mi.Matrix2f(0), TANGENT) * W, W, slope

    def _corner(self, pos):
        """The first cell with a point that may reach ``pos``, counted from the ring."""
        cell = mi.Point2i(dr.floor((pos - self.low) * self.side))
        return mi.Point2u(*(mi.UInt32(dr.clip(cell[k], 0, self.size[k] * self.side - 1)) for k in range(2)))

    @dr.syntax
    def _sums(self, pos, group):
        corner, S = self._corner(pos), Sums.empty()
        pairs = self.reach**2 * self.looks
        i = mi.UInt32(0)
        while dr.hint(i < pairs, max_iterations=pairs, label="pbdr film field"):
            number, WA, _, slope = self._pair(pos, corner, group, i)
            S.M += WA
            S.Mx += WA * slope.x
            S.My += WA * slope.y
            if dr.hint(self.V is not None, mode="scalar"):
                v = mi.Vector2f(WA @ dr.gather(mi.Vector2f, self.V, number))
                S.b += v
                S.bx += v * slope.x
                S.by += v * slope.y
            i += 1
        return S

    @dr.syntax
    def _spread(self, pos, group, inverse, δF, δdiv):
        corner = self._corner(pos)
        pairs = self.reach**2 * self.looks
        i = mi.UInt32(0)
        while dr.hint(i < pairs, max_iterations=pairs, label="pbdr film field adjoint"):
            number, WA, W, slope = self._pair(pos, corner, group, i)
            δ = mi.Vector2f(WA @ mi.Vector2f(inverse @ (δF + slope * δdiv)))
            dr.scatter_add(self.δV, δ.x, 2 * number, W > 0)
            dr.scatter_add(self.δV, δ.y, 2 * number + 1, W > 0)
            i += 1
