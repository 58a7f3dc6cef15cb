"""Target images as people have them: bits, palettes, alpha, orientation."""

import mitsuba as mi
import numpy as np
import pytest
from PIL import Image, ImageOps

import pbdr
from pbdr.scene.targets import content_key, read_image
from pbdr.validation.meshes import uv_sphere

N = 12
RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (N, N + 4, 3), dtype=np.uint8)
ALPHA = RNG.choice(np.array([0, 128, 255], np.uint8), (N, N + 4, 1))
SHAPE = (N, N + 4, 3)


def linear(v):
    v = np.asarray(v, np.float64)
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def test_bits_and_palettes(tmp_path):
    grey16 = RNG.integers(0, 65536, (N, N + 4), dtype=np.uint16)
    palette = Image.fromarray(BYTES).quantize(16)
    images = {
        "rgb.png": (Image.fromarray(BYTES), linear(BYTES / 255)),
        "grey.png": (Image.fromarray(BYTES[..., 0]), linear(np.repeat(BYTES[..., :1], 3, 2) / 255)),
        "grey16.png": (Image.fromarray(grey16), linear(np.repeat(grey16[..., None], 3, 2) / 65535)),
        "palette.png": (palette, linear(np.array(palette.convert("RGB")) / 255)),
        "opaque.png": (Image.fromarray(np.dstack([BYTES, np.full_like(ALPHA, 255)])), linear(BYTES / 255)),
        "photo.webp": (Image.fromarray(BYTES), linear(BYTES / 255)),
    }
    for name, (image, expected) in images.items():
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        np.testing.assert_allclose(read_image(tmp_path / name, SHAPE), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    mi.Bitmap(np.repeat(grey16[..., None], 3, 2)).write(str(tmp_path / "rgb16.png"))
    np.testing.assert_allclose(read_image(tmp_path / "rgb16.png", SHAPE), images["grey16.png"][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), (0.5, 1.0, 0.25)])
def test_a_cut_out_stands_before_the_background(tmp_path, background):
    """Colours under alpha 0 have no part in it; shares of light add up in linear values."""
    Image.fromarray(np.dstack([BYTES, ALPHA])).save(tmp_path / "cut.png")
    with pytest.raises(pbdr.InputError, match=r"transparent.*background"):
        read_image(tmp_path / "cut.png", SHAPE)
    found = read_image(tmp_path / "cut.png", SHAPE, background)
    share = ALPHA / 255
    np.testing.assert_allclose(found, linear(BYTES / 255) * share + np.array(background) * (1 - share), atol=1e-6)
    palette = Image.fromarray(np.where(ALPHA == 0, 0, BYTES[..., :1]).astype(np.uint8)[..., 0]).convert("P")
    palette.save(tmp_path / "palette.png", transparency=0)
    found = read_image(tmp_path / "palette.png", SHAPE, background)
    np.testing.assert_allclose(found[ALPHA[..., 0] == 0], np.broadcast_to(background, (int((ALPHA == 0).sum()), 3)))


def test_a_render_with_alpha_is_what_was_seen_before_black(tmp_path):
    seen = RNG.uniform(0, 2, (N, N + 4, 4)).astype(np.float32)
    seen[..., 3] = ALPHA[..., 0] / 255
    mi.Bitmap(seen).write(str(tmp_path / "render.exr"))
    np.testing.assert_array_equal(read_image(tmp_path / "render.exr", SHAPE), seen[..., :3])
    white = read_image(tmp_path / "render.exr", SHAPE, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(white, seen[..., :3] + 1 - seen[..., 3:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_orientation_of_a_photograph(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = np.linspace(40, 200, N)[:, None, None] + np.linspace(0, 50, N + 4)[None, :, None] + np.zeros(3)
    image = Image.fromarray(smooth.astype(np.uint8))
    file = tmp_path / f"photo.{kind}"
    image.save(file, exif=exif, quality=95)
    with Image.open(file) as stored:
        upright = np.array(ImageOps.exif_transpose(stored))
    found = read_image(file, upright.shape)
    np.testing.assert_allclose(found, linear(upright / 255), rtol=0.03, atol=0.01)  # decoders of JPEG differ
    if orientation > 4:
        with pytest.raises(pbdr.InputError, match=rf"{N}x{N + 4} after .*EXIF orientation \({orientation}\)"):
            read_image(file, SHAPE)


def test_cached_targets_know_what_the_scene_reads(tmp_path):
    """Files of other folders and formats, spectra and included files among it."""
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    uv_sphere(4).write_ply(str(other / "ball.ply"))
    mi.VolumeGrid(np.ones((4, 4, 4, 1), np.float32)).write(str(home / "body.vol"))
    (other / "grey.spd").write_text("400 0.1\n700 0.2\n")
    (other / "more.xml").write_text('<scene version="3.0.0"><shape type="sphere"/></scene>')
    (home / "scene.xml").write_text(
        """<scene version="3.0.0"><include filename="../other/more.xml"/>
        <shape type="ply"><string name="filename" value="../other/ball.ply"/></shape>
        <shape type="sdfgrid"><string name="filename" value="body.vol"/></shape>
        <bsdf type="diffuse" id="d"><spectrum name="reflectance" filename="../other/grey.spd"/></bsdf></scene>"""
    )
    keys = [content_key(home / "scene.xml", 16)]
    assert keys[0] == content_key(home / "scene.xml", 16) != content_key(home / "scene.xml", 32)
    for change in (
        lambda: uv_sphere(5).write_ply(str(other / "ball.ply")),
        lambda: mi.VolumeGrid(np.zeros((4, 4, 4, 1), np.float32)).write(str(home / "body.vol")),
        lambda: (other / "grey.spd").write_text("400 0.1\n700 0.3\n"),
        lambda: (other / "more.xml").write_text('<scene version="3.0.0"><shape type="cube"/></scene>'),
    ):
        change()
        keys.append(content_key(home / "scene.xml", 16))
    assert len(set(keys)) == 5
