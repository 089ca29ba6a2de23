"""Splits a song into its stems: `Separator.load()` makes one, `separate song.mp3` is the command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from separate.errors import AudioError, Cancelled, ModelError, SeparateError

if TYPE_CHECKING:
    from separate.encode import AudioFormat as AudioFormat
    from separate.files import Job as Job
    from separate.separator import Separator as Separator

__version__ = "0.2.0"
__all__ = ["AudioError", "AudioFormat", "Cancelled", "Job", "ModelError", "SeparateError", "Separator", "__version__"]

# Imported when asked for: they pull in torch, which `separate --help` should not wait for.
_LATER = {"Separator": "separate.separator", "Job": "separate.files", "AudioFormat": "separate.encode"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
