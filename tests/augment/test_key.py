import numpy as np
import pytest

from separate.augment.key import chroma, matching_speed
from separate.augment.waveform import change_speed
from tests.conftest import RATE


def chord(*hertz: float) -> np.ndarray:
    """[samples, 2], a second of the notes with five harmonics each."""
    phase = 2 * np.pi * np.arange(RATE)[:, None] / RATE
    wave = sum(np.sin(phase * note * harmonic) / harmonic for note in hertz for harmonic in range(1, 6))
    return np.repeat(0.1 * wave, 2, axis=1).astype(np.float32)


def test_octaves_are_one_note_and_semitones_are_not() -> None:
    low, high, next_one = (chroma(chord(note), RATE) for note in (220.0, 440.0, 440 * 2 ** (1 / 12)))
    assert low @ high > 0.9 > 0.5 > low @ next_one
    assert not chroma(np.zeros((1000, 2), dtype=np.float32), RATE).any()


@pytest.mark.parametrize("semitones", [-4, -1, 0, 3])
def test_a_song_is_played_at_the_speed_that_puts_it_in_the_other_ones_key(semitones: int) -> None:
    song, other = chord(220.0, 277.2, 329.6), chord(*(note * 2 ** (semitones / 12) for note in (220.0, 277.2, 329.6)))
    speed = matching_speed(song, other, RATE, (0.75, 1.33))
    assert 12 * np.log2(speed) == pytest.approx(semitones, abs=0.2)
    assert chroma(change_speed(song, speed, RATE)[: RATE // 2], RATE) @ chroma(other, RATE) > 0.8


def test_the_speed_stays_in_its_range() -> None:
    rng = np.random.default_rng(0)
    speeds = [matching_speed(chord(220 * 2 ** rng.random()), chord(220 * 2 ** rng.random()), RATE, (0.9, 1.1)) for _ in range(20)]
    assert 0.9 <= min(speeds) < 1 < max(speeds) <= 1.1
