"""What 3DGP's paper (ICLR 2023) reports in its Tables 1, 2, 4 and 7, by table, row and column.

A column is `<score>` or `<score>, <data>`; scores are called fid, is, nfs and fpd. Of fid and fpd less is better. None
stands for a row that is not in the paper, a column that a row lacks is left out.
"""

from __future__ import annotations

LESS_IS_BETTER = ("fid", "fpd")

Figures = dict[str, dict[str, float]]


def _rows(columns: str, lines: str) -> Figures:
    """Figures of lines `row | number | …`, "–" where there is none, under `columns` that are written likewise."""
    names = [name.strip() for name in columns.split("|")]
    rows: Figures = {}
    for line in lines.strip().splitlines():
        key, *cells = (cell.strip() for cell in line.split("|"))
        rows[key] = {name: float(cell) for name, cell in zip(names, cells, strict=True) if cell != "–"}
    return rows


PAPER: dict[int, Figures] = {
    1: _rows(
        "fid, dogs | nfs, dogs | fid, elephants | nfs, elephants | fid, horses | nfs, horses",
        """
        eg3d             | 16.2 | 11.91 | 4.78 | 2.59  | 3.12  | 13.34
        eg3d-wide        | 21.1 | 24.44 | 5.76 | 17.88 | 19.44 | 25.34
        epigraf          | 25.6 | 3.53  | 8.24 | 12.9  | 6.45  | 9.73
        3dgp             | 8.74 | 34.35 | 5.79 | 32.8  | 4.86  | 30.4
        stylegan2-kd     | 6.24 | –     | 3.94 | –     | 2.57  | –
        3dgp-bare        | 8.59 | 1.42  | 7.46 | 9.52  | 3.29  | 8.04
        3dgp-adapted-0   | 8.13 | 3.14  | 5.69 | 1.97  | 3.41  | 1.24
        3dgp-adapted-25  | 9.57 | 33.21 | 6.26 | 33.5  | 4.33  | 32.68
        3dgp-adapted-50  | 9.25 | 36.9  | 7.60 | 30.7  | 5.27  | 32.24
        3dgp-adapted-100 | 12.2 | 27.2  | 12.1 | 26.0  | 8.24  | 27.7
        """,
    ),
    2: _rows(
        "fid | is | nfs",
        """
        biggan       | 8.7   | 142.3 | –
        stylegan-xl  | 2.30  | 265.1 | –
        adm          | 4.59  | 186.7 | –
        eg3d         | 26.7  | 61.4  | 3.70
        eg3d-wide    | 25.6  | 57.3  | 9.83
        volumegan    | 77.68 | 19.56 | 22.69
        stylenerf    | 56.54 | 21.80 | 16.04
        lifted       | 116.9 | 9.47  | –
        epigraf      | 47.56 | 26.68 | 3.93
        epigraf-wide | 58.17 | 20.36 | 12.89
        3dgp         | 19.71 | 124.8 | 18.49
        """,
    ),
    4: _rows(
        "fid, ImageNet | fid, dogs",
        """
        stylegan3        | 28.1  | 6.42
        stylegan3-proj   | 22.8  | 22.6
        stylegan3-kd     | 16.3  | 2.47
        stylegan2        | 33.7  | 9.79
        projected        | 160.5 | 4.10
        stylegan2-kd     | 20.75 | 2.08
        stylegan2-kl     | 25.92 | 2.54
        3dgp-no-teacher  | 53.6  | 21.3
        3dgp-projected   | 105.9 | 10.5
        3dgp             | 27.8  | 4.51
        """,
    ),
    7: _rows(
        "fid | fpd",
        """
        eg3d-known    | 17.22 | 2770.5
        epigraf-known | 21.58 | 424.0
        3dgp-known    | 14.38 | 80.67
        3dgp-blur-1   | 18.33 | 106.9
        3dgp-blur-3   | 30.37 | 139.5
        3dgp-blur-10  | 99.41 | 807.4
        stylegan2     | 5.54  | –
        """,
    ),
}
