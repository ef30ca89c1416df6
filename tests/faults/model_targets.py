"""Models of scenes, depth maps, labels and pictures to pack, as strangers may send them."""

from __future__ import annotations

import io
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gp3d_core.hashing import digest
from gp3d_core.preparation.depth.files import read_numbers
from gp3d_core.preparation.sources.label_tables import parse_table
from gp3d_core.preparation.sources.layouts import list_pictures
from gp3d_core.preparation.sources.trees import ZipReader, list_zip
from gp3d_core.vq3d import presets
from gp3d_core.vq3d.files.prior_file import TOKENIZER, build_prior, load_prior, save_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.models.field import FieldDecoder
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.scenes.scenefile import Part, Scene, load_scene, save_scene
from tests.faults.mutations import damaged
from tests.faults.targets import Target, bytes_of, header_of
from tests.support.tasks import VQ3D

_CLASSES = [{"label": 0, "name": "mug"}]
_TABLE = b"image,label,class_name\na.png,0,coffee mug\nb/c.png,1,n07734744\nd.png,2,mushroom\n"


def model_targets(folder: Path) -> list[Target]:
    """These kinds; whole examples of them are made in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    config = presets.resolve("tiny32", VQ3D)
    tokenizer, prior, scene = (
        folder / name for name in (TOKENIZER, "prior.safetensors", "scene.safetensors")
    )
    save_tokenizer(tokenizer, Tokenizer(config), config, _CLASSES, 4)
    save_prior(prior, build_prior(config, 1), config, _CLASSES, 4, digest(tokenizer))
    planes, decoder = torch.randn(3, config.decoder.plane_channels, 16, 16), FieldDecoder(config.decoder)
    part = Part(planes, decoder.eval(), config.decoder, digest(tokenizer), "picture", torch.arange(16))
    save_scene(Scene((part,), config.camera, config.render, 16, pivot=1.1), scene)

    def read_prior(path: Path) -> object:
        shutil.copyfile(tokenizer, path.with_name(TOKENIZER))
        return load_prior(path)

    kinds = {
        "tokenizer": (tokenizer, load_tokenizer),
        "prior": (prior, read_prior),
        "scene": (scene, load_scene),
    }
    return [
        *(Target(f"{name}, header", header_of(path), read) for name, (path, read) in kinds.items()),
        *(
            Target(f"{name}, bytes", bytes_of(path.read_bytes(), ".safetensors"), read)
            for name, (path, read) in kinds.items()
        ),
        *(
            Target(f"depth map {suffix}", bytes_of(content, suffix), read_numbers, apart=suffix == ".exr")
            for suffix, content in _depth_maps(folder).items()
        ),
        Target(
            "table of labels",
            bytes_of(_TABLE, ".csv"),
            lambda path: parse_table(path.read_bytes(), path.name),
        ),
        Target("pictures, zip", _zip, _list),
    ]


def _depth_maps(folder: Path) -> dict[str, bytes]:
    values = np.linspace(1, 3, 48, dtype=np.float32).reshape(6, 8)
    np.save(folder / "map.npy", values)
    np.savez(folder / "map.npz", depth=values)
    Image.fromarray((values * 9000).astype(np.uint16)).save(folder / "map.png")
    suffixes = [".npy", ".npz", ".png"]
    try:
        import OpenEXR
    except ImportError:
        pass
    else:
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"Z": values}).write(str(folder / "map.exr"))
        suffixes.append(".exr")
    return {suffix: (folder / f"map{suffix}").read_bytes() for suffix in suffixes}


def _zip(dice: random.Random, folder: Path) -> Path:
    """Pictures in folders of classes, under names that strangers may choose, in an archive that is damaged or whole."""
    stream = io.BytesIO()
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    names = [
        "n03063599/a.png",
        "n07734744/b.png",
        "../c.png",
        "/d.png",
        "e" * 300 + ".png",
        "\x1b[2J.png",
        "metadata.csv",
    ]
    with zipfile.ZipFile(stream, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in dice.sample(names, dice.randint(2, len(names))):
            archive.writestr(name, _TABLE if name.endswith(".csv") else image.getvalue())
    path = folder / "damaged.zip"
    path.write_bytes(damaged(dice, stream.getvalue()) if dice.random() < 0.9 else stream.getvalue())
    return path


def _list(path: Path) -> object:
    """All that packing reads of it."""
    reader = ZipReader(path)
    listing = list_pictures(list_zip(path), reader.read, path.name)
    return [reader.read(entry.key) for entry in listing.entries]
