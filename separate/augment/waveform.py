"""Augmentations of a stem before mixing: all linear, so a mixture of augmented stems is still their sum.

Pure functions on float32 [samples, channels]. What a whole mix goes through (`limiter_gain`, `low_pass`) is returned or applied
so that mixture and stems get the very same: also linear for a given mix.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, oaconvolve, sosfilt

Wave = NDArray[np.float32]
LIMITER_HOP = 128  # samples
LOWS = 200.0  # Hz: in real songs nearly all below it lies in the middle


def decibels(gain_db: float) -> float:
    """The factor that a gain in dB stands for."""
    return float(10 ** (gain_db / 20))


def level(wave: Wave) -> float:
    """RMS level of what sounds, in dBFS: the mean power of the 100 ms windows within 30 dB of the loudest; -inf: silence."""
    window = min(len(wave), 4410)
    power = np.square(wave[: len(wave) // window * window]).reshape(-1, window * wave.shape[1]).mean(1)
    loudest = float(power.max())
    return 10 * float(np.log10(power[power > loudest * 1e-3].mean())) if loudest > 1e-12 else -np.inf


def change_speed(wave: Wave, factor: float, samples: int) -> Wave:
    """Play `factor` times as fast (pitch moves along), cut or filled with silence to `samples`."""
    played = np.asarray(soxr.resample(wave, factor, 1.0, quality="MQ"))[:samples]
    return np.asarray(np.pad(played, ((0, samples - len(played)), (0, 0))))


def flip(wave: Wave, rng: np.random.Generator) -> Wave:
    """Swap left and right half of the time, turn the polarity half of the time."""
    if rng.random() < 0.5:
        wave = wave[:, ::-1]
    return -wave if rng.random() < 0.5 else wave


def equalise(wave: Wave, rng: np.random.Generator, rate: int, spread_db: float) -> Wave:
    """Zero-phase random equaliser: a gain in dB drawn for each of seven octave-spaced points, 60 Hz to 12 kHz, interpolated."""
    points = np.geomspace(60, 12000, 7)
    gains = rng.normal(0, spread_db, len(points)) + rng.normal(0, spread_db / 2) * np.linspace(-1, 1, len(points))
    size = fft.next_fast_len(len(wave), real=True)
    frequencies = np.maximum(fft.rfftfreq(size, 1 / rate), 1.0)
    curve = 10 ** (np.interp(np.log(frequencies), np.log(points), gains) / 20)
    spectrum = fft.rfft(wave, size, axis=0) * curve[:, None].astype(np.float32)
    return np.asarray(fft.irfft(spectrum, size, axis=0)[: len(wave)], dtype=np.float32)


def widen(wave: Wave, rng: np.random.Generator, rate: int) -> Wave:
    """Another width: the side some dB up or down, and to it the mid without lows, smeared over up to 30 ms, 6 to 36 dB below.

    What is rendered in the middle has no side at all; what is recorded, or was compressed, always has some.
    """
    mid, side = (wave[:, 0] + wave[:, 1]) / 2, (wave[:, 0] - wave[:, 1]) / 2
    smear = rng.normal(size=int(rng.uniform(0.002, 0.03) * rate))
    smear *= decibels(-rng.uniform(6, 36)) / np.sqrt(np.square(smear).sum())
    highs = sosfilt(butter(2, LOWS, "highpass", fs=rate, output="sos"), mid).astype(np.float32)
    side = side * decibels(rng.normal(0, 3)) + oaconvolve(highs, smear.astype(np.float32))[: len(mid)]
    return np.asarray(np.stack((mid + side, mid - side), axis=1), dtype=np.float32)


def room(wave: Wave, rng: np.random.Generator, rate: int) -> Wave:
    """A synthetic room: noise decaying by 60 dB in 0.15 to 2.5 s, 4 to 26 dB below the direct sound, darker and without lows."""
    length = int(np.exp(rng.uniform(np.log(0.15), np.log(2.5))) * rate)
    tail = rng.normal(size=(length, wave.shape[1])) * 10 ** (-3 * np.arange(length) / length)[:, None]
    tail = uniform_filter1d(tail, int(rng.integers(2, 12)), axis=0)
    tail = sosfilt(butter(2, LOWS, "highpass", fs=rate, output="sos"), tail, axis=0)
    tail *= decibels(-rng.uniform(4, 26)) / np.sqrt(np.square(tail).sum(0))
    tail[0] += 1.0
    size = fft.next_fast_len(len(wave) + length - 1, real=True)
    spectrum = fft.rfft(wave, size, axis=0) * fft.rfft(tail.astype(np.float32), size, axis=0)
    return np.asarray(fft.irfft(spectrum, size, axis=0)[: len(wave)], dtype=np.float32)


def low_pass(waves: Wave, cutoff: float, rate: int) -> Wave:
    """Remove all above `cutoff` Hz, as lossy codecs do, from [..., samples, channels]."""
    samples = waves.shape[-2]
    size = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(waves, size, axis=-2)
    frequencies = fft.rfftfreq(size, 1 / rate)
    spectrum *= np.clip((cutoff + 300 - frequencies) / 300, 0, 1).astype(np.float32)[:, None]
    return np.asarray(fft.irfft(spectrum, size, axis=-2)[..., :samples, :], dtype=np.float32)


def limiter_gain(mixture: Wave, threshold: float) -> Wave:
    """[samples, 1], the gain by which a look-ahead limiter holds a mixture's peaks at `threshold`."""
    count = -(-len(mixture) // LIMITER_HOP)
    padded = np.pad(np.abs(mixture).max(1), (0, count * LIMITER_HOP - len(mixture)))
    wanted = np.minimum(1, threshold / np.maximum(padded.reshape(count, LIMITER_HOP).max(1), 1e-9))
    smooth = uniform_filter1d(minimum_filter1d(wanted, 13), 11)
    places = np.arange(len(mixture), dtype=np.float32)
    return np.asarray(np.interp(places, (np.arange(count) + 0.5) * LIMITER_HOP, smooth), dtype=np.float32)[:, None]
