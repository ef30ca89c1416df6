"""Forgets distributions that an interrupted install left incomplete, so that pip installs them again.

    python tools/forget_broken.py SITE_PACKAGES

pip writes a distribution's RECORD last, and trusts any *.dist-info folder it finds. Hence a folder without RECORD, or
whose RECORD lists files that are not there or have another size, is removed. Standard library only.
"""

import csv
import shutil
import sys
from pathlib import Path


def is_complete(info: Path) -> bool:
    """Whether every file listed in the RECORD of the *.dist-info folder `info` is there in its recorded size."""
    record = info / "RECORD"
    if not record.is_file():
        return False
    with record.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            name, size = row[0], row[2]
            if name.endswith(".pyc"):  # caches come and go
                continue
            path = info.parent / name
            if not path.is_file() or (size and path.stat().st_size != int(size)):
                return False
    return True


def forget_broken(site_packages: Path) -> list[str]:
    """Removes incomplete *.dist-info folders and folders that pip had moved aside (`~name`); returns their names."""
    broken = [info for info in site_packages.glob("*.dist-info") if not is_complete(info)]
    broken += [path for path in site_packages.glob("~*") if path.is_dir()]
    for folder in broken:
        shutil.rmtree(folder)
    return sorted(folder.name for folder in broken)


if __name__ == "__main__":
    for name in forget_broken(Path(sys.argv[1])):
        print(f"setup: incomplete, to be installed again: {name}")
