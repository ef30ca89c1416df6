"""Colours that look well, as "#rrggbb" (sRGB). Palettes of a single family live in its file."""

GLAZES = (
    "#f4f1e8",
    "#d8452f",
    "#2f6db5",
    "#f0b429",
    "#3a8f5c",
    "#e98aa5",
    "#6a4c93",
    "#2c3e50",
    "#57b8c9",
    "#e2733b",
)
WOODS = ("#8a5a32", "#a9713c", "#c9975b", "#6b4226", "#d8b27a", "#7b3f24", "#b5814a")
PAINTS = ("#c8382e", "#2f62a3", "#2f7d4f", "#e5b32d", "#f1efe9", "#3b4048", "#7fb3c8", "#d97a3a", "#7a4f8a")
METALS = ("#3a3d42", "#8f959c", "#b98a46", "#b7bcc2", "#5a4632", "#24262a")
CLAYS = ("#c4673e", "#b5553a", "#d08a5b", "#a65b45", "#cfae8e")
