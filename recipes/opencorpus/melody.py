"""Melodies for recorded syllables: which note each is sung on, for how long, with which ornaments.

Works on 5 ms frames of pitch and loudness; how a performance becomes sound is up to `singing.Vocoded` and `singing.Spliced`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

PERIOD = 5.0  # ms a frame
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))


@dataclass
class Melody:
    """A walk on a scale around a voice's own pitch; `tonic` 0 is C, `beat` in seconds, `reach` in semitones."""

    rng: np.random.Generator
    tonic: int
    scale: tuple[int, ...]
    beat: float
    reach: float
    degree: int = 0

    def next_note(self, centre: float) -> float:
        """Next MIDI pitch: mostly repeated or a step, kept within reach of the centre."""
        steps = self.rng.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4], p=[0.03, 0.05, 0.12, 0.2, 0.2, 0.2, 0.12, 0.05, 0.03])
        self.degree += int(steps)
        pitch = self._pitch(centre)
        if abs(pitch - centre) > self.reach:
            self.degree = int(np.clip(self.degree, -3, 3))
            pitch = self._pitch(centre)
        return pitch

    def _pitch(self, centre: float) -> float:
        octave, index = divmod(self.degree, len(self.scale))
        base = round((centre - self.tonic) / 12) * 12 + self.tonic
        return base + 12 * octave + self.scale[index]

    def length(self) -> float:
        """Next note's length in seconds."""
        return float(self.beat * self.rng.choice([0.25, 0.5, 0.5, 0.75, 1, 1, 1.5, 2, 3]))


@dataclass(frozen=True)
class Performance:
    """What a singer does, a value a frame: `where` in the recording (frames), `f0` in Hz (0: unvoiced), `gain` in dB."""

    where: np.ndarray
    f0: np.ndarray
    gain: np.ndarray


def syllables(f0: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Frames where syllables begin: the start, dips of loudness (dB), returns of voicing."""
    smooth = gaussian_filter1d(loudness, 4)
    voiced = f0 > 0
    dips = [
        i
        for i in range(10, len(smooth) - 10)
        if smooth[i] == smooth[i - 10 : i + 11].min() and smooth[i - 25 if i > 25 else 0 : i + 26].max() > smooth[i] + 6
    ]
    returns = np.flatnonzero(voiced[1:] & ~voiced[:-1]).tolist()
    starts = [0]
    for frame in sorted({*dips, *returns}):
        if frame - starts[-1] >= 16:
            starts.append(frame)
    return np.array(starts)


def sing(f0: np.ndarray, loudness: np.ndarray, melody: Melody, shift: float) -> Performance:
    """Lay a recording's syllables on a melody `shift` semitones from its own pitch: timing, pitch and loudness change."""
    rng = melody.rng
    centre = float(69 + 12 * np.log2(np.median(f0[f0 > 0]) / 440)) + shift
    position, notes, gains = [], [], []
    for begin, end in pairwise(np.append(syllables(f0, loudness), len(f0))):
        wanted = melody.length() * 1000 / PERIOD
        count = int(np.clip(wanted, 0.6 * (end - begin), 4 * (end - begin) + 8))
        onset = min(12, end - begin, count)  # a consonant keeps its pace
        position.append(np.concatenate((begin + np.arange(onset), np.linspace(begin + onset, end - 1, count - onset))))
        notes.append(np.full(count, melody.next_note(centre)))
        gains.append(np.full(count, rng.normal(0, 2.5)))
    where = np.clip(np.concatenate(position), 0, len(f0) - 1)
    pitch = 440 * 2 ** ((ornament(np.concatenate(notes), [len(note) for note in notes], rng) - 69) / 12)
    sung = np.where(f0[np.floor(where).astype(int)] > 0, np.clip(pitch, 60, 1100), 0.0)
    return Performance(where, sung, gaussian_filter1d(np.concatenate(gains), 6))


def ornament(pitch: np.ndarray, lengths: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Scoops, glides, vibrato and drift on stepped notes (semitones, a value a frame)."""
    pitch = pitch.astype(np.float64)
    vibrato = np.zeros_like(pitch)
    rate, depth = rng.uniform(4.5, 6.5), rng.uniform(0.1, 0.6)
    start = 0
    for length in lengths:
        age = np.arange(length) * PERIOD / 1000
        if rng.random() < 0.35:
            pitch[start : start + length] -= rng.uniform(0.5, 3) * np.exp(-age / 0.05)
        if length * PERIOD > 350:
            vibrato[start : start + length] = np.clip((age - 0.15) / 0.3, 0, 1) * np.sin(2 * np.pi * rate * age)
        start += length
    glided = gaussian_filter1d(pitch, rng.uniform(2, 10))
    drift = gaussian_filter1d(rng.normal(0, 1, len(pitch)), 30) * 1.2 + gaussian_filter1d(rng.normal(0, 1, len(pitch)), 2) * 0.08
    return np.asarray(glided + depth * vibrato + drift)
