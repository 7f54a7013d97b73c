"""Warnings that name the line of the caller's code, not one of this package."""

from __future__ import annotations

import os
import sys
import warnings

FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn(text: str) -> None:
    """Warns at the innermost frame that is not in this package: Python shows a warning once for each such line."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(FOLDER):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
