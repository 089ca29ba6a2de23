"""What a single case may cost: memory measured from here on, and time after which it counts as hung."""

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def reset_peak() -> None:
    """The peak of this process's memory starts anew from what it has now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Peak resident memory of this process in MB since it was last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextmanager
def at_most(seconds: int, megabytes: float) -> Iterator[None]:
    """Fails if the block takes longer, or more memory on top of what there was."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    reset_peak()
    before, handler = peak(), signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True)  # if a library does not come back to Python at all
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, handler)
    assert peak() - before < megabytes
