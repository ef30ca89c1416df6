"""The materials of MTL files.

One meaning for all of GP3D, chosen so that models look as they do in Blender, whose importer of OBJ files was measured:

    Kd            linear colour; map_Kd replaces it. More than 1 is taken for 0 to 255.
    d, Tr         d is opacity. Tr counts only where d is missing: what lies between 0 and 1 lets light through, be it
                  meant as 1 - d or, as some programs write it, as d. Tr 1 alone is opaque: nobody writes a material
                  that cannot be seen, and those programs write Tr 1 for all that is solid.
    map_d         replaces d: the alpha of a picture that has one, else its brightness, or the channel of -imfchan.
                  The picture of map_Kd named once more means its alpha alone; without one all is opaque.
    map_Kd        its alpha cuts where it is nearly everywhere 0 or 1, as of leaves; other alpha is ignored.
    Ke, map_Ke    emission; the picture replaces the number.
    Ns, Pr        roughness is 1 - sqrt(Ns / 1000); Pr says it itself, and map_Pr replaces both.
    Pm            metallic; without it, reflective illum (3 to 8) makes it the mean of Ka, 1 where Ka is missing.
    Ks, Ni        the specular level is the mean of Ks, scaled by what Ni reflects against glass of 1.5.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles, shown_name, without_comment
from synthetic.staging.surface import Material, Texture
from synthetic.staging.treatment import Treatment
from synthetic.staging.wavefront.mtl import (
    AS_IT_IS,
    IGNORED_MAPS,
    USED_MAPS,
    Entry,
    TextureMap,
    Transform,
    decoded,
    read_entries,
    unquoted,
)
from synthetic.staging.wavefront.statements import plain_text

Alpha = npt.NDArray[np.uint8]

_MAX_BYTES = 16 * 2**20
_MAX_WORDS = 64  # of one mtllib that are tried in all combinations of blanks
_GLASS = 0.04  # what glass of refractive index 1.5 reflects, on which Blender's specular level is based
_NO_MATERIAL = ("", "none", "(null)")


@dataclass(frozen=True)
class Look:
    """A material with the transforms of its uv layers; `defined` is False where the file has none of that name."""

    material: Material
    layers: tuple[Transform, ...]
    defined: bool


class MaterialFiles:
    """The materials that an OBJ file may use."""

    def __init__(
        self, files: ModelFiles, libraries: list[bytes], treatment: Treatment, notes: Counter[str]
    ) -> None:
        """Reads the files named in `libraries`, the rests of mtllib statements."""
        self._files, self._treatment, self._notes = files, treatment, notes
        self._entries: dict[str, Entry] = {}
        self._missing: list[str] = []
        self._pictures: dict[Path, Path] = {}
        beside = files.path.with_suffix(".mtl")
        paths: list[Path] = []
        for library in dict.fromkeys(libraries):
            paths += self._paths(decoded(library), beside)
        if not libraries:
            found = files.find(files.path.parent, beside.name)
            paths += [found] if found else []
        for path in dict.fromkeys(paths):
            content = plain_text(files.read(path, _MAX_BYTES), path.name)
            for name, entry in read_entries(decoded(content), path.parent).items():
                self._entries.setdefault(name, entry)

    def look(self, name: bytes) -> Look:
        """How the material that a usemtl statement names looks.

        Raises BrokenModelError where it or one of its textures is missing and the treatment does not allow for that.
        """
        text = decoded(name)
        entry = self._entries.get(text) or self._entries.get(unquoted(text)) or self._nearly(text)
        if entry is None:
            if text.lower() not in _NO_MATERIAL:
                which = (
                    f"its material file {self._missing[0]}" if self._missing else f"its material {text[:80]}"
                )
                self._promise(
                    f"{which} is missing from the model's folder", "missing materials replaced by grey"
                )
            return Look(Material(text), (AS_IT_IS,), False)
        return _Maker(self, entry, text).look()

    def _nearly(self, name: str) -> Entry | None:
        """The material whose name is the same but for capitals and a comment after it, where there is only one."""
        wanted = without_comment(name).lower()
        found = [entry for other, entry in self._entries.items() if without_comment(other).lower() == wanted]
        return found[0] if len(found) == 1 else None

    def _paths(self, library: str, beside: Path) -> list[Path]:
        """Files of one mtllib statement, which may name several, also with blanks in their names."""
        folder = self._files.path.parent
        whole = self._files.find(folder, library)
        if whole:
            return [whole]
        words, paths = re.findall(r'"[^"]*"|\S+', library), []
        while words:
            for count in range(min(len(words), _MAX_WORDS), 0, -1):
                found = self._files.find(folder, " ".join(words[:count]))
                if found:
                    paths.append(found)
                    break
            else:
                count = 1
                self._missing.append(words[0].replace("\\", "/").rpartition("/")[2][:80])
            words = words[count:]
        if not paths:
            found = self._files.find(folder, beside.name)
            paths += [found] if found else []
        return paths

    def picture(self, entry: Entry, wanted: TextureMap) -> Path | None:
        """A checked copy of a picture, None where it is to be done without."""
        try:
            path = self._files.find_texture(entry.folder, wanted.name)
            if path not in self._pictures:
                content = self._files.read(path)
                self._pictures[path] = self._files.stage_texture(content, f"its texture {shown_name(path)}")
            return self._pictures[path]
        except BrokenModelError as error:
            self._promise(str(error), "missing textures replaced by the plain colour")
            return None

    def alpha_counts(self, texture: Path) -> npt.NDArray[np.int64] | None:
        """[256] how often a picture that is staged has each alpha; None where it has no alpha."""
        return self._files.alpha_counts(texture)

    def stage(self, picture: Image.Image) -> Path:
        """A picture of ours as a file."""
        content = BytesIO()
        picture.save(content, "PNG", compress_level=1)
        return self._files.stage_texture(content.getvalue(), "a texture of it")

    def note(self, phrase: str) -> None:
        """Counts something that is left out."""
        self._notes[phrase] += 1

    def _promise(self, reason: str, phrase: str) -> None:
        if self._treatment.missing_textures == "fail":
            raise BrokenModelError(reason) from None
        self._notes[phrase] += 1


class _Maker:
    """Makes one material of what its file says."""

    def __init__(self, owner: MaterialFiles, entry: Entry, name: str) -> None:
        self._owner, self._entry, self._name = owner, entry, name
        self._layers: list[Transform] = []

    def look(self) -> Look:
        entry = self._entry
        material = _plain(entry, self._name)
        color = self._texture("map_kd")
        if color is not None:
            material = replace(material, color=(1.0, 1.0, 1.0), color_texture=color)
        emission = self._texture("map_ke")
        if emission is not None:
            material = replace(material, emission=(1.0, 1.0, 1.0), emission_texture=emission)
        material = self._with_gloss(self._with_alpha(material))
        for key in entry.maps.keys() - set(USED_MAPS):
            known = key in IGNORED_MAPS
            self._owner.note("gloss and relief maps ignored" if known else "maps of unknown kinds ignored")
        for _ in entry.unread - entry.numbers.keys():
            self._owner.note("material values that are no numbers ignored")
        return Look(material, tuple(self._layers) or (AS_IT_IS,), True)

    def _texture(self, key: str, picture: Path | None = None) -> Texture | None:
        wanted = self._entry.maps.get(key)
        if wanted is None:
            return None
        path = picture or self._owner.picture(self._entry, wanted)
        if path is None:
            return None
        if wanted.transform not in self._layers:
            self._layers.append(wanted.transform)
        wrap = ("clamp", "clamp") if wanted.clamp else ("repeat", "repeat")
        return Texture(path, self._layers.index(wanted.transform), wrap)  # type: ignore[arg-type]

    def _with_alpha(self, material: Material) -> Material:
        wanted = self._entry.maps.get("map_d")
        path = self._owner.picture(self._entry, wanted) if wanted else None
        if wanted is None or path is None:
            return self._with_alpha_of_color(material)
        again = material.color_texture is not None and material.color_texture.path == path
        with Image.open(path) as picture:
            if again and wanted.channel in ("", "m"):
                alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
            else:
                alpha = _channel(picture, wanted.channel)
        if alpha.min() == 255:
            return replace(material, opacity=1.0, alpha="opaque")
        texture = self._texture("map_d", self._owner.stage(Image.merge("LA", [Image.fromarray(alpha)] * 2)))
        kind = "mask" if _cuts(np.bincount(alpha.ravel(), minlength=256)) else "blend"
        return replace(material, opacity=1.0, alpha=kind, alpha_texture=texture)  # type: ignore[arg-type]

    def _with_alpha_of_color(self, material: Material) -> Material:
        if material.color_texture is None or material.opacity < 1:
            return material
        counts = self._owner.alpha_counts(material.color_texture.path)
        if counts is None:
            return material
        if _cuts(counts):
            return replace(material, alpha="mask")
        if counts[:255].any():
            self._owner.note("alpha of colour textures ignored")
        return material

    def _with_gloss(self, material: Material) -> Material:
        """With one picture of roughness and metal made of two."""
        pictures = {
            key: self._owner.picture(self._entry, self._entry.maps[key])
            for key in ("map_pr", "map_pm")
            if key in self._entry.maps
        }
        channels = {}
        for key, path in pictures.items():
            if path is not None:
                with Image.open(path) as picture:
                    channels[key] = Image.fromarray(_channel(picture, self._entry.maps[key].channel or "l"))
        if not channels:
            return material
        size = max((picture.size for picture in channels.values()), key=lambda size: size[0] * size[1])
        white = Image.new("L", size, 255)
        rough, metal = (
            channels[key].resize(size, Image.Resampling.BILINEAR) if key in channels else white
            for key in ("map_pr", "map_pm")
        )
        texture = self._texture(
            next(iter(channels)), self._owner.stage(Image.merge("RGB", [white, rough, metal]))
        )
        return replace(
            material,
            roughness=1.0 if "map_pr" in channels else material.roughness,
            metallic=1.0 if "map_pm" in channels else material.metallic,
            metallic_roughness_texture=texture,
        )


def _plain(entry: Entry, name: str) -> Material:
    """The material without its pictures."""
    illum = int(entry.number("illum") or 0)
    highlight, reflective = illum == 2, 3 <= illum <= 8
    diffuse = entry.numbers.get("kd", (0.8, 0.8, 0.8))
    scale = 255.0 if max(diffuse) > 2 else 1.0
    gloss = entry.number("ns")
    roughness = (0.0 if highlight else 1.0) if gloss is None else 1 - math.sqrt(_unit(gloss / 1000))
    given, metallic = entry.number("pm"), 0.0
    if given is not None:
        metallic = given
    elif reflective:
        metallic = sum(entry.numbers.get("ka", (1.0, 1.0, 1.0))) / 3
    shine = entry.numbers.get("ks")
    specular = float(highlight) if shine is None else sum(shine) / 3
    index = entry.number("ni") or (1.0 if illum in (6, 7) else 1.5)
    reflected = ((max(index, 1.0) - 1) / (max(index, 1.0) + 1)) ** 2
    opacity = entry.number("d")
    if opacity is None:
        passed = _unit(entry.number("tr") or 0.0)
        opacity = 1.0 if passed == 1 else 1 - passed
    opacity = _unit(opacity)
    rough = entry.number("pr")
    emission = entry.numbers.get("ke", (0.0, 0.0, 0.0))
    return Material(
        name,
        color=(_unit(diffuse[0] / scale), _unit(diffuse[1] / scale), _unit(diffuse[2] / scale)),
        opacity=opacity,
        alpha="blend" if opacity < 1 else "opaque",
        emission=(max(emission[0], 0.0), max(emission[1], 0.0), max(emission[2], 0.0)),
        metallic=_unit(metallic),
        roughness=_unit(roughness if rough is None else rough),
        specular=_unit(specular * reflected / _GLASS),
    )


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _channel(picture: Image.Image, name: str) -> Alpha:
    """[H,W] the channel of a picture that -imfchan names: r, g, b, m for alpha, l for brightness; by default alpha."""
    bands = picture.getbands()
    if name in ("r", "g", "b") and name.upper() in bands:
        return np.asarray(picture.getchannel(name.upper()))
    if name in ("", "m") and "A" in bands:
        alpha = np.asarray(picture.getchannel("A"))
        if name == "m" or alpha.min() < 255:
            return alpha
    return np.asarray(picture.convert("L"))


def _cuts(counts: npt.NDArray[np.int64]) -> bool:
    """Whether alpha, of which there are so many of each value, is that of a cut-out.

    That is both there and not there, and hardly anything between.
    """
    clear, solid = int(counts[:13].sum()), int(counts[243:].sum())
    return clear > 0 and solid > 0 and (clear + solid) / int(counts.sum()) >= 0.95
