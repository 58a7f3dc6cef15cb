#!/usr/bin/env bash
# Mitsuba 3.9.1: `prb` has no forward mode in spectral variants; its backward mode works there.
#
# Guess: `dr.forward` and `dr.backward` through `mi.render` are two ways to one derivative, in every variant.
# Seen (llvm_ad_spectral, roughness of a conductor): backward gives a gradient; forward raises "the type of state variable 'δL'
# changed from 'mitsuba.Spectrum' to 'drjit.llvm.ad.Array4f'". The same scene has both in llvm_ad_rgb. The cause: in a spectral
# variant, sums with `dr.relative_grad` or `dr.forward_to` of a Spectrum are a plain Array4f, and loops compare types.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"; "$dir/v/bin/pip" -q install mitsuba==3.9.1 numpy
"$dir/v/bin/python" - <<'PY'
import drjit as dr
import mitsuba as mi

results = {}
for variant in ("llvm_ad_rgb", "llvm_ad_spectral"):
    mi.set_variant(variant)
    view = mi.ScalarTransform4f().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0])
    scene = mi.load_dict(
        {
            "type": "scene", "integrator": {"type": "prb", "max_depth": 2}, "sky": {"type": "constant"},
            "ball": {"type": "sphere", "bsdf": {"type": "roughconductor", "alpha": 0.2}},
            "sensor": {"type": "perspective", "to_world": view, "film": {"type": "hdrfilm", "width": 4, "height": 4}},
        }
    )
    params = mi.traverse(scene)
    key = "ball.bsdf.alpha.value"
    dr.enable_grad(params[key])
    params.update()
    dr.backward(dr.mean(mi.render(scene, params, spp=4), axis=None))
    results[variant, "backward"] = f"{dr.grad(params[key])[0]:.3f}"
    image = mi.render(scene, params, spp=4)
    try:
        dr.forward(params[key])
        results[variant, "forward"] = f"{dr.mean(dr.grad(image), axis=None).array[0]:.3f}"
    except RuntimeError as error:
        results[variant, "forward"] = str(error)[:120]
for (variant, mode), what in results.items():
    print(f"{variant:18s} {mode:9s} {what}")
assert "changed" in results["llvm_ad_spectral", "forward"], "mended: forward mode works"
assert "changed" not in results["llvm_ad_rgb", "forward"]
PY
