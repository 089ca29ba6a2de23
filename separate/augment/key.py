"""Songs in one key: the speed at which one recording shares most of its notes with another.

In songs, what sounds together has harmonics in common. Stems drawn from unrelated songs have them less often.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from separate.augment.waveform import Wave

STEPS = 36  # an octave
LOWEST, HIGHEST = 110.0, 1760.0  # Hz


def chroma(wave: Wave, rate: int) -> NDArray[np.float64]:
    """How strong each third of a semitone is in [samples, channels] between LOWEST and HIGHEST, octaves folded: [STEPS], of norm 1 or 0."""
    spectrum = np.abs(fft.rfft(wave.mean(1), fft.next_fast_len(len(wave), real=True)))
    frequencies = np.linspace(0, rate / 2, len(spectrum))
    heard = (frequencies > LOWEST) & (frequencies < HIGHEST)
    places = np.rint(STEPS * np.log2(frequencies[heard] / LOWEST)).astype(int) % STEPS
    strength = np.sqrt(np.bincount(places, np.square(spectrum[heard]), STEPS))
    return np.asarray(strength / max(1e-9, float(np.linalg.norm(strength))))


def matching_speed(wave: Wave, other: Wave, rate: int, speeds: tuple[float, float]) -> float:
    """The speed in a range at which `wave` shares most of its notes with `other`."""
    mine, others = chroma(wave, rate), chroma(other, rate)
    low, high = STEPS * np.log2(np.asarray(speeds))
    shifts = np.arange(int(np.ceil(low)), int(np.floor(high)) + 1)
    shared = [float(np.roll(mine, shift) @ others) for shift in shifts]
    return float(2 ** (shifts[int(np.argmax(shared))] / STEPS))
