"""What is played in a made-up song: its tempo, key and chords, and the notes of every player.

Time is in seconds, except within a bar, where it is in sixteenths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from recipes.opencorpus.bands import split_midi
from recipes.opencorpus.melody import SCALES
from recipes.opencorpus.sampled import Note, notes
from recipes.opencorpus.synth import CLAP, CLOSED_HAT, COWBELL, KICK, OPEN_HAT, SNARE

SECONDS = (60.0, 100.0)
SECTION = 8  # bars
STEPS = 16  # a bar
# Degrees of the scale, a bar each.
PROGRESSIONS = (
    (0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (0, 3, 5, 4), (0, 0, 3, 4), (0, 6, 5, 6), (0, 3, 0, 4),
    (0, 2, 3, 3), (0, 0, 0, 0), (1, 4, 0, 0), (0, 6, 3, 0), (5, 4, 3, 4), (3, 4, 5, 0),
)  # fmt: skip


@dataclass(frozen=True)
class Song:
    """In 4/4. beat in seconds; tonic 0 is C; chords: a degree of the scale a bar; sung: whether a bar may have singing."""

    beat: float
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    sung: tuple[bool, ...]

    @property
    def bar(self) -> float:
        """Seconds a bar."""
        return 4 * self.beat

    def pitch(self, degree: int, near: int) -> int:
        """MIDI pitch of a degree in the octave that begins around `near`."""
        octave, index = divmod(degree, len(self.scale))
        base = near + (self.tonic - near) % 12
        return base + 12 * octave + self.scale[index]


def any_song(rng: np.random.Generator) -> Song:
    """Tempo, key, chords and sections at random."""
    beat = 60 / rng.uniform(72, 150)
    sections = max(3, round(rng.uniform(*SECONDS) / (SECTION * 4 * beat)))
    verse, chorus = (PROGRESSIONS[i] for i in rng.choice(len(PROGRESSIONS), 2, replace=False))
    chords, sung = [], []
    for section in range(sections):
        chords += list(chorus if section % 2 else verse) * (SECTION // 4)
        sung += [rng.random() < (0.3 if section == 0 else 0.9)] * SECTION
    return Song(beat, int(rng.integers(12)), SCALES[rng.integers(2)], tuple(chords), tuple(sung))


def rhythm(density: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(sixteenth, length) of the strokes of a bar; those on beats are likelier."""
    weight = np.where(np.arange(STEPS) % 4 == 0, 2.0, np.where(np.arange(STEPS) % 2 == 0, 1.0, 0.4))
    starts = sorted({0, *np.flatnonzero(rng.random(STEPS) < density * weight).tolist()})
    return [(start, stop - start) for start, stop in zip(starts, [*starts[1:], STEPS], strict=True)]


# What is played in a bar, from (song, bar, lowest pitch, steps of the scale above the chord's root, rhythm).
Rhythm = Sequence[tuple[int, int]]  # start and length in sixteenths
Strokes = list[tuple[float, float, int]]  # and pitch
Figure = Callable[[Song, int, int, Sequence[int], Rhythm], Strokes]


def hold(song: Song, bar: int, near: int, tones: Sequence[int], pattern: Rhythm) -> Strokes:
    """A chord for the whole bar."""
    return [(0, STEPS, song.pitch(song.chords[bar] + tone, near)) for tone in tones]


def strum(song: Song, bar: int, near: int, tones: Sequence[int], pattern: Rhythm) -> Strokes:
    """Chords in a rhythm."""
    return [
        (start + 0.1 * i, 0.9 * length, song.pitch(song.chords[bar] + tone, near))
        for start, length in pattern
        for i, tone in enumerate(tones)
    ]


def broken(song: Song, bar: int, near: int, tones: Sequence[int], pattern: Rhythm) -> Strokes:
    """One note of the chord after another."""
    return [(start, length, song.pitch(song.chords[bar] + tones[i % len(tones)], near)) for i, (start, length) in enumerate(pattern)]


def riff(song: Song, bar: int, near: int, tones: Sequence[int], pattern: Rhythm) -> Strokes:
    """A figure of scale steps that stays where it is while chords change."""
    return [(start, 0.8 * length, song.pitch(tones[(3 * i) % len(tones)] + i % 3, near)) for i, (start, length) in enumerate(pattern)]


def line(song: Song, bar: int, near: int, tones: Sequence[int], pattern: Rhythm) -> Strokes:
    """One note after another, let go before the next."""
    return [(start, 0.9 * length, pitch) for start, length, pitch in broken(song, bar, near, tones, pattern)]


def perform(song: Song, figure: Figure, near: int, tones: Sequence[int], density: float, rng: np.random.Generator) -> list[Note]:
    """A player's part of the song; each section has a rhythm of its own, or rests."""
    found = []
    for first in range(0, len(song.chords), SECTION):
        if first and rng.random() < 0.15:
            continue
        pattern, touch = rhythm(density, rng), rng.integers(70, 110)
        for bar in range(first, first + SECTION):
            for start, length, pitch in figure(song, bar, near, tones, pattern):
                at = bar * song.bar + start * song.beat / 4 + rng.normal(0, 0.006)
                velocity = int(np.clip(touch + rng.normal(0, 8), 1, 127))
                found.append(Note(max(0.0, at), max(0.0, at) + length * song.beat / 4, pitch, velocity, 0))
    return found


def drummers_score(song: Song, performance: Path, rng: np.random.Generator) -> list[Note]:
    """A drummer's performance in the song's tempo, again from its beginning when it is over."""
    midi = split_midi(mido.MidiFile(performance, clip=True), rng)["drums"]
    score = notes(midi)
    tempo = next((message.tempo for message in midi.tracks[0] if message.type == "set_tempo"), 500_000) / 1e6
    last = max(note.start for note in score) / (4 * tempo)  # in bars
    bars = max(1, math.ceil(last - 1 / 16))  # a last stroke is often on the next downbeat
    found = []
    for first in range(0, len(song.chords), bars):
        for note in score:
            start = first * song.bar + note.start / tempo * song.beat
            # A downbeat struck early belongs to the bar that it begins.
            if note.start < (bars * 4 - 0.125) * tempo and start < len(song.chords) * song.bar:
                found.append(Note(start, start + 0.3, note.pitch, note.velocity, 0))
    return found


def programmed_score(song: Song, rng: np.random.Generator) -> list[Note]:
    """A drum machine's patterns: one a section, a kick on all beats or in a rhythm, and a fill of snares at its end."""
    found = []
    straight, hats, swing = rng.random() < 0.4, int(rng.choice([1, 2, 4])), rng.choice([0, 0, 0.3])
    backbeat = int(rng.choice([SNARE, CLAP]))
    for first in range(0, len(song.chords), SECTION):
        hits = {(step, backbeat) for step in range(4, STEPS, 8)}
        hits |= {(step, KICK) for step in (range(0, STEPS, 4) if straight else [start for start, _ in rhythm(0.2, rng)])}
        hits |= {(step, CLOSED_HAT) for step in range(0, STEPS, hats) if rng.random() < 0.9}
        hits |= {(step, OPEN_HAT) for step in range(2, STEPS, 4) if rng.random() < 0.25}
        hits |= {(step, COWBELL) for step in range(STEPS) if rng.random() < 0.04}
        for bar in range(first, first + SECTION):
            fill = {(step, SNARE) for step in range(STEPS - 4, STEPS)} if bar == first + SECTION - 1 else set()
            for step, number in sorted(hits | fill):
                start = bar * song.bar + (step + swing * (step % 2)) * song.beat / 4
                velocity = int(np.clip(rng.normal(100 if number in (KICK, backbeat) else 80, 8), 1, 127))
                found.append(Note(start, start + 0.3, number, velocity, 0))
    return found
