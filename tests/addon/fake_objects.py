"""Combined objects as the fake engine says them."""

from __future__ import annotations


def plain(ask: dict) -> tuple[dict, dict]:
    """A mesh request with class and seed, and what its recipe says of a combined object."""
    if "object" not in ask:
        return ask, {}
    said = flat(ask["object"])
    main = said["parents"][0]
    return {**ask, "class": main["class"], "seed": main["seed"]}, {"version": 2, **said}


def flat(wanted: dict) -> dict:
    """The object as an engine says it: of class and seed, or with parents and their shares."""
    if "seed" in wanted or "parents" in wanted:
        return wanted
    of = wanted.get("blend") or wanted.get("mix") or [wanted["vary"], {**wanted["vary"], "seed": 900}]
    at = wanted.get("at", 0.5 * wanted.get("strength", 0))
    early, late = (at, at) if "blend" in wanted else (0.0, 1.0) if "mix" in wanted else (0.0, at)
    shares = ((1 - early, 1 - late), (early, late))
    parents = [
        {"class": part["class"], "seed": part["seed"], "early": share[0], "late": share[1]}
        for part, share in zip(of, shares, strict=True)
        if "seed" in part
    ]
    return {"parents": parents, "late_from": 2}
