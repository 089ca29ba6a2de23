"""What may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "separate"


def imports(path: Path) -> set[str]:
    """Modules named in import statements anywhere in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_inference_does_not_need_what_only_training_needs(song: Path, model: Path) -> None:
    code = (
        "import sys; from separate import Separator, Job; from pathlib import Path\n"
        f"Separator.load({str(model)!r}).file({str(song)!r}, Job(Path({str(song.parent / 'out')!r})))\n"
        "extra = {'lightning', 'musdb', 'museval', 'torchvision', 'torchaudio', 'matplotlib', 'scipy', 'pandas', 'tensorboard'}\n"
        "assert not extra & set(sys.modules), extra & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ["models", "losses", "augment"])
def test_pure_rooms_know_nothing_of_files_lightning_or_the_command_line(room: str) -> None:
    for path in (PACKAGE / room).glob("*.py"):
        bad = {name for name in imports(path) if name.split(".")[0] in ("lightning", "soundfile", "typer", "musdb", "museval", "pathlib")}
        ours = {name for name in imports(path) if name.startswith("separate.") and name.split(".")[1] not in (room, "frontend", "models")}
        assert not bad | ours, f"{path.name}: {bad | ours}"


def test_nothing_in_the_package_imports_the_command_line_or_recipes() -> None:
    for path in PACKAGE.rglob("*.py"):
        named = imports(path)
        assert not any(name.split(".")[0] in ("recipes", "benchmarks", "tests") for name in named), path
        assert "separate.cli" not in named, path
