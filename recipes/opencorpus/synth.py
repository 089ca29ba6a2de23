"""A small synthesizer and a drum machine, since much of today's music has no other instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.signal import butter, sosfilt

from recipes.opencorpus.catalogue import RATE
from recipes.opencorpus.sampled import Note, strike

TABLE = 2048  # samples a period
# General MIDI's numbers for what the machine has.
KICK, SNARE, CLAP, CLOSED_HAT, OPEN_HAT, COWBELL = 36, 38, 39, 42, 46, 56


class Tone(Protocol):
    """What plays notes."""

    @property
    def detune(self) -> tuple[float, ...]:
        """In cents, of each oscillator."""

    @property
    def release(self) -> float:
        """Seconds in which a tone that is let go falls to 1 / e."""

    def sound(self, pitch: float, samples: int, phases: Sequence[float]) -> np.ndarray:
        """A tone of `pitch` Hz; `phases` of the oscillators in turns."""


@dataclass(frozen=True)
class Patch:
    """harmonics: amplitudes of the oscillator's partials; detune: of each oscillator, in cents; bright, dark: a low-pass, in multiples of
    the pitch, that falls from one to the other in `decay` seconds; attack, release: of loudness, in seconds; sustain: loudness it falls to.
    """

    harmonics: np.ndarray
    detune: tuple[float, ...]
    bright: float
    dark: float
    decay: float
    attack: float
    release: float
    sustain: float

    def table(self, cutoff: float, pitch: float) -> np.ndarray:
        """One period through a low-pass of 12 dB an octave, without what would alias."""
        number = np.arange(1, len(self.harmonics) + 1)
        gains = self.harmonics / np.sqrt(1 + (number / cutoff) ** 4) * (number * pitch < 20000)
        spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
        spectrum[1 : len(number) + 1] = -1j * gains
        return np.fft.irfft(spectrum) * TABLE / 2

    def sound(self, pitch: float, samples: int, phases: Sequence[float]) -> np.ndarray:
        """See `Tone`."""
        time = np.arange(samples) / RATE
        bright, dark = (self.table(cutoff, pitch) for cutoff in (self.bright, self.dark))
        share = np.exp(-time / self.decay)
        out = np.zeros(samples)
        for cents, phase in zip(self.detune, phases, strict=True):
            place = ((pitch * 2 ** (cents / 1200) * time + phase) % 1 * TABLE).astype(int) % TABLE
            out += bright[place] * share + dark[place] * (1 - share)
        loudness = np.minimum(time / self.attack, 1) * (self.sustain + (1 - self.sustain) * share)
        return out * loudness / len(self.detune)


@dataclass(frozen=True)
class Bell:
    """Frequency modulation (Chowning, 1973): a sine whose phase another sine moves, at `ratio` times its pitch, by `index` radians, which
    fall to a tenth with a time constant of `decay` seconds, as the loudness falls to `sustain`.
    """

    ratio: float
    index: float
    decay: float
    release: float
    sustain: float
    detune: tuple[float, ...] = (0.0,)

    def sound(self, pitch: float, samples: int, phases: Sequence[float]) -> np.ndarray:
        """See `Tone`."""
        time = np.arange(samples) / RATE
        fall = np.exp(-time / self.decay)
        index = min(self.index, max(0.0, (20000 / pitch - 1) / self.ratio - 2))  # Carson's rule and a side band: nothing aliases
        out = np.zeros(samples)
        for cents, phase in zip(self.detune, phases, strict=True):
            turns = 2 * np.pi * (pitch * 2 ** (cents / 1200) * time + phase)
            out += np.sin(turns + index * (0.1 + 0.9 * fall) * np.sin(self.ratio * turns))
        return out * np.minimum(time / 0.003, 1) * (self.sustain + (1 - self.sustain) * fall) / len(self.detune)


def any_bell(rng: np.random.Generator) -> Bell:
    """Electric pianos, bells, glass and metal at random."""
    ratio = float(rng.choice([0.5, 1, 1, 2, 3, 4, 7])) * (1 if rng.random() < 0.6 else rng.uniform(0.9, 1.5))
    detune = tuple(rng.uniform(-8, 8, int(rng.integers(1, 3))))
    return Bell(ratio, np.exp(rng.uniform(-0.5, 2)), np.exp(rng.uniform(-2.5, 0.7)), rng.uniform(0.05, 0.5), rng.uniform(0, 0.6), detune)


def any_patch(rng: np.random.Generator, low: bool = False) -> Patch:
    """A patch at random; `low`: for basses, of one or two oscillators."""
    number = np.arange(1, 1 + int(rng.choice([40, 120, 400])))
    shapes = {
        "saw": 1 / number,
        "square": (number % 2) / number,
        "pulse": np.sin(np.pi * number * rng.uniform(0.1, 0.4)) / number,
        "triangle": (number % 2) / number**2,
        "organ": np.where(number < 10, rng.random(len(number)) ** 2, 0),
        "bell": rng.exponential(1, len(number)) * 0.8**number,
    }
    shape = rng.choice(["saw", "square", "triangle", "pulse"] if low else list(shapes))
    count = int(rng.choice([1, 2] if low else [1, 2, 3, 7]))
    plucked = rng.random() < 0.5
    bright = np.exp(rng.uniform(np.log(2), np.log(30)))
    return Patch(
        harmonics=shapes[shape],
        detune=tuple(rng.uniform(-1, 1, count) * rng.uniform(2, 25)),
        bright=bright,
        dark=bright * rng.uniform(0.1, 1),
        decay=rng.uniform(0.05, 0.4) if plucked else rng.uniform(0.3, 2),
        attack=rng.uniform(0.001, 0.01) if plucked or low else np.exp(rng.uniform(np.log(0.003), np.log(0.4))),
        release=rng.uniform(0.02, 0.4),
        sustain=rng.uniform(0, 0.3) if plucked and not low else rng.uniform(0.5, 1),
    )


def play_patch(score: Sequence[Note], patch: Tone, width: float, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of a score; `width` 0 is mono, 1 has other oscillators on each side."""

    def sound(note: Note) -> np.ndarray:
        samples = int((note.stop - note.start + 5 * patch.release) * RATE)
        return patch.sound(440 * 2 ** ((note.pitch - 69) / 12), samples, rng.random(len(patch.detune)).tolist())

    if width == 0:
        return strike(score, sound, lambda _: 0.5, patch.release)
    left = strike(score, sound, lambda _: 0.5 - width / 2, patch.release)
    return np.asarray(left + strike(score, sound, lambda _: 0.5 + width / 2, patch.release))


def drum_machine(rng: np.random.Generator) -> dict[int, list[np.ndarray]]:
    """One sound a piece, [samples] of peak 1, by General MIDI's drum numbers, made of sines and noise."""

    def time(seconds: float) -> np.ndarray:
        return np.arange(int(seconds * RATE)) / RATE

    def sweep(high: float, low: float, fall: float, ring: float) -> np.ndarray:
        t = time(6 * ring)
        return np.asarray(np.sin(2 * np.pi * np.cumsum(low + (high - low) * np.exp(-t / fall)) / RATE) * np.exp(-t / ring))

    def noise(band: tuple[float, float], ring: float) -> np.ndarray:
        t = time(6 * ring)
        wave = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), rng.normal(size=len(t))) * np.exp(-t / ring)
        return np.asarray(wave / np.abs(wave).max())

    def layered(*parts: np.ndarray) -> np.ndarray:
        out = np.zeros(max(map(len, parts)))
        for part in parts:
            out[: len(part)] += part
        return np.asarray(out / np.abs(out).max())

    kick = layered(sweep(rng.uniform(120, 500), rng.uniform(38, 65), rng.uniform(0.01, 0.05), rng.uniform(0.05, 0.4)))
    kick = layered(np.tanh(rng.uniform(1, 5) * kick), rng.uniform(0, 0.3) * noise((1000, 8000), 0.004))
    snare = layered(
        sweep(rng.uniform(200, 400), rng.uniform(140, 240), 0.02, rng.uniform(0.03, 0.12)),
        rng.uniform(0.5, 2) * noise((rng.uniform(500, 2000), rng.uniform(6000, 15000)), rng.uniform(0.03, 0.15)),
    )
    burst = noise((rng.uniform(700, 1200), rng.uniform(2500, 9000)), rng.uniform(0.03, 0.12))
    clap = layered(*(np.concatenate((np.zeros(int(delay * RATE)), burst)) for delay in (0, 0.011, 0.023)))
    low = rng.uniform(4000, 9000)
    hats = {CLOSED_HAT: noise((low, 18000), rng.uniform(0.01, 0.05)), OPEN_HAT: noise((low, 18000), rng.uniform(0.1, 0.3))}
    pitch, t = rng.uniform(400, 900), time(0.3)
    cowbell = (np.sign(np.sin(2 * np.pi * pitch * t)) + np.sign(np.sin(2 * np.pi * 1.48 * pitch * t))) * np.exp(-t / 0.06)
    pieces = {KICK: kick, SNARE: snare, CLAP: clap, **hats, COWBELL: cowbell}
    return {number: [layered(wave)] for number, wave in pieces.items()}
