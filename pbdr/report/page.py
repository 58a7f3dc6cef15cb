"""The HTML report of a run folder: one self-contained page (pictures embedded)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jinja2
import numpy as np

from ..core.errors import InputError
from .figures import save_curves

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ name }} · pbdr</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;color:#222}
h1{margin-bottom:.1em} .sub{color:#666;margin-top:0} figure{display:inline-block;margin:.3em;text-align:center}
figure img{height:170px;image-rendering:pixelated;border-radius:3px} figcaption{font-size:12px;color:#555}
table{border-collapse:collapse} td,th{padding:.25em .9em;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums} img.wide{max-width:100%} pre{background:#f5f5f5;padding:1em;overflow:auto}
</style>
<h1>{{ name }}</h1><p class="sub">{{ steps }} iterations · {{ seconds }} s · {{ per_step }} ms a step (median) ·
peak memory {{ memory }} MiB · {{ versions.variant }} · Mitsuba {{ versions.mitsuba }}</p>
<h2>Views</h2>
{% for v in views %}<div><h3>{{ v.name }} — {{ "%.1f"|format(v.psnr_initial) }} → {{ "%.1f"|format(v.psnr) }} dB</h3>
{% for kind, src in v.pictures %}<figure><img src="{{ src }}" alt="{{ v.name }} {{ kind }}"><figcaption>{{ kind }}</figcaption></figure>{% endfor %}</div>{% endfor %}
<h2>Recovered parameters</h2>
{% for p in parameters %}<h3>{{ p.key }}</h3>
<p>{% for k, v in p.numbers %}{{ k }}: <b>{{ v }}</b>&ensp;{% endfor %}</p>
{% for kind, src in p.pictures %}<figure><img src="{{ src }}" style="height:{{ p.height }}px" alt="{{ p.key }} {{ kind }}"><figcaption>{{ kind }}</figcaption></figure>{% endfor %}{% endfor %}
{% if lost %}<p>scene.xml cannot hold {{ lost|join(", ") }}: in values.npz.</p>{% endif %}
<h2>Loss</h2><img class="wide" src="{{ loss }}" alt="loss over iterations">
<h2>Gradient norms</h2><img class="wide" src="{{ gradient }}" alt="gradient norms">
<h2>Timings</h2><table><tr><th>first step</th><th>median step</th><th>CPU, median</th><th>total</th><th>kernels compiled</th></tr>
<tr><td class="n">{{ first_step }} s</td><td class="n">{{ per_step }} ms</td><td class="n">{{ cpu }} ms</td><td class="n">{{ seconds }} s</td><td class="n">{{ compiled }}</td></tr></table>
<h2>Experiment</h2><pre>{{ experiment }}</pre><h2>Versions</h2><pre>{{ versions_text }}</pre></html>"""


def _embed(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` of a run folder; returns its path.

    Raises:
        InputError: the folder is no finished run.
    """
    folder = Path(folder)
    for name in ("experiment.toml", "metrics.jsonl", "summary.json", "versions.json"):
        if not (folder / name).exists():
            raise InputError(f"{folder}: no {name}: not a finished run. Finish it with: pbdr resume {folder}")
    text = (folder / "experiment.toml").read_text()
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    versions = json.loads((folder / "versions.json").read_text())
    images = folder / "images"
    save_curves(images / "loss.png", {"loss": [m["loss"] for m in metrics]}, "loss")
    keys = list(metrics[0]["gradient"])
    save_curves(images / "gradient.png", {k: [m["gradient"][k] for m in metrics] for k in keys}, "gradient norm")
    views = [
        {
            **v,
            "pictures": [
                (k, _embed(images / f"{v['name']}-{k}.png")) for k in ("target", "initial", "recovered", "error")
            ],
        }
        for v in summary["views"]
    ]
    parameters = []
    for key, entry in summary["parameters"].items():
        stem = key.replace(".", "-")
        mesh = images / f"mesh-{stem}.png"
        if mesh.exists():
            pictures, height = [("initial, recovered, target", _embed(mesh))], 300
        else:
            found = [(k, images / f"map-{stem}-{k}.png") for k in ("initial", "recovered", "target")]
            pictures, height = [(k, _embed(p)) for k, p in found if p.exists()], 150
        numbers = [(k.replace("_", " "), f"{v:.4g}") for k, v in entry.items()]
        parameters.append({"key": key, "numbers": numbers, "pictures": pictures, "height": height})
    seconds = [m["seconds"] for m in metrics]
    page = (
        jinja2.Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            name=_name_in(text),
            steps=len(metrics),
            seconds=f"{sum(seconds):.1f}",
            per_step=f"{1e3 * float(np.median(seconds)):.0f}",
            cpu=f"{1e3 * float(np.median([m['cpu_seconds'] for m in metrics])):.0f}",
            first_step=f"{seconds[0]:.2f}",
            compiled=_compiled(metrics),
            memory=f"{max(m['memory_mib'] for m in metrics):.0f}",
            views=views,
            parameters=parameters,
            lost=summary.get("not in scene.xml", []),
            loss=_embed(images / "loss.png"),
            gradient=_embed(images / "gradient.png"),
            experiment=text,
            versions=versions,
            versions_text=json.dumps(versions, indent=1),
        )
    )
    path = folder / "report.html"
    path.write_text(page)
    return path


def _compiled(metrics: list[dict]) -> str:
    """Kernels compiled in the steps that were counted: at first, where it is natural, and in the second half, where not."""
    counts = [(m["iteration"], m["compilations"]) for m in metrics if m.get("compilations") is not None]
    late = [n for i, n in counts if 2 * i >= len(metrics)]
    return f"{sum(n for _, n in counts)}" + (f", {sum(late)} of them late" if late else "")


def _name_in(experiment: str) -> str:
    for line in experiment.splitlines():
        if line.startswith("name = "):
            return line.partition("=")[2].strip().strip('"')
    return "run"
