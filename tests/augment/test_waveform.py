from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from separate.augment import waveform
from tests.conftest import RATE, sound

TRANSFORMS = {
    "change_speed": lambda wave, rng: waveform.change_speed(wave, 1.1, len(wave)),
    "flip": waveform.flip,
    "equalise": lambda wave, rng: waveform.equalise(wave, rng, RATE, 4.0),
    "room": lambda wave, rng: waveform.room(wave, rng, RATE),
    "widen": lambda wave, rng: waveform.widen(wave, rng, RATE),
    "low_pass": lambda wave, rng: waveform.low_pass(wave, 12000, RATE),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_are_linear_so_a_mixture_stays_the_sum(name: str) -> None:
    a, b = sound(1, seed=1), 0.5 * sound(1, seed=2)
    out_a, out_b, out_sum = (TRANSFORMS[name](wave, np.random.default_rng(5)) for wave in (a, b, a + b))
    assert out_a.shape == a.shape
    np.testing.assert_allclose(out_a + out_b, out_sum, atol=2e-4)
    if name != "flip":
        assert np.abs(out_a - a).max() > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_what_is_widened_has_a_side_and_keeps_its_mid(seed: int) -> None:
    """The side is 6 to 36 dB below the mid where there was none."""
    middle = np.repeat(sound(1, channels=1), 2, axis=1)
    wide = waveform.widen(middle, np.random.default_rng(seed), RATE)
    np.testing.assert_allclose(wide.mean(1), middle.mean(1), atol=1e-6)
    side = (wide[:, 0] - wide[:, 1]) / 2
    assert -42 < 10 * np.log10(np.square(side).mean() / np.square(middle.mean(1)).mean()) < 0


@pytest.mark.parametrize("effect", [waveform.room, waveform.widen])
def test_lows_stay_in_the_middle(effect: Callable[[NDArray[np.float32], np.random.Generator, int], NDArray[np.float32]]) -> None:
    """As in real songs, or the side of a mixture's lows would tell rendered stems from others."""
    noise = np.random.default_rng(1).normal(size=(4 * RATE, 1)).astype(np.float32)
    wave = effect(np.repeat(noise, 2, axis=1), np.random.default_rng(2), RATE)
    frequencies, powers = signal.welch(wave @ np.array([[0.5, 0.5], [0.5, -0.5]]), RATE, nperseg=8192, axis=0)
    low, high = (powers[(frequencies > a) & (frequencies < b)].mean(0) for a, b in ((20, 80), (500, 5000)))
    assert low[1] / low[0] < 0.02 * high[1] / high[0]


def test_limiting_holds_the_peak_with_one_gain() -> None:
    wave = 2 * sound(1)
    gain = waveform.limiter_gain(wave, 0.5)
    assert gain.shape == (len(wave), 1) and gain.min() > 0 and gain.max() <= 1
    assert np.abs(wave * gain).max() <= 0.5 * 1.01
    np.testing.assert_array_equal(waveform.limiter_gain(0.1 * wave, 0.5), 1)


def test_low_pass_removes_what_is_above() -> None:
    frequencies, power = signal.welch(waveform.low_pass(sound(2), 10000, RATE)[:, 0], RATE, nperseg=4096)
    below, above = power[(frequencies > 5000) & (frequencies < 9500)].mean(), power[frequencies > 10800].mean()
    assert above < 1e-4 * below


def test_speed_moves_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)[:, None].astype(np.float32)
    faster = waveform.change_speed(tone, 1.1, RATE)
    spectrum = np.abs(np.fft.rfft(faster[:30000, 0] * np.hanning(30000)))
    assert np.argmax(spectrum) * RATE / 30000 == pytest.approx(1100, abs=2)
    assert not faster[int(RATE / 1.1) + 100 :].any()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_leaves_the_treble(factor: float) -> None:
    """Or every stem of a mix would end at a frequency that tells its speed, as in no real song."""
    noise = np.random.default_rng(0).normal(size=(RATE, 1)).astype(np.float32)
    played = waveform.change_speed(noise, factor, int(RATE / factor))
    power = np.square(np.abs(np.fft.rfft(played[:, 0])))
    edges = np.array((10000, 12000, 17000, 18000)) * len(played) // RATE
    assert power[edges[2] : edges[3]].mean() > 0.7 * power[edges[0] : edges[1]].mean()


def test_level_counts_only_what_sounds() -> None:
    wave = np.full((RATE, 2), 0.1, dtype=np.float32)
    assert waveform.level(wave) == pytest.approx(-20)
    half = wave.copy()
    half[RATE // 2 :] = 0
    assert waveform.level(half) == pytest.approx(-20, abs=0.5)
    assert waveform.level(np.zeros((RATE, 2), dtype=np.float32)) == -np.inf
