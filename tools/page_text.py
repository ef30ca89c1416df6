"""Text of programs as Markdown, for the made pages of the site."""

from __future__ import annotations

import re


def table_row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(escaped(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def escaped(text: str) -> str:
    """Text whose angle and square brackets and asterisks outside code are not markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\[\]<>*])", r"\\\1", part) for part in parts)


def sentence(text: str) -> str:
    """Text with a capital at its beginning and a full stop at its end."""
    text = escaped(" ".join(text.split()))
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def wrapped(usage: str, width: int = 100) -> str:
    """A usage line broken between its options."""
    lines = [""]
    for word in re.findall(r"\[[^]]*\](?: \.\.\.\])?|\S+", usage):
        if len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)
