"""A lead synthesizer: one line with glides, scoops, vibrato and a moving filter. Nothing else in a band is so easily taken for a voice."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from recipes.opencorpus.arrangement import SECTION, Song
from recipes.opencorpus.catalogue import RATE
from recipes.opencorpus.melody import PERIOD, Melody, ornament
from recipes.opencorpus.synth import TABLE, Patch, any_patch

FRAMES = 1000 / PERIOD  # a second


def lead_line(song: Song, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pitch in MIDI numbers, loudness from 0 to 1, seconds since the note began), a value a frame, from the song's start to its end."""
    melody = Melody(rng, song.tonic, song.scale, song.beat, rng.uniform(5, 12))
    centre = rng.uniform(52, 78)
    count = int(len(song.chords) * song.bar * FRAMES)
    pitch, loudness, age, lengths = np.empty(count), np.empty(count), np.empty(count), []
    start = 0
    while start < count:
        length = min(max(4, round(melody.length() * FRAMES)), count - start)
        note = slice(start, start + length)
        pitch[note], loudness[note], age[note] = melody.next_note(centre), rng.random() > 0.12, np.arange(length) / FRAMES
        lengths.append(length)
        start += length
    section = int(SECTION * song.bar * FRAMES)
    for begin in range(0, count, section):
        if rng.random() < 0.35:
            loudness[begin : begin + section] = 0
    return ornament(pitch, lengths, rng), gaussian_filter1d(loudness, rng.uniform(1, 8)), age


def sound(patch: Patch, pitch: np.ndarray, loudness: np.ndarray, age: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of a line, frames as `lead_line` gives them; the filter falls with every note and is moved slowly besides."""
    samples = int(len(pitch) / FRAMES * RATE)
    frames = np.arange(samples) * FRAMES / RATE

    def smooth(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.interp(frames, np.arange(len(values)), values))

    moved = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 5) * np.arange(len(pitch)) / FRAMES)
    share = smooth(np.clip(np.exp(-age / patch.decay) + rng.uniform(-0.5, 0.5) * moved, 0, 1))
    turns = np.cumsum(smooth(440 * 2 ** ((pitch - 69) / 12))) / RATE
    highest = 440 * 2 ** ((float(pitch.max()) - 69) / 12)
    bright, dark = (patch.table(cutoff, highest) for cutoff in (patch.bright, patch.dark))
    out = np.zeros((samples, 2))
    for number, cents in enumerate(patch.detune):
        place = ((turns * 2 ** (cents / 1200) + rng.random()) % 1 * TABLE).astype(int) % TABLE
        side = 0.5 if len(patch.detune) == 1 else number / (len(patch.detune) - 1)
        out += (bright[place] * share + dark[place] * (1 - share))[:, None] * np.sqrt([1 - side, side])
    return np.asarray(out * smooth(loudness)[:, None])


def play_lead(song: Song, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of a lead through the whole song, resting in some sections."""
    return sound(any_patch(rng), *lead_line(song, rng), rng)
