"""How a scene parameter is optimized: latent variable ↔ scene value.

Contract: `init` (scene value to latent), `to_scene` (differentiable), `project` (idempotent, after
each optimizer step). Latents are owned by the optimizer; the scene only receives values.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from ..core.errors import InputError
from ..geometry.redistance import redistance
from ..scene.keys import is_positions, is_transform, numbers


class Direct:
    """The value itself, clipped to its bounds after each step.

    Args:
        bounds: (low, high) or ``None``.
    """

    uniform = False

    def __init__(self, key: str, value: Any, bounds: tuple[float, float] | None = None, **_: Any):
        self.bounds = bounds

    def init(self, value: Any) -> Any:
        return type(value)(value)

    def to_scene(self, latent: Any) -> Any:
        return latent

    def project(self, latent: Any) -> Any:
        return latent if self.bounds is None else dr.clip(latent, *self.bounds)


class Bounded:
    """value = low + (high - low) · sigmoid(latent): stays inside without clipping.

    Args:
        bounds: (low, high). Start values on a bound are moved inside by 0.1 % of the range.
    """

    uniform = False

    def __init__(self, key: str, value: Any, bounds: tuple[float, float] | None = None, **_: Any):
        self.low, self.high = bounds or (0.0, 1.0)
        if not self.low < self.high:
            raise InputError(f"'{key}': bounds [{self.low}, {self.high}] are not increasing.")

    def init(self, value: Any) -> Any:
        x = dr.clip((value - self.low) / (self.high - self.low), 1e-3, 1 - 1e-3)
        return dr.log(x / (1 - x))

    def to_scene(self, latent: Any) -> Any:
        return self.low + (self.high - self.low) / (1 + dr.exp(-latent))

    def project(self, latent: Any) -> Any:
        return latent


class Log(Direct):
    """value = exp(latent): positive, with steps relative to the value (lengths, coefficients).

    Args:
        bounds: (low, high), low > 0, or ``None``.

    Raises:
        InputError: a value or bound that is not positive.
    """

    def __init__(self, key: str, value: Any, bounds: tuple[float, float] | None = None, **_: Any):
        if bounds is not None and not bounds[0] > 0:
            raise InputError(f"'{key}': bounds of the logarithmic representation must be positive, got {bounds}.")
        super().__init__(key, value, bounds and tuple(np.log(bounds)))
        self.key = key
        self.init(value)

    def init(self, value: Any) -> Any:
        if not (numbers(value) > 0).all():
            raise InputError(f"'{self.key}': the logarithmic representation needs positive values; use 'bounded'.")
        return dr.log(value)

    def to_scene(self, latent: Any) -> Any:
        return dr.exp(latent)


class Pyramid(Bounded):
    """A map as a sum of levels: value = low + (high - low) · sigmoid(Σ_l 2^-l up(x_l)).

    Level l = 0 is the coarsest (about 4 texels), each next one doubles the resolution up to that of
    the map. Coarse levels gather the gradients of many texels, so large areas converge before the
    noise of single texels does harm: for maps that images constrain weakly, such as roughness.

    Args:
        bounds: (low, high).
        periodic: whether the left border is the neighbour of the right one, as of a sky.
    """

    def __init__(
        self, key: str, value: Any, bounds: tuple[float, float] | None = None, periodic: bool = False, **_: Any
    ):
        super().__init__(key, value, bounds)
        self.periodic = periodic
        if not dr.is_tensor_v(value) or value.ndim != 3:
            raise InputError(f"'{key}': pyramid needs a map [height, width, channels].")
        self.shape = h, w, channels = value.shape
        sizes = [(h, w)]
        while min(sizes[-1]) > 4:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        self.sizes = sizes[::-1]
        self.starts = [0]
        for a, b in self.sizes:
            self.starts.append(self.starts[-1] + a * b * channels)

    def init(self, value: Any) -> Any:
        finest = super().init(value).array * 2.0 ** (len(self.sizes) - 1)
        coarser = self.starts[-2]
        return dr.concat([dr.zeros(mi.Float, coarser), finest]) if coarser else finest

    def to_scene(self, latent: Any) -> Any:
        total = mi.Float(0)
        for level, (start, size) in enumerate(zip(self.starts, self.sizes)):
            total += 2.0**-level * self._upsample(latent, start, *size)
        return mi.TensorXf(self.low + (self.high - self.low) / (1 + dr.exp(-total)), self.shape)

    def _upsample(self, latent: Any, start: int, rows: int, columns: int) -> Any:
        """One level at the resolution of the map, bilinear, clamped at the border (or going on at the other side)."""
        h, w, channels = self.shape
        i = dr.arange(mi.UInt32, h * w * channels)
        c, x, y = i % channels, (i // channels) % w, i // (channels * w)
        if (rows, columns) == (h, w):
            return dr.gather(mi.Float, latent, i + start)
        corners = []
        for k, n, m, around in ((y, rows, h, False), (x, columns, w, self.periodic)):
            s = (mi.Float(k) + 0.5) * (n / m) - 0.5
            if around:
                s = dr.select(s < 0, s + n, s)
                low = mi.UInt32(s)
                corners.append((low, (low + 1) % n, s - mi.Float(low)))
                continue
            s = dr.clip(s, 0, n - 1)
            low = mi.UInt32(s)
            corners.append((low, dr.minimum(low + 1, n - 1), s - mi.Float(low)))
        (y0, y1, fy), (x0, x1, fx) = corners

        def at(row: Any, column: Any) -> Any:
            return dr.gather(mi.Float, latent, start + (row * columns + column) * channels + c)

        return dr.lerp(dr.lerp(at(y0, x0), at(y0, x1), fx), dr.lerp(at(y1, x0), at(y1, x1), fx), fy)


class LargeSteps:
    """Vertex positions x = (I + λL)⁻¹ u, optimized in u with uniform Adam :cite:`nicolet2021large`.

    Args:
        smoothness: λ, larger values couple more of the mesh (10 to 50).

    Vertices that share a position at the start stay together, so seams do not open.
    """

    uniform = True

    def __init__(self, key: str, value: Any, faces: Any = None, smoothness: float = 19.0, **_: Any):
        if not is_positions(key) or faces is None:
            raise InputError(f"'{key}': large_steps needs the vertex positions of a mesh.")
        try:
            self.system = mi.ad.LargeSteps(value, faces, smoothness)
        except ImportError as error:
            raise InputError("large_steps needs the package cholespy: pip install cholespy") from error

    def init(self, value: Any) -> Any:
        return self.system.to_differential(value)

    def to_scene(self, latent: Any) -> Any:
        return self.system.from_differential(latent)

    def project(self, latent: Any) -> Any:
        return latent


class Pose:
    """A rigid motion of the start transform M: value = T(c + s t) R(w) T(-c) M, latent (w, t).

    R(w) turns by |w| radians about the axis w through c, the origin of M: for a camera, its centre.

    Args:
        unit: s, scene units that one unit of the translation t stands for; about the distance to
            what is seen, so that turning and shifting by the same number move the image alike.
    """

    uniform = False

    def __init__(self, key: str, value: Any, unit: float = 1.0, **_: Any):
        if not is_transform(value):
            raise InputError(f"'{key}': pose needs a transform, such as 'sensor.to_world'.")
        self.start = dr.detach(mi.Transform4f(value))
        self.kind, self.unit = type(value), unit
        self.centre = mi.Vector3f(self.start @ mi.Point3f(0))
        dr.make_opaque(self.start, self.centre)

    def init(self, value: Any) -> Any:
        return dr.zeros(mi.Float, 6)

    def to_scene(self, latent: Any) -> Any:
        w, t = (mi.Vector3f(*(dr.gather(mi.Float, latent, k + j) for j in range(3))) for k in (0, 3))
        angle2 = dr.squared_norm(w) + 1e-12
        angle = dr.sqrt(angle2)
        a, b = dr.sin(angle) / angle, 2 * dr.square(dr.sin(0.5 * angle)) / angle2
        # Rodrigues: I + a [w]× + b [w]×², with [w]×² = w wᵀ - |w|² I.
        d = 1 - b * dr.squared_norm(w)
        x, y, z = w.x, w.y, w.z
        p, q, r = b * x * y, b * x * z, b * y * z
        turn = mi.Matrix4f(
            d + b * x * x, p - a * z, q + a * y, 0,
            p + a * z, d + b * y * y, r - a * x, 0,
            q - a * y, r + a * x, d + b * z * z, 0,
            0, 0, 0, 1,
        )  # fmt: skip
        there, back = mi.Transform4f().translate(self.centre + t * self.unit), mi.Transform4f().translate(-self.centre)
        return self.kind(there @ mi.Transform4f(turn) @ back @ self.start)

    def project(self, latent: Any) -> Any:
        return latent


def require_visible(key: str, grid: Any) -> None:
    """Refuse the grid of an ``sdfgrid`` that Mitsuba 3.9 would not show: no ray meets it, whatever its values.

    Raises:
        InputError: unlike numbers of values along x and z.
    """
    depth, height, width = grid.shape[:3]
    if depth != width:
        raise InputError(
            f"'{key}': Mitsuba {mi.__version__} shows an sdfgrid only if it has as many values along x as along z, this one"
            f" has {width} x {height} x {depth}: resample it to {max(width, depth)} along both, and stretch the shape by"
            " to_world if it is not a cube."
        )


class DistanceField:
    """Values of an ``sdfgrid``: a blurred latent, made a signed distance again after each step :cite:`vicini2022sdf`.

    Without that the field steepens or flattens, and a step of the optimizer no longer means a
    distance. Distances count up to `BAND` cells from the surface. The blur, over about a cell, keeps
    noise from growing hair; details below a cell are lost.
    """

    BAND = 6
    BLURS = 2  # of the kernel (1, 2, 1) / 4 along each axis
    uniform = False

    def __init__(self, key: str, value: Any, **_: Any):
        if not dr.is_tensor_v(value) or value.ndim != 4 or value.shape[3] != 1 or min(value.shape[:3]) < 4:
            raise InputError(
                f"'{key}': distance_field needs the grid of an sdfgrid, a tensor [depth, height, width, 1] with at least"
                f" 4 values along each axis; this one has shape {getattr(value, 'shape', ())}."
            )
        require_visible(key, value)

    def init(self, value: Any) -> Any:
        u = value.array
        for _ in range(8):  # Van Cittert's iteration: what the blur removes is added before
            u = u + (value.array - self._blur(type(value)(u, value.shape)))
        return type(value)(u, value.shape)

    def to_scene(self, latent: Any) -> Any:
        return type(latent)(self._blur(latent), latent.shape)

    def _blur(self, field: Any) -> Any:
        values, shape = field.array, field.shape[:3]
        i = dr.arange(mi.UInt32, len(values))
        stride = (shape[1] * shape[2], shape[2], 1)
        for axis in range(3):
            at = (i // stride[axis]) % shape[axis]
            before = dr.select(at > 0, i - stride[axis], i)
            after = dr.select(at + 1 < shape[axis], i + stride[axis], i)
            for _ in range(self.BLURS):
                values = 0.5 * values + 0.25 * (
                    dr.gather(mi.Float, values, before) + dr.gather(mi.Float, values, after)
                )
        return values

    def project(self, latent: Any) -> Any:
        field = redistance(np.array(dr.detach(latent))[..., 0], self.BAND)
        return type(latent)(field[..., None])


REPRESENTATIONS = {
    "direct": Direct,
    "bounded": Bounded,
    "log": Log,
    "pyramid": Pyramid,
    "large_steps": LargeSteps,
    "pose": Pose,
    "distance_field": DistanceField,
}
