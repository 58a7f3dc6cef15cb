"""The experiment file: typed, saved with the run, refuses unknown keys."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..core.errors import InputError, near_matches
from ..core.memory import MOST_SAMPLES
from ..scene.lighting import Lighting
from ..scene.load import LIGHT_PATHS, accepted, light_paths

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class Views(_Strict):
    """Cameras on an orbit (count > 0) instead of the sensors of the scene file."""

    count: int = Field(0, ge=0)
    distance: float = Field(4.0, gt=0)
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    elevations: list[float] = [20.0]  # degrees, taken in turn
    fov: float = Field(35.0, gt=0, lt=180)
    width: int = Field(96, ge=4)
    height: int = Field(96, ge=4)
    held_out: int = Field(0, ge=0)  # further views between them, never optimized


class Targets(_Strict):
    """Images per view, or a scene to render them from (cached by content)."""

    images: list[str] = []
    scene: str = ""
    spp: int = Field(512, ge=1, le=MOST_SAMPLES)
    background: tuple[float, float, float] | None = None  # linear RGB behind transparent pixels of the images


class Light(_Strict):
    """An illumination of the scene: every view shows it once, with a target of its own."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")  # names of pictures contain it
    set: dict[str, float | list[float]] = {}  # scene values, by key or glob; the others are as in the file
    held_out: bool = False  # never optimized, only judged at the end


class ParameterSpec(_Strict):
    key: str
    representation: Literal["auto", "direct", "bounded", "log", "pyramid", "large_steps", "pose", "distance_field"] = (
        "auto"
    )
    learning_rate: float = Field(0.02, gt=0)
    bounds: tuple[float, float] | None = None
    initial: FiniteFloat | list[FiniteFloat] | None = None
    smoothness: float = Field(19.0, ge=0)  # of large_steps
    unit: float = Field(1.0, gt=0)  # of pose: scene units of translation per unit
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    clip: float = Field(5.0, ge=0)  # a gradient is cut to this many times its usual norm; 0: never
    mask_updates: bool = False


class Schedule(_Strict):
    iterations: int = Field(100, ge=1)
    views_per_step: int = Field(1, ge=1)
    spp: int = Field(8, ge=1, le=MOST_SAMPLES)
    spp_grad: int = Field(0, ge=0, le=MOST_SAMPLES)  # 0: spp
    shares: tuple[float, float, float] | None = None  # of spp: interior, primary, indirect; else measured
    final_rate: float = Field(0.1, gt=0)  # learning rates fall geometrically to this share
    checkpoint_every: int = Field(20, ge=1)
    image_every: int = Field(20, ge=1)
    seed: int = 0
    freeze: bool = True  # replay recorded kernels; off: trace every step
    memory: str = ""  # most of a wavefront, such as "4GiB"; empty: half of what is free
    threads: int = Field(1, ge=0)  # 1: bitwise reproducible; 0: all cores


class Experiment(_Strict):
    """One optimization. Paths are relative to the experiment file."""

    name: str = "experiment"
    scene: str
    variant: str = ""
    integrator: dict[str, Any] = {"type": "prb_edge", "max_depth": 3}  # lengths of paths: else those of the scene
    views: Views = Views()
    targets: Targets = Targets()
    lights: list[Light] = []  # none: the scene as it is
    parameters: list[ParameterSpec] = Field(min_length=1)
    loss: Literal["l1", "l2", "relative_l2", "log", "dual_l2", "single_l2"] = "l1"
    schedule: Schedule = Schedule()
    compare: dict[str, str] = {}  # parameter key -> key in the target scene, for the report
    folder: str = ""  # folder of the experiment file

    @property
    def lit(self) -> list[str | None]:
        """Names of the illuminations that are optimized; ``None`` for the scene as it is."""
        return [light.name for light in self.lights if not light.held_out] or [None]

    def lighting(self, params: Any) -> Lighting:
        """The illuminations of a scene.

        Raises:
            InputError: two have one name, all are held out, or what `Lighting` refuses.
        """
        names = [light.name for light in self.lights]
        if twice := {n for n in names if names.count(n) > 1}:
            raise InputError(f"[[lights]] has '{sorted(twice)[0]}' twice: give each a name of its own.")
        if self.lights and all(light.held_out for light in self.lights):
            raise InputError(
                "[[lights]]: all are held out, so nothing is left to optimize from. Set held_out = false in one."
            )
        optimized = [key for p in self.parameters for key in params.keys() if fnmatch.fnmatch(key, p.key)]
        return Lighting(params, {light.name: light.set for light in self.lights}, optimized)

    @property
    def light_paths(self) -> dict[str, Any]:
        """Parameters of the integrator that say which light an image shows: those of target images, too."""
        return {"max_depth": 6} | {k: self.integrator[k] for k in LIGHT_PATHS if k in self.integrator}

    def with_light_paths(self) -> tuple[Experiment, dict[str, str]]:
        """The experiment whose integrator has what it left out of `LIGHT_PATHS` from that of the scene file.

        Returns:
            The experiment, and where each of `LIGHT_PATHS` comes from: name -> file, or "default".
        """
        given = self.integrator if "integrator" in self.model_fields_set else {"type": self.integrator["type"]}
        scene = self.path(self.scene)
        theirs = {k: v for k, v in light_paths(scene).items() if k not in given}
        theirs = accepted(str(given.get("type")), theirs)
        origin = {k: "experiment" if k in given else scene.name if k in theirs else "default" for k in LIGHT_PATHS}
        usual = {} if "integrator" in self.model_fields_set else self.integrator
        return self.model_copy(update={"integrator": usual | given | theirs}), origin

    def path(self, name: str) -> Path:
        """Resolve a path of the file.

        Raises:
            InputError: there is no such file.
        """
        path = Path(name) if Path(name).is_absolute() else Path(self.folder) / name
        if not path.exists():
            near = near_matches(path.name, [p.name for p in path.parent.glob("*")]) if path.parent.exists() else ""
            raise InputError(f"{path}: no such file (named in experiment '{self.name}').{near}")
        return path

    def save(self, path: Path) -> None:
        path.write_text(tomli_w.dumps(self.model_dump(exclude_none=True)))


def load_experiment(source: Any, overrides: list[str] | None = None) -> Experiment:
    """Read an ``optimize.toml`` (or take an `Experiment` as it is) and apply ``key=value`` overrides.

    Raises:
        InputError: unreadable file, unknown or ill-typed key; names the key and its near matches.
    """
    if isinstance(source, Experiment):
        return source
    path = Path(source)
    if path.is_dir():
        path = path / "optimize.toml"
    if not path.exists():
        raise InputError(f"{path}: no such experiment file.")
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a valid TOML file: {error}") from None
    for override in overrides or []:
        _override(data, override)
    data.setdefault("name", path.resolve().parent.name)
    data.setdefault("folder", str(path.resolve().parent))
    try:
        return Experiment(**data)
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _override(data: dict, override: str) -> None:
    dotted, separator, text = override.partition("=")
    if not separator:
        raise InputError(f"--set {override}: expected section.key=value.")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = dotted.strip().split(".")
    for name in sections:
        if isinstance(data, list):
            if not name.isdigit() or int(name) >= len(data):
                raise InputError(
                    f"--set {override}: there is no entry '{name}' in that list, which has {len(data)}, from 0 on."
                )
            data = data[int(name)]
        else:
            data = data.setdefault(name, {})
        if not isinstance(data, (dict, list)):
            raise InputError(f"--set {override}: '{name}' is a value, not a section.")
    if isinstance(data, list):
        raise InputError(f"--set {override}: name an entry of that list and a key, as in section.0.key=value.")
    data[last] = value


def _explain(error: Any) -> str:
    where = ".".join(str(x) for x in error["loc"])
    if error["type"] == "extra_forbidden":
        model: Any = Experiment
        for part in error["loc"][:-1]:
            if isinstance(part, str):
                model = {
                    "views": Views, "targets": Targets, "lights": Light, "parameters": ParameterSpec, "schedule": Schedule
                }[part]  # fmt: skip
        known = list(model.model_fields)
        return f"unknown key '{where}'." + (
            near_matches(str(error["loc"][-1]), known) or f" Known: {', '.join(known)}."
        )
    return f"key '{where}': {error['msg']} (got {error.get('input')!r})"
