"""Reads a library from a web server as Blender 5.2 does: python online_library.py URL FOLDER, in a Python with bpy 5.2.

Blender's own code downloads and checks the listing and the files into FOLDER. The last line of stdout is JSON: what
every opened file says of its asset.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def until(condition, step) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "no answer within a minute"
        step()
        time.sleep(0.01)


def download_listing(url: str, folder: Path) -> None:
    from _bpy_internal.assets.remote_library import listing_downloader

    done: list[object] = []
    downloader = listing_downloader.RemoteAssetListingDownloader(url, folder, lambda _: None, done.append)
    downloader.download_and_process()
    until(lambda: done, downloader.on_timer_event)
    assert downloader._status == listing_downloader.DownloadStatus.FINISHED_SUCCESSFULLY, (
        downloader._error_message
    )


def download_files(url: str, folder: Path) -> list[Path]:
    from _bpy_internal.assets.remote_library import asset_downloader, hashing

    pages = [json.loads(page.read_text()) for page in sorted(folder.glob("_v1/assets-*.json"))]
    files = [file for page in pages for file in page["files"]]
    for file in files:
        asset_downloader.download_asset_file(url, folder, "", file["hash"], Path(file["path"]))
    downloader = asset_downloader._asset_downloaders[url]
    until(
        lambda: downloader_status(downloader) != "DOWNLOADING" and not downloader._num_assets_pending,
        downloader.on_timer_event,
    )
    for file in files:
        assert hashing.hash_file(folder / file["path"]) == file["hash"], file["path"]
    return [folder / file["path"] for file in files]


def downloader_status(downloader) -> str:
    return downloader.status.name


def describe(path: Path) -> dict:
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(path), assets_only=True) as (source, target):
        target.objects = list(source.objects)
    (obj,) = target.objects
    data, image = obj.asset_data, obj.active_material.node_tree.nodes["Image Texture"].image
    return {
        "name": obj.name,
        "catalog": data.catalog_id,
        "tags": sorted(tag.name for tag in data.tags),
        "author": data.author,
        "license": data.license,
        "preview": list(obj.preview.image_size),
        "faces": len(obj.data.polygons),
        "texture": list(image.size),
        "recipe": obj["gp3d"],
    }


def main() -> None:
    import bpy  # noqa: F401  it makes Blender's own modules importable

    url, folder = sys.argv[1], Path(sys.argv[2])
    download_listing(url, folder)
    found = [describe(path) for path in download_files(url, folder)]
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":  # Blender downloads in a process that imports this file again
    status = 1
    try:
        main()
        status = 0
    finally:
        sys.stdout.flush()
        if status:
            import traceback

            traceback.print_exc()
        os._exit(status)
