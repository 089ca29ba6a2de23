"""Errors a user can act on: the message is one line that says what is wrong and what to do about it."""


class SeparateError(Exception):
    """Base of every error this package raises on purpose; `str(error)` is fit to be shown to the user."""


class AudioError(SeparateError):
    """A file that cannot be read, understood or written as audio."""


class NotFiniteError(AudioError):
    """Stems that would hold NaN or infinite samples: a sound far beyond full scale, or a broken model."""


class ModelError(SeparateError):
    """A model that is not there, is damaged, or does not offer what was asked of it."""


class Cancelled(SeparateError):
    """The caller asked for the work to stop; nothing was left half-written."""
