"""The one family of errors that a user can cause and mend."""

from __future__ import annotations


class GP3DError(ValueError):
    """Bad input. The message is one line: what was expected, what was found, what to do."""

    exit_code = 2
