"""Lines of the user's own source: where a trace went wrong, or noticed something."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import torch

_OWN_CODE = (str(Path(torch.__file__).parent) + os.sep, str(Path(__file__).parents[1]) + os.sep)


def is_user_file(filename: str) -> bool:
    """Whether a file belongs neither to torch nor to fxpasses, and is not generated code."""
    return not filename.startswith((*_OWN_CODE, "<"))


def last_user_frame(frames: Iterable[traceback.FrameSummary]) -> traceback.FrameSummary | None:
    """Returns the innermost frame of a user's file; `frames` come outermost first."""
    return next((frame for frame in reversed(list(frames)) if is_user_file(frame.filename)), None)


def user_line() -> str:
    """Returns file and line of the innermost user's frame that is running now, or an empty string."""
    frame = sys._getframe(1)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
