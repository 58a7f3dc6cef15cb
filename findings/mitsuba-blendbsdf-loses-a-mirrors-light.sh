#!/usr/bin/env bash
# Mitsuba 3.9.1: `blendbsdf` weakens a Dirac lobe by the density of the other material.
#
# Guess: a blend of 60 % matte black and 40 % perfect mirror reflects 40 %, and so does one of matte grey and mirror, besides what
# the grey scatters.
# Seen (scalar_rgb): sampled, the mirror's lobe of blend(grey diffuse, conductor, 0.4) has weight 0.846 and "pdf" 0.578 =
# 0.4 * 1 + 0.6 * cos / pi: the discrete probability of the mirror and the solid-angle density of the diffuse part are added
# as if they had one unit. It is chosen with probability 0.4, so that it reflects 0.338 instead of 0.4. 3.5 multiplied only.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import mitsuba as mi
mi.set_variant("scalar_rgb")
blend = mi.load_dict({"type": "blendbsdf", "weight": 0.4, "a": {"type": "diffuse"}, "b": {"type": "conductor"}})
si = mi.SurfaceInteraction3f()
si.t, si.n, si.sh_frame = 1.0, [0, 0, 1], mi.Frame3f([0, 0, 1])
si.wi = mi.Vector3f(0.3, 0.2, (1 - 0.13) ** 0.5)
chosen = 0
for k in range(1000):
    bs, weight = blend.sample(mi.BSDFContext(), si, (k + 0.5) / 1000, [0.3, 0.6])
    if mi.has_flag(bs.sampled_type, mi.BSDFFlags.Delta):
        chosen, w, pdf = chosen + 1, float(weight[0]), float(bs.pdf)
print(f"mirror chosen with probability {chosen / 1000:.3f}, weight {w:.3f}, 'pdf' {pdf:.3f}: it reflects {chosen / 1000 * w:.3f}")
assert abs(chosen / 1000 - 0.4) < 0.002
assert chosen / 1000 * w < 0.36, "mended: the mirror reflects its share"
PY
