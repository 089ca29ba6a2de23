"""The contracts on inputs nobody thought of."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from benchmarks import longrun
from separate import AudioFormat, Job, Separator
from tests.conftest import sound, store_model

RATES = some.sampled_from([8000, 11025, 22050, 32000, 44100, 48000, 96000, 192000])
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(samples=some.integers(1, 60000), rate=RATES, channels=some.integers(1, 2), cuts=some.lists(some.integers(0, 60000), max_size=6))
def test_stems_of_a_stream_cut_anywhere_are_those_of_the_whole(
    separator: Separator, samples: int, rate: int, channels: int, cuts: list[int]
) -> None:
    mixture = torch.from_numpy(sound(samples / rate, channels, rate).T)
    assert mixture.shape == (channels, samples)
    edges = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    parts = list(separator.stream([mixture[:, a:b] for a, b in pairwise(edges)], rate))
    whole = separator(mixture, rate)
    for stem, expected in whole.items():
        streamed = torch.cat([part[stem] for part in parts], dim=-1)
        assert streamed.shape == mixture.shape
        torch.testing.assert_close(streamed, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole["vocals"] + whole["accompaniment"], mixture, atol=1e-5, rtol=0)


@SLOW
@given(frames=some.integers(1, 300), samples=some.integers(1, 60000))
def test_any_chunk_length_gives_the_same(separator: Separator, frames: int, samples: int) -> None:
    mixture, kept = torch.from_numpy(sound(samples / 44100).T), separator.chunk_frames
    try:
        separator.chunk_frames = frames
        chunked = separator(mixture, 44100, ["vocals"])["vocals"]
    finally:
        separator.chunk_frames = kept
    torch.testing.assert_close(chunked, separator(mixture, 44100, ["vocals"])["vocals"], atol=1e-5, rtol=0)


@SLOW
@given(gain=some.floats(0.01, 50), form=some.sampled_from([("wav", "16"), ("wav", "24"), ("wav", "float"), ("flac", "16"), ("flac", "24")]))
def test_one_gain_for_all_stems_and_their_sum_is_the_mixture(
    separator: Separator, tmp_path: Path, gain: float, form: tuple[str, str]
) -> None:
    mixture = np.float32(gain) * sound(0.3)
    soundfile.write(tmp_path / "a.wav", mixture, 44100, "FLOAT")
    result = separator.file(tmp_path / "a.wav", Job(tmp_path / "out", form=AudioFormat(*form), existing="overwrite"))
    total = sum(soundfile.read(path)[0] for path in result.files.values())
    step = {"16": 2**-14, "24": 2**-22, "float": 1e-6 * gain}[form[1]]
    np.testing.assert_allclose(total, mixture * 10 ** (result.gain_db / 20), atol=2 * step + 1e-6 * gain)
    assert (result.gain_db == 0) or form[1] != "float"


@SLOW
@given(samples=some.integers(1, 50000))
def test_two_stems_can_be_made_to_sum_to_the_mixture(two_stem_model: Path, samples: int) -> None:
    separator, mixture = Separator.load(two_stem_model, "cpu"), torch.from_numpy(sound(samples / 44100).T)
    parts = list(separator.stream([mixture], 44100, consistent=True))
    total = torch.cat([part["vocals"] + part["drums"] for part in parts], dim=-1)
    torch.testing.assert_close(total, mixture, atol=1e-6, rtol=0)


def test_memory_stays_flat_over_files(model: Path) -> None:
    """A small version of benchmarks/longrun.py, in a process of its own: fails on a leak of a twentieth of the work's own size."""
    (early, last), _ = longrun.alone(longrun.many, str(model), 30)
    assert last < 1.05 * early


def test_twenty_minutes_of_audio(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At 8 kHz, in the model too, so that it stays quick: every sample comes out, in the memory of a minute."""
    model = store_model(tmp_path_factory.mktemp("models") / "slow", rate=8000)
    given_, got, minute = longrun.alone(longrun.one, str(model), 60, 8000)[0]
    assert given_ == got == 60 * 8000
    given_, got, long = longrun.alone(longrun.one, str(model), 1200, 8000)[0]
    assert given_ == got == 1200 * 8000
    assert long < 1.1 * minute
