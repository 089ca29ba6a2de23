"""A stand-in for scoring that other processes can import."""

import os
import signal
from pathlib import Path


def mortal_score_song(folder: Path) -> dict[str, object]:
    """Scores nothing; dies of `killer` every time and of `unlucky` the first time."""
    tries = folder / "tries"
    with tries.open("a") as file:
        file.write("x")
    if folder.name == "killer" or (folder.name == "unlucky" and len(tries.read_text()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"rows": [{"track": folder.name}], "silent": []}
