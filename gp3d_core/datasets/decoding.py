"""Any photograph to upright 8-bit sRGB, by stated rules.

Turned as EXIF says. An embedded colour profile is converted to sRGB (relative colorimetric); one that cannot be read
is taken for sRGB. Transparent parts lie over white, mixed in encoded values. Of 16 bits a channel the upper eight
count. Grey becomes three equal channels, CMYK without a profile goes by the plain formula. Of an animation or of
several pages the first is taken. Only formats that Pillow decodes itself are opened (EPS would start another program).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from gp3d_core.errors import GP3DError
from gp3d_core.hashing import DAMAGE

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
FOREIGN = frozenset(
    {".heic", ".heif", ".avif", ".jp2", ".jxl", ".eps", ".ps", ".svg", ".pdf", ".psd", ".exr", ".hdr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf"}
)  # pictures, but not for us
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _PLANES = (
    258,
    262,
    284,
)  # TIFF tags: BitsPerSample, PhotometricInterpretation, PlanarConfiguration
_STRIP = 256  # rows
# Else Python prints what Pillow logs of a damaged file, beside the one line of whoever reads it
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PictureError(GP3DError):
    """A picture that cannot be used; the message says why, without its name."""


@dataclass(frozen=True)
class Limits:
    """What is still decoded: at most `pixels` in all; `raised_with` names the parameter that allows more, if any."""

    pixels: int = 64_000_000
    raised_with: str | None = None


def decode(content: bytes, limits: Limits) -> Image.Image:
    """The upright sRGB picture (mode RGB) in the file `content`.

    Raises PictureError for a damaged, gigantic or unreadable one; nothing is unpacked before its size is known.
    """
    return _decoded(content, limits, _plain)


def decode_mask(content: bytes, limits: Limits) -> Image.Image:
    """The upright mask (mode L, 255 = subject) in the file `content`.

    Of a picture with transparent parts it is the alpha channel, of any other the brightness. Raises as `decode`.
    """
    return _decoded(content, limits, _mask_of)


def _decoded(content: bytes, limits: Limits, finish: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `finish` makes of the upright picture in the file `content`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful metadata and of sizes, which are checked here
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
            width, height = image.size
            if width * height > limits.pixels:
                remedy = "" if limits.raised_with is None else f"; raise `{limits.raised_with}`"
                raise PictureError(
                    f"has {width}x{height} pixels, more than {limits.pixels / 1e6:g} million{remedy}"
                )
            if _loses_upper_halves(tags):
                raise PictureError(
                    "is a TIFF with 16 bits a channel in planes of their own; save it as PNG or 8-bit"
                )
            image.load()
            _turn_upright(image)
            return finish(_black_to_light(image) if _white_is_zero(image, tags) else image)
    except PictureError:
        raise
    except UnidentifiedImageError:
        if content[:4] in _TIFF:
            raise PictureError(
                "is a TIFF with numbers of a kind that is not read; save it as 8-bit"
            ) from None
        raise PictureError(f"is no picture in a format that is read ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"is gigantic: it has more than {limits.pixels / 1e6:g} million pixels") from error
    except DAMAGE as error:
        raise PictureError(f"cannot be decoded ({_reason(error)})") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """The pixels of `image` upright, as 8-bit sRGB over white, and nothing else of it.

    Raises PictureError for numbers whose black and white are not known.
    """
    upright = image.copy()
    with contextlib.suppress(*DAMAGE):
        upright = ImageOps.exif_transpose(image)
    return _plain(upright)


def pixel_hash(image: Image.Image) -> str:
    """Hash of size and pixels of a decoded picture; the same for the same picture in another file or format."""
    digest = hashlib.sha256(struct.pack("<II", *image.size))
    for top in range(0, image.height, _STRIP):  # in strips, so that no second picture is held
        digest.update(image.crop((0, top, image.width, min(top + _STRIP, image.height))).tobytes())
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _plain(image: Image.Image) -> Image.Image:
    """`image` as 8-bit sRGB over white; nothing of the file but its pixels is written again."""
    plain = _to_rgb(_bits_to_eight(image), image.info.get("icc_profile"))
    plain.info.clear()
    return plain


def _mask_of(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if np.asarray(alpha).min() < 255:
            return alpha
    return _plain(image).convert("L")


def _turn_upright(image: Image.Image) -> None:
    """Turns `image` as its EXIF data say; leaves it as it lies where they cannot be read."""
    with contextlib.suppress(*DAMAGE):
        ImageOps.exif_transpose(image, in_place=True)


def _loses_upper_halves(tags: Mapping[int, Any]) -> bool:
    """Whether Pillow would take the lower eight bits of sixteen without a word: in planes, smaller byte first."""
    return tags.get(_PLANES) == 2 and max(tags.get(_BITS) or (0,)) > 8


def _white_is_zero(image: Image.Image, tags: Mapping[int, Any]) -> bool:
    """Whether 0 is white in this TIFF, which Pillow turns about for up to 8 bits and forgets for 16."""
    return tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith("I;16")


def _black_to_light(image: Image.Image) -> Image.Image:
    """`image` (mode I;16) with its numbers turned about, and what is known of it."""
    turned = Image.fromarray(65535 - np.asarray(image).astype(np.uint16))
    turned.info = image.info
    return turned


def _bits_to_eight(image: Image.Image) -> Image.Image:
    """`image` with at most 8 bits a channel: the upper eight of sixteen. PictureError for numbers without a range."""
    if image.mode == "F":
        raise PictureError(
            "holds floating-point numbers, whose black and white are not known; save it as 8-bit"
        )
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise PictureError("holds 32-bit numbers beyond 65535; save it as 8- or 16-bit")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` as sRGB over white."""
    if image.has_transparency_data:
        colors = _to_srgb(image.convert("L" if image.mode in ("L", "LA") else "RGB"), profile)
        over = Image.new("RGB", image.size, "white")
        over.paste(colors.convert("RGB"), mask=image.convert("RGBA").getchannel("A"))
        return over
    if image.mode in ("1", "P", "LAB", "HSV", "YCbCr"):
        image = image.convert("RGB")
    image = _to_srgb(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` after its colour profile, where that fits its channels."""
    if not profile:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != {"L": "GRAY"}.get(image.mode, image.mode):
            return image
        converted = ImageCms.profileToProfile(
            image, own, _srgb(), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
