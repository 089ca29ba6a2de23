import numpy as np
import pytest

from recipes.opencorpus import lead, synth
from recipes.opencorpus.arrangement import Song
from recipes.opencorpus.catalogue import RATE
from recipes.opencorpus.melody import SCALES

SONG = Song(0.5, 2, SCALES[0], (0, 4, 5, 3) * 6, (True,) * 24)


def loudest(wave: np.ndarray) -> float:
    """Hz of a second's highest peak."""
    return float(np.abs(np.fft.rfft(wave[:RATE] * np.hanning(RATE))).argmax())


def test_a_lead_line_stays_near_the_songs_scale_and_rests_in_sections() -> None:
    silent, away = [], []
    for seed in range(8):
        pitch, loudness, age = lead.lead_line(SONG, np.random.default_rng(seed))
        assert len(pitch) == len(loudness) == len(age) == 24 * 2 * lead.FRAMES
        assert loudness.min() >= 0 and loudness.max() <= 1 + 1e-9
        held = pitch[(age > 0.3)]
        away.append(np.median(np.abs((held[:, None] - SONG.tonic - np.array(SCALES[0]) + 6) % 12 - 6).min(1)))
        silent.append((loudness.reshape(3, -1).max(1) < 0.01).mean())
    assert 0 < np.mean(silent) < 0.8
    assert np.mean(away) < 0.3  # semitones; between the notes are glides and vibrato. By chance it would be 0.42


def test_a_lead_sounds_at_its_pitch_without_aliases() -> None:
    saw = synth.Patch(1 / np.arange(1, 200), (0.0,), 100.0, 100.0, 1.0, 0.001, 0.05, 1.0)
    frames = int(2 * lead.FRAMES)
    wave = lead.sound(saw, np.full(frames, 83.2131), np.ones(frames), np.zeros(frames), np.random.default_rng(0))[:, 0]
    assert len(wave) == 2 * RATE and loudest(wave) == pytest.approx(1000, abs=2)
    power = np.square(np.abs(np.fft.rfft(wave[:RATE] * np.hanning(RATE))))
    near = np.abs(np.arange(len(power)) / 1000 - np.round(np.arange(len(power)) / 1000)) < 0.02
    assert power[~near].sum() < 1e-4 * power.sum()


def test_a_lead_is_as_long_as_the_song_and_in_stereo_with_several_oscillators() -> None:
    for seed in range(4):
        wave = lead.play_lead(SONG, np.random.default_rng(seed))
        assert wave.shape == (48 * RATE, 2) and np.isfinite(wave).all()
    one, three = (
        lead.sound(
            synth.Patch(1 / np.arange(1, 50), detune, 9.0, 9.0, 1.0, 0.01, 0.1, 1.0), *np.ones((3, 400)) * 60, np.random.default_rng(0)
        )
        for detune in ((0.0,), (-5.0, 0.0, 5.0))
    )
    np.testing.assert_allclose(one[:, 0], one[:, 1])
    assert not np.allclose(three[:, 0], three[:, 1])


@pytest.mark.parametrize("pitch", [220.0, 3000.0])
def test_a_bell_has_its_partials_where_modulation_puts_them(pitch: float) -> None:
    """At pitch times 1 + n * ratio, for whole n: reflected at 0, but not at 22 kHz."""
    bell = synth.Bell(ratio=1.4, index=3.0, decay=1e6, release=0.1, sustain=1.0)
    wave = bell.sound(pitch, RATE, [0.0])
    power = np.square(np.abs(np.fft.rfft(wave * np.hanning(RATE))))
    partials = np.abs(pitch * (1 + 1.4 * np.arange(-12, 13)))
    near = np.abs(np.arange(len(power))[:, None] - partials).min(1) <= 3
    assert power[~near].sum() < 2e-3 * power.sum()
    assert (power[near] > 1e-4 * power.max()).sum() > 3
    for seed in range(4):
        any_bell = synth.any_bell(np.random.default_rng(seed))
        assert np.isfinite(any_bell.sound(pitch, RATE, [0.0] * len(any_bell.detune))).all()
