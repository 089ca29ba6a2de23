import subprocess
import sys
from pathlib import Path

from separate.plots import score_boxes


def test_tracks_without_a_score_do_not_stop_the_picture(tmp_path: Path) -> None:
    for name, scores in (("some", {"vocals": [1.0, float("nan"), 3.0], "drums": [float("nan")]}), ("none", {})):
        score_boxes(scores, "SDR", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_drawn_without_torch() -> None:
    code = "import sys; from separate.plots import score_boxes; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
