"""Pictures: tone-mapped images, signed maps, curves (matplotlib without a display)."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def to_display(image: np.ndarray, exposure: float = 1.0) -> np.ndarray:
    """Linear radiance [H, W, C] to sRGB in [0, 1], shape [H, W, 3]."""
    image = np.nan_to_num(np.asarray(image, np.float64))[..., :3] * exposure
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, -1)
    image = np.clip(image, 0, 1)
    return np.where(image <= 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)


def save_image(path: Path, image: np.ndarray, exposure: float = 1.0) -> None:
    plt.imsave(path, to_display(image, exposure))


def save_signed_map(path: Path, image: np.ndarray, scale: float, title: str) -> None:
    """Mean over channels, red positive and blue negative, with a colour bar."""
    figure, axis = plt.subplots(figsize=(4, 3.4), constrained_layout=True)
    shown = axis.imshow(
        np.asarray(image)[..., :3].mean(-1), cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest"
    )
    axis.set_title(title)
    axis.set_axis_off()
    figure.colorbar(shown, ax=axis, shrink=0.85)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def save_error_map(path: Path, image: np.ndarray, target: np.ndarray) -> None:
    """Mean absolute difference over channels, 0 to 0.25."""
    error = np.abs(np.asarray(image)[..., :3] - np.asarray(target)[..., :3]).mean(-1)
    plt.imsave(path, error, cmap="inferno", vmin=0, vmax=0.25)


def save_curves(path: Path, series: dict[str, list[float]], ylabel: str) -> None:
    """Curves over the iteration on a logarithmic axis; a moving median where there are many points."""
    figure, axis = plt.subplots(figsize=(6, 3), constrained_layout=True)
    for name, values in series.items():
        y = np.abs(np.asarray(values, np.float64))
        width = max(1, len(y) // 40)
        smooth = [np.median(y[max(0, i - width) : i + width + 1]) for i in range(len(y))]
        (line,) = axis.plot(y, alpha=0.25, linewidth=0.8)
        axis.plot(smooth, color=line.get_color(), label=name, linewidth=1.6)
    axis.set_yscale("log")
    axis.set_xlabel("iteration")
    axis.set_ylabel(ylabel)
    axis.grid(alpha=0.3)
    if len(series) > 1:
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def save_mesh_pair(path: Path, meshes: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Shaded drawings of meshes side by side, same scale (matplotlib; y is up)."""
    from matplotlib.colors import LightSource

    figure = plt.figure(figsize=(3.2 * len(meshes), 3.2), constrained_layout=True)
    everything = np.concatenate([v for _, v, _ in meshes])
    centre = 0.5 * (everything.min(0) + everything.max(0))
    reach = 0.75 * float(np.abs(everything - centre).max())  # axes without labels leave much room
    for k, (title, v, f) in enumerate(meshes):
        axis = figure.add_subplot(1, len(meshes), k + 1, projection="3d")
        v = v - centre
        axis.plot_trisurf(
            v[:, 0], -v[:, 2], v[:, 1], triangles=f, color="0.8", lightsource=LightSource(135, 40), linewidth=0
        )
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach), title=title)
        axis.set_box_aspect((1, 1, 1))
        axis.set_axis_off()
        axis.view_init(15, -65)
    figure.savefig(path, dpi=110)
    plt.close(figure)
