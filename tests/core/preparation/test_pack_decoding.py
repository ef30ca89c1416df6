"""Every kind of picture by its stated rule, every kind of damage by one line; files are made by hand where needed."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gp3d_core.datasets.decoding import Limits, PictureError, decode, pixel_hash
from gp3d_core.meshing.colors import linear_to_srgb
from tests.support.png import chunk, png

RANDOM = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    image = decode(content, Limits())
    assert image.mode == "RGB"
    return np.asarray(image)


UPRIGHT = {  # EXIF orientation: what the viewer must do to the stored pixels
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_followed(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = file_of(Image.fromarray(RANDOM), exif=exif.tobytes())
    assert np.array_equal(pixels(content), UPRIGHT[orientation](RANDOM))


def test_unreadable_exif_counts_as_none():
    content = file_of(Image.fromarray(RANDOM), exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert np.array_equal(pixels(content), RANDOM)


def test_transparency_lies_over_white():
    alpha = np.array([[0, 64, 128, 200, 255]] * 6, dtype=np.uint8)
    content = file_of(Image.fromarray(np.dstack([RANDOM, alpha])))
    share = alpha[..., None] / 255
    assert np.abs(pixels(content) - (RANDOM * share + 255 * (1 - share))).max() <= 1


def test_transparent_grey_palette_and_colour_key_lie_over_white():
    grey = np.array([[10, 200]], dtype=np.uint8)
    content = file_of(Image.fromarray(np.dstack([grey, [[255, 0]]]).astype(np.uint8), "LA"))
    assert pixels(content).tolist() == [[[10] * 3, [255] * 3]]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([9, 8, 7, 200, 100, 50])
    assert pixels(file_of(palette)).tolist() == [[[9, 8, 7], [200, 100, 50]]]
    assert pixels(file_of(palette, transparency=1)).tolist() == [[[9, 8, 7], [255, 255, 255]]]
    assert pixels(file_of(palette, "GIF", transparency=1)).tolist() == [[[9, 8, 7], [255, 255, 255]]]
    key = file_of(Image.fromarray(RANDOM), transparency=tuple(RANDOM[2, 3].tolist()))
    assert pixels(key)[2, 3].tolist() == [255] * 3
    assert pixels(key)[0, 0].tolist() == RANDOM[0, 0].tolist()


def test_grey_and_black_and_white_become_three_equal_channels():
    grey = RANDOM[..., 0]
    assert np.array_equal(pixels(file_of(Image.fromarray(grey))), np.dstack([grey] * 3))
    bits = Image.fromarray(grey > 100)
    assert bits.mode == "1"
    assert np.array_equal(pixels(file_of(bits)), np.dstack([(grey > 100) * 255] * 3))


def test_of_sixteen_bits_the_upper_eight_count():
    values = np.array([[0, 255, 256, 40000, 65535]], dtype=np.uint16)
    expected = np.dstack([values >> 8] * 3)
    assert np.array_equal(pixels(file_of(Image.fromarray(values))), expected)
    assert np.array_equal(pixels(file_of(Image.fromarray(values), "TIFF")), expected)
    assert np.array_equal(pixels(file_of(Image.fromarray(values.astype(np.int32)), "TIFF")), expected)
    color = np.random.default_rng(2).integers(0, 65536, (4, 3, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in color)
    assert np.array_equal(pixels(png(3, 4, 16, 2, rows)), color >> 8)


def test_cmyk_goes_by_the_plain_formula():
    inks = np.random.default_rng(3).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    light = 255.0 - inks
    expected = light[..., :3] * light[..., 3:] / 255
    assert np.abs(pixels(file_of(Image.fromarray(inks, "CMYK"), "TIFF")) - expected).max() <= 1


def linear_profile(*, grey: bool = False) -> bytes:
    """An ICC profile with the primaries of sRGB, or for grey, whose numbers are proportional to light."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    straight = b"curv\0\0\0\0\0\0\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0\0\0\0\x07linear\0" + bytes(79),
        b"cprt": b"text\0\0\0\0free\0\0\0\0",
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": straight,
        b"gTRC": straight,
        b"bTRC": straight,
        b"kTRC": straight,
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def test_colour_profile_is_converted_to_srgb():
    content = file_of(Image.fromarray(RANDOM), icc_profile=linear_profile())
    expected = 255 * linear_to_srgb(RANDOM / 255.0)
    assert np.abs(pixels(content) - expected).max() <= 2
    opaque = np.dstack([RANDOM, np.full((6, 5), 255, dtype=np.uint8)])
    see_through = file_of(Image.fromarray(opaque), icc_profile=linear_profile())
    assert np.abs(pixels(see_through) - expected).max() <= 2


def test_colour_profile_of_grey_counts_where_parts_are_transparent_too():
    grey, alpha = RANDOM[..., 0] // 2 + 100, np.full((6, 5), 255, dtype=np.uint8)
    alpha[0] = 0
    profile = linear_profile(grey=True)
    expected = np.dstack([255 * linear_to_srgb(grey / 255.0)] * 3)
    assert np.abs(pixels(file_of(Image.fromarray(grey), icc_profile=profile)) - expected).max() <= 2
    found = pixels(file_of(Image.fromarray(np.dstack([grey, alpha]), "LA"), icc_profile=profile))
    assert (found[0] == 255).all()
    assert np.abs(found[1:] - expected[1:]).max() <= 2


def tiff(numbers: np.ndarray, **tags: int) -> bytes:
    """A TIFF written by hand of `numbers` [planes,H,W], smaller byte first, each plane a strip of its own."""
    planes, height, width = numbers.shape
    data = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
    known = {256: width, 257: height, 259: 1, 277: planes, 278: height, 284: 2 if planes > 1 else 1}
    known |= {258: [8 * numbers.itemsize] * planes, 262: 2 if planes > 1 else tags["photometric"]}
    known |= {273: [8 + k * len(data) // planes for k in range(planes)], 279: [len(data) // planes] * planes}
    entries, beside, place = b"", b"", 8 + len(data)
    start = place + 2 + 12 * len(known) + 4
    for tag, value in sorted(known.items()):
        values = value if isinstance(value, list) else [value]
        content = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            content, beside = struct.pack("<I", start + len(beside)), beside + content
        entries += struct.pack("<HHI", tag, 4, len(values)) + content
    table = struct.pack("<H", len(known)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", place) + data + table + beside


def test_what_pillow_misreads_of_tiff_is_mended_or_refused():
    """Where 0 is white Pillow forgets to turn 16 bits about; of planes it takes their lower bytes."""
    values = np.array([[[0, 256, 40000, 65535]]], dtype=np.uint16)
    for photometric, light in ((1, values[0]), (0, 65535 - values[0])):
        assert np.array_equal(pixels(tiff(values, photometric=photometric)), np.dstack([light >> 8] * 3))
        small = (values >> 8).astype(np.uint8)
        light = small[0] if photometric else 255 - small[0]
        assert np.array_equal(pixels(tiff(small, photometric=photometric)), np.dstack([light] * 3))
    planes = np.random.default_rng(5).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    assert np.array_equal(pixels(tiff(planes)), planes.transpose(1, 2, 0))
    with pytest.raises(PictureError, match="16 bits a channel in planes"):
        decode(tiff(planes.astype(np.uint16) * 257), Limits())


@pytest.mark.parametrize("profile", [b"nonsense", linear_profile()[:150], bytes(200)])
def test_unreadable_profile_counts_as_srgb(profile):
    assert np.array_equal(pixels(file_of(Image.fromarray(RANDOM), icc_profile=profile)), RANDOM)


def test_of_an_animation_the_first_picture_is_taken():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(content)[0, 0].tolist() == [255, 0, 0]


def test_nothing_but_pixels_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 3
    image = decode(
        file_of(Image.fromarray(RANDOM), exif=exif.tobytes(), icc_profile=linear_profile()), Limits()
    )
    assert image.info == {}


def test_hash_is_that_of_the_pixels_and_not_of_the_file():
    picture = Image.fromarray(RANDOM)
    first, second = (decode(c, Limits()) for c in (file_of(picture), file_of(picture, "BMP")))
    assert pixel_hash(first) == pixel_hash(second)
    assert pixel_hash(first) != pixel_hash(first.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert pixel_hash(Image.new("RGB", (2, 8))) != pixel_hash(Image.new("RGB", (8, 2)))


GOOD = file_of(Image.fromarray(np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
JPEG = file_of(
    Image.fromarray(np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)), "JPEG"
)
ROW = b"\0" + bytes(4)
BAD = {
    "empty": (b"", "no picture in a format"),
    "text": (b"<html>404</html>", "no picture in a format"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture in a format"),
    "cut png": (GOOD[: len(GOOD) // 2], "cannot be decoded"),
    "cut jpeg": (JPEG[: len(JPEG) // 2], "cannot be decoded"),
    "wrong bytes": (GOOD[:300] + bytes(200) + GOOD[500:], "cannot be decoded"),
    "bomb": (png(60_000, 60_000, 8, 2, b"\0"), "is gigantic"),
    "large": (png(9_000, 9_000, 8, 2, b"\0"), "more than 64 million"),
    "no pixels": (png(0, 5, 8, 2, b"\0"), "cannot be decoded|no picture"),
    "text bomb": (
        png(1, 1, 8, 2, ROW, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27)))),
        "cannot be decoded",
    ),
    "float": (file_of(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
    "64 bits": (tiff(np.zeros((1, 4, 4)), photometric=1), "numbers of a kind that is not read"),
    "beyond 16 bits": (file_of(Image.new("I", (4, 4), 70000), "TIFF"), "beyond 65535"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_picture_is_one_clear_line(name):
    content, said = BAD[name]
    with pytest.raises(PictureError, match=said) as caught:
        decode(content, Limits())
    assert "\n" not in str(caught.value)
