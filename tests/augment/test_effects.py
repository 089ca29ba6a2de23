from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import iirpeak, lfilter

from separate.augment import effects
from separate.augment.waveform import Wave, level
from tests.conftest import RATE, sound


def tone(hertz: float = 440.0) -> Wave:
    """[RATE, 2], amplitude 0.5."""
    return np.repeat(0.5 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)[:, None], 2, axis=1).astype(np.float32)


def share(wave: Wave, hertz: float) -> float:
    """Of a mono second's energy, that within 2 Hz of a frequency."""
    power = np.square(np.abs(np.fft.rfft(wave[:, 0] * np.hanning(len(wave)))))
    return float(power[round(hertz) - 2 : round(hertz) + 3].sum() / power.sum())


def test_drive_adds_odd_harmonics_and_keeps_the_peak() -> None:
    driven = effects.saturate(tone(), 5.0)
    assert np.abs(driven).max() == pytest.approx(0.5, rel=1e-3)
    assert share(tone(), 1320) < 1e-6 < 0.02 < share(driven, 1320)
    assert share(driven, 880) < 1e-6
    np.testing.assert_allclose(effects.saturate(tone(), 1e-3), tone(), atol=1e-5)


def test_echoes_come_at_their_times_and_levels() -> None:
    click = np.zeros((RATE, 2), dtype=np.float32)
    click[0] = 1
    heard = effects.echo(click, RATE, 0.2, -6.0)
    found = [int(place) for place in np.flatnonzero(heard[:, 0])]
    assert found == [round(repeat * 0.2 * RATE) for repeat in range(4)]
    levels = 20 * np.log10(heard[found].max(1))
    np.testing.assert_allclose(levels, [0, -6, -12, -18], atol=0.01)
    assert not effects.echo(click, RATE, 2.0, -6.0)[1:].any()


def test_a_chorus_of_constant_delay_is_a_comb() -> None:
    """5 ms late and as loud: 100 Hz is cancelled, 200 Hz doubled; with depth the sides differ."""
    for hertz, expected in ((100.0, 0.0), (200.0, 1.0)):
        heard = effects.chorus(tone(hertz), RATE, milliseconds=5, depth=0, hertz=1, wet=1)
        assert np.abs(heard[RATE // 10 :]).max() == pytest.approx(expected, abs=0.02)
    moving = effects.chorus(tone(), RATE, milliseconds=15, depth=0.3, hertz=1, wet=1)
    assert np.abs(moving[:, 0] - moving[:, 1]).max() > 0.1
    assert share(moving, 440) < 0.9 < share(tone(), 440)


def test_tremolo_moves_the_loudness_between_one_and_what_depth_leaves() -> None:
    gain = effects.tremolo(np.ones((RATE, 2), dtype=np.float32), RATE, depth=0.6, hertz=2, lag=np.pi)
    np.testing.assert_allclose([gain.min(), gain.max()], [0.4, 1.0], atol=1e-3)
    np.testing.assert_allclose(gain.sum(1), 1.4, atol=1e-5)  # half a turn apart: what one side loses the other has


def test_a_wah_brings_out_what_its_resonance_passes() -> None:
    """Half a second in, after half a turn, it is at the upper end; at the beginning, at the lower."""
    first, half = slice(0, RATE // 20), slice(RATE // 2, RATE * 11 // 20)
    for hertz, loud, faint in ((400.0, first, half), (2000.0, half, first)):
        heard = effects.wah(tone(hertz), RATE, low=400, high=2000, hertz=1)
        levels = [20 * np.log10(np.abs(heard[part]).max() / 0.5) for part in (loud, faint)]
        assert levels[0] == pytest.approx(2, abs=1.0) and levels[1] < -7  # a quarter is added in phase; next to nothing passes


def test_an_amplifier_adds_harmonics_of_what_it_is_given_below_its_speakers_end_and_keeps_the_level() -> None:
    """A bass note alone has next to nothing at its fifth harmonic; through an amplifier it has, and still the same level."""
    driven = effects.amplifier(tone(100), RATE, cut=60, drive=20, bias=0.0, speaker=4000, wet_db=0)
    assert level(driven) == pytest.approx(level(tone(100)), abs=0.01)
    assert share(tone(100), 500) < 1e-6 < 5e-3 < share(driven, 500)
    assert share(driven, 200) < 1e-6 < 1e-4 < share(effects.amplifier(tone(100), RATE, 60, 20, 0.8, 4000, 0), 200)
    dark = effects.amplifier(tone(100), RATE, cut=60, drive=20, bias=0.0, speaker=250, wet_db=0)
    assert share(dark, 500) < share(driven, 500) / 4
    faint = effects.amplifier(tone(100), RATE, cut=60, drive=20, bias=0.0, speaker=4000, wet_db=-40)
    np.testing.assert_allclose(faint, tone(100), atol=0.02)


def loudest_harmonic(wave: Wave, hertz: int) -> int:
    """In Hz, of a mono second."""
    spectrum = np.abs(np.fft.rfft(wave[:, 0] * np.hanning(RATE)))
    return hertz * (1 + int(np.argmax([spectrum[place - 2 : place + 3].max() for place in range(hertz, 4000, hertz)])))


@pytest.mark.parametrize(("seed", "moved"), [(1, 1320), (5, 600), (6, 1440)])
def test_a_warped_envelope_moves_the_resonance_and_keeps_the_pitch(seed: int, moved: int) -> None:
    """A buzz of 120 Hz through a resonance at 960 Hz: its harmonics stay where they are, and another one is the loudest."""
    buzz = np.zeros((RATE, 2), dtype=np.float32)
    buzz[np.arange(0, RATE, RATE / 120).astype(int)] = 1
    voice = lfilter(*iirpeak(960, 6, fs=RATE), buzz, axis=0).astype(np.float32)
    assert loudest_harmonic(voice, 120) == 960
    warped = effects.warp_envelope(voice, np.random.default_rng(seed), 0.5)
    assert warped.shape == voice.shape and warped.dtype == np.float32
    assert loudest_harmonic(warped, 120) == moved
    spectrum = np.abs(np.fft.rfft(warped[:, 0] * np.hanning(RATE)))
    assert spectrum[moved - 2 : moved + 3].max() > 10 * spectrum[moved + 40 : moved + 80].max()


def test_an_envelope_that_is_not_stretched_stays() -> None:
    wave = sound(1)[:40001]
    np.testing.assert_allclose(effects.warp_envelope(wave, np.random.default_rng(0), 0.0), wave, atol=1e-5)
    assert not effects.warp_envelope(np.zeros((500, 2), dtype=np.float32), np.random.default_rng(0), 0.2).any()


def test_an_amplifier_of_any_setting_leaves_silence() -> None:
    silence = np.zeros((RATE, 2), dtype=np.float32)
    np.testing.assert_array_equal(effects.any_amplifier(silence, np.random.default_rng(0), RATE), silence)
    assert {effects.any_amplifier(sound(1), np.random.default_rng(seed), RATE).dtype for seed in range(4)} == {np.dtype(np.float32)}


class Chosen(np.random.Generator):
    """A generator whose first whole number is given."""

    def __init__(self, number: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.number = number

    def integers(self, *_: object, **__: object) -> int:  # type: ignore[override]
        return self.number


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("wave", [sound(1), np.zeros((RATE, 2), dtype=np.float32)], ids=["music", "silence"])
def test_every_effect_changes_music_and_leaves_silence(number: int, wave: Wave) -> None:
    made = effects.any_effect(wave, Chosen(number), RATE)
    assert made.shape == wave.shape and made.dtype == np.float32 and np.isfinite(made).all()
    assert bool(made.any()) == bool(wave.any())
    assert np.allclose(made, wave) != bool(wave.any())


def test_effects_are_drawn_at_random() -> None:
    kinds: set[bytes] = {effects.any_effect(sound(1), np.random.default_rng(seed), RATE).tobytes() for seed in range(6)}
    assert len(kinds) == 6


@pytest.mark.parametrize("effect", [lambda wave: effects.echo(wave, RATE, 0.1, -6), lambda wave: effects.saturate(wave, 2)])
def test_what_comes_in_stays_as_it_was(effect: Callable[[Wave], Wave]) -> None:
    wave = sound(1)
    before = wave.copy()
    effect(wave)
    np.testing.assert_array_equal(wave, before)
