"""A small mixing desk: the effects that instruments and voices pass through before a mix.

The compressor is not linear and belongs to a single stem, before mixing, as do those of `separate.augment.effects`. All take and
return float [samples, 2] at 44.1 kHz.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from recipes.opencorpus.catalogue import RATE
from separate.augment.waveform import LOWS


def shelve_and_peak(
    wave: np.ndarray,
    rng: np.random.Generator,
    low_cut: float,
    peak: tuple[float, float],
    peak_db: tuple[float, float],
) -> np.ndarray:
    """High-pass at `low_cut` Hz, then one broad band of random centre (Hz) and gain (dB) from the given ranges."""
    wave = sosfilt(butter(2, low_cut, "highpass", fs=RATE, output="sos"), wave, axis=0)
    centre, gain = rng.uniform(*peak), 10 ** (rng.uniform(*peak_db) / 20)
    band = butter(1, (centre / 1.6, centre * 1.6), "bandpass", fs=RATE, output="sos")
    return np.asarray(wave + (gain - 1) * sosfilt(band, wave, axis=0))


def compress(wave: np.ndarray, ratio: float, threshold_db: float) -> np.ndarray:
    """Feed-forward compressor on the linked peak level: 6 ms look-ahead attack, 120 ms release."""
    hop = 64
    count = -(-len(wave) // hop)
    peaks = np.abs(np.pad(wave, ((0, count * hop - len(wave)), (0, 0)))).reshape(count, -1).max(1)
    held = maximum_filter1d(peaks, 9)
    decay = np.exp(-hop / (0.12 * RATE))
    level_db = 20 * np.log10(np.maximum(lfilter([1 - decay], [1, -decay], held), held * 0.5) + 1e-6)
    gain_db = -np.maximum(level_db - threshold_db, 0) * (1 - 1 / ratio)
    gain = np.interp(np.arange(len(wave)), np.arange(count) * hop, 10 ** (gain_db / 20))
    return np.asarray(wave * gain[:, None])


def room(wave: np.ndarray, rng: np.random.Generator, seconds: float, wet_db: float) -> np.ndarray:
    """Add a synthetic stereo room: decaying noise (60 dB in `seconds`), without lows, darker with time, after 5-40 ms of pre-delay."""
    length = int(seconds * RATE)
    decay = 10 ** (-3 * np.arange(length) / length)
    tail = rng.normal(size=(length, 2)) * decay[:, None]
    tail = sosfilt(butter(1, rng.uniform(2500, 9000), fs=RATE, output="sos"), tail, axis=0)
    tail = sosfilt(butter(2, LOWS, "highpass", fs=RATE, output="sos"), tail, axis=0)
    tail /= np.sqrt(np.square(tail).sum(0))
    tail = np.concatenate((np.zeros((int(rng.uniform(0.005, 0.04) * RATE), 2)), tail))
    return np.asarray(wave + 10 ** (wet_db / 20) * oaconvolve(wave, tail, axes=0)[: len(wave)])
