from pathlib import Path

import numpy as np
import pytest

from benchmarks.excerpt import excerpt, main
from separate.data.stems import find_songs
from separate.scoring import global_sdr
from tests.conftest import RATE


def test_the_excerpt_becomes_a_song_of_stems_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folder, real = tmp_path / "valid" / "excerpt", excerpt()
    main([str(folder)])
    (song,) = find_songs(tmp_path / "valid", RATE)
    stems = {name: song.read(name, 0, song.samples) for name in ("vocals", "drums", "bass", "other")}
    for name, wave in stems.items():
        np.testing.assert_array_equal(wave, real[name].astype(np.float32))
    assert global_sdr(real["mixture"].T, np.sum(list(stems.values()), axis=0).T) > 15
    with pytest.raises(FileExistsError):
        main([str(folder)])
