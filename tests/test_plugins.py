"""Plugins in XML, dictionaries and `mi.render`, before and after a variant is set or changed."""

import subprocess
import sys

import mitsuba as mi
import pytest

SCENE = """<scene version="3.0.0"><integrator type="prb_edge"><integer name="max_depth" value="3"/></integrator>
<sensor type="perspective"><film type="hdrfilm"><integer name="width" value="8"/><integer name="height" value="8"/></film></sensor>
<emitter type="constant"/><shape type="sphere"/></scene>"""


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_xml_and_dictionary():
    scene = mi.load_string(SCENE)
    assert type(scene.integrator()).__name__ == "EdgeIntegrator"
    assert scene.integrator().max_depth == 3
    assert mi.render(scene, spp=1).shape[:2] == (8, 8)
    assert mi.render(scene, integrator=mi.load_dict({"type": "prb_edge"}), spp=1).shape[:2] == (8, 8)


def test_variant_before_import_and_switch():
    out = python(
        "import pbdr, mitsuba as mi\n"
        "S = '''" + SCENE + "'''\n"
        "for v in ('llvm_ad_rgb', 'llvm_ad_mono', 'scalar_rgb', 'llvm_ad_spectral', 'llvm_ad_rgb'):\n"
        "    mi.set_variant(v)\n"
        "    if v.startswith('scalar'):\n"
        "        continue\n"
        "    print(v, mi.render(mi.load_string(S), spp=1).shape[0])\n"
    )
    assert out.count(" 8") == 4


def test_import_after_variant():
    import pbdr

    llvm = pbdr.library.path if pbdr.library else ""
    out = python(
        f"import os; os.environ.setdefault('DRJIT_LIBLLVM_PATH', {llvm!r})\n"
        "import mitsuba as mi\nmi.set_variant('llvm_ad_rgb')\nimport pbdr\n"
        "print(mi.load_dict({'type': 'prb_edge'}).max_depth)"
    )
    assert out.strip() == "6"


def test_native_names_are_never_replaced(monkeypatch):
    from pbdr import InputError, plugins

    monkeypatch.setitem(plugins.PLUGINS, "path", ("integrator", "pbdr.integrators.prb_edge:EdgeIntegrator"))
    monkeypatch.setattr(plugins, "_registered", set())
    with pytest.raises(InputError, match="already has a plugin named 'path'"):
        plugins.register(None, mi.variant())
