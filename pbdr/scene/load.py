"""Loading of scene files, with stable names and messages that name the file and the remedy; orbiting cameras."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mitsuba as mi

from ..core.errors import InputError, near_matches
from ..plugins import PLUGINS
from .names import name_merged, name_objects

# What an image shows of the light of a scene: the parameters that integrators share.
LIGHT_PATHS = ("max_depth", "rr_depth", "hide_emitters")
# Integrators that only add to the image of the one inside.
WRAPPERS = ("aov", "moment", "stokes")


def load_file(path: str | Path, /, *, optimize: bool = False, parallel: bool = True, **parameters: Any) -> Any:
    """A scene from an XML file, with the names that the file gives, and errors a user can act on.

    Unlike `mi.load_file` it keeps meshes of one material apart, so that each has its parameters, and names what the file
    leaves without an ``id`` by its tag, in the order of the file: ``shape``, ``shape_1``, ... (Mitsuba's names for those
    are addresses, others in each run).

    Args:
        optimize: merge meshes of equal materials, and equal materials, as `mi.load_file` does: less memory and faster
            intersections of scenes of many small meshes, but what is merged (``merged``, ``merged_1``, ...) has lost its
            own parameters.
        parallel: load on several threads.
        parameters: values for the ``$name`` of the file, as ``-D name=value`` in the command line.

    Raises:
        InputError: the file is missing, or Mitsuba refuses it.
    """
    for name, value in (("optimize", optimize), ("parallel", parallel)):
        if not isinstance(value, bool):
            raise InputError(f"{path}: {name} must be True or False, got {value!r}; no $parameter can have this name.")
    with _resolved_beside(path):
        config, state = _parse(path, parameters)
        config.merge_equivalent = config.merge_meshes = optimize
        config.parallel = parallel
        try:
            name_objects(state)
            mi.parser.transform_all(config, state)
            scene = mi.parser.instantiate(config, state)
        except (RuntimeError, ValueError) as error:
            raise _refusal(path, error) from None
    if optimize:
        name_merged(scene)
    return scene


def light_paths(path: str | Path, /, **parameters: Any) -> dict[str, Any]:
    """Those of `LIGHT_PATHS` that the integrator of a scene file sets.

    Raises:
        InputError: the file is missing, or not in Mitsuba's format.
    """
    with _resolved_beside(path):
        _, state = _parse(path, parameters)
    found: dict[str, Any] = {}
    nodes = [n for n in state.nodes if n.type == mi.ObjectType.Integrator and n.props.plugin_name() not in WRAPPERS]
    for name in LIGHT_PATHS if nodes else ():
        if name in nodes[0].props:
            found[name] = nodes[0].props[name]
    return found


def contents(path: str | Path, /) -> Iterator[bytes]:
    """Everything that a scene file says, included files and what they name among it, piece by piece: for a hash.

    Raises:
        InputError: the file is missing, or not in Mitsuba's format.
    """
    with _resolved_beside(path):
        _, state = _parse(path, {})
        named = [node.props[name] for node in state.nodes for name in node.props.keys()]
        for file in map(Path, map(str, state.files)):
            yield file.read_bytes()
            named += re.findall(
                r'filename="([^"]*)"', file.read_text(errors="replace")
            )  # of spectra, which are read at once
        for text in sorted({text for text in named if isinstance(text, str) and text}):
            found = Path(str(mi.file_resolver().resolve(text)))
            if found.is_file():
                yield found.read_bytes()


def accepted(plugin: str, paths: dict[str, Any]) -> dict[str, Any]:
    """Those of `LIGHT_PATHS` that an integrator takes; none if there is no such plugin."""
    kept = {}
    for name, value in paths.items():
        try:
            mi.load_dict({"type": plugin, name: value})
        except RuntimeError:
            continue
        kept[name] = value
    return kept


def load_integrator(description: dict[str, Any], source: str) -> Any:
    """`mi.load_dict` of an integrator.

    Raises:
        InputError: no such plugin, or parameters that it does not take; begins with ``source``.
    """
    try:
        return mi.load_dict(description)
    except RuntimeError as error:
        near = near_matches(str(description.get("type")), PLUGINS) if "not found" in str(error) else ""
        raise InputError(f"{source} {description}: {what_mitsuba_says(error)}{near}") from None


@contextmanager
def _resolved_beside(path: str | Path) -> Iterator[None]:
    """Within: names of files are looked for beside ``path`` first."""
    resolver = mi.file_resolver()
    before = list(resolver)
    resolver.prepend(str(Path(path).resolve().parent))
    try:
        yield
    finally:
        resolver.clear()
        for folder in before:
            resolver.append(folder)


def _parse(path: str | Path, parameters: dict[str, Any]) -> tuple[Any, Any]:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such scene file.")
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; name a scene file.")
    config = mi.parser.ParserConfig(mi.variant())
    try:
        return config, mi.parser.parse_file(config, str(path), **{k: str(v) for k, v in parameters.items()})
    except (RuntimeError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: str | Path, error: Exception) -> InputError:
    """One paragraph: the file, all that Mitsuba says, the remedy."""
    said = re.sub(
        rf"(Error while loading|While loading|At) {re.escape(str(path))} \((.*?)\)", r"\2", what_mitsuba_says(error)
    )
    said = said if said.endswith((".", "!", "?")) else said + "."
    remedy = _remedy(said)
    return InputError(f"{path}: Mitsuba cannot load this scene: {said}{remedy and ' '}{remedy}")


def what_mitsuba_says(error: Exception) -> str:
    """The message of an error of Mitsuba in one paragraph; it goes on in further lines with the names that matter."""
    said = str(error).strip()
    if "Traceback (most recent call last)" in said:  # of a plugin in Python: its last line is the message
        said = said.split("Traceback (most recent call last)")[0] + said.splitlines()[-1]
    said = re.sub(r"\[\w+\.(cpp|h):\d+\] ", "", said)
    said = re.sub(r":\s*\n\s*- ", ": ", said)  # a list of properties, one a line
    return " ".join(re.sub(r"\n\s+- ", ", ", said).split())


def _remedy(said: str) -> str:
    if "lookAt" in said or "unexpected" in said:
        return (
            'The file may be in the format of Mitsuba 0.x: set version="3.0.0", write names in'
            " snake_case (lookAt is <lookat>), and use <rgb> for colours."
        )
    if "Invalid spectrum value" in said:
        return (
            'Write three numbers of a colour as <rgb name="..." value="0.1, 0.2, 0.3"/>; <spectrum> takes one number, or'
            ' pairs of wavelength in nm and value: value="400:0.1, 700:0.3".'
        )
    if match := re.search(r"undefined parameter: \$(\w+)", said):
        name = match[1]
        return (
            f'Give it a value: <default name="{name}" value="..."/> in the file, -D {name}=... in the command line, or'
            f" pbdr.load_file(path, {name}=...)."
        )
    if match := re.search(r'Plugin "([^"]*)" not found', said):
        close = difflib.get_close_matches(match[1], _plugin_names(), cutoff=0.75)
        near = near_matches(match[1], close)
        return (
            f"It is none of the plugins of Mitsuba {mi.__version__} or pbdr.{near} If it belongs to another package (as"
            " Sionna's itu-radio-material does), import that package in a script and call pbdr from there, or replace"
            ' it by a plugin of Mitsuba, such as <bsdf type="diffuse">.'
        )
    if "unused parameters" in said:
        return "The file has no such $parameter: take it away, or correct its name."
    if "unreferenced propert" in said:
        return "The plugin has no parameter of this name and kind: take it out of the file, or correct it."
    return ""


def _plugin_names() -> list[str]:
    folder = Path(mi.__file__).parent / "plugins"
    return sorted({*PLUGINS, *(file.stem for file in folder.glob("*"))})


def orbit(views: Any, held_out: bool = False) -> list[Any]:
    """Perspective sensors around ``views.target``; the held-out ones lie between the others."""
    count = views.held_out if held_out else views.count
    sensors = []
    for k in range(count):
        azimuth = 2 * math.pi * (k + (0.5 if held_out else 0.0)) / count
        elevation = math.radians(views.elevations[k % len(views.elevations)])
        offset = (
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        )
        origin = [t + views.distance * o for t, o in zip(views.target, offset)]
        sensors.append(
            mi.load_dict(
                {
                    "type": "perspective",
                    "fov": views.fov,
                    "to_world": mi.ScalarTransform4f().look_at(origin, list(views.target), [0, 1, 0]),
                    "film": {
                        "type": "hdrfilm",
                        "width": views.width,
                        "height": views.height,
                        "pixel_format": "rgb",
                        "sample_border": True,
                        "rfilter": {"type": "gaussian"},
                    },
                    "sampler": {"type": "independent"},
                }
            )
        )
    return sensors
