"""Bands again, on recorded notes: the same MIDI, with real basses, guitars and a real drum kit struck note by note.

Guitars come doubled, one rendering left and one right, and are driven as the arrangement asks; instruments of which the corpus has no notes
stay with the sound font of `bands`.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soxr

from recipes.opencorpus.bands import MAX_SECONDS, performances, play, produce, split_midi
from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from separate.augment.effects import saturate

log = logging.getLogger(__name__)
STEPS = {"c": 0, "db": 1, "d": 2, "eb": 3, "e": 4, "f": 5, "gb": 6, "g": 7, "ab": 8, "a": 9, "bb": 10, "b": 11}
GUITARS, DRIVEN = range(24, 32), (29, 30)
REACH = 6  # semitones beyond the recorded range; farther out, a note is played in another octave
# folder, what its file names begin with, octaves from the written to the sounding pitch
BASSES = (("electric_bass_growly", "sustain", -1), ("electric_bass_pasta", "samples", -1), ("electric_bass_sneaky", "Samples", -1))
GUITAR_KITS = (("guitar_emily", "notes", 0), ("guitar_shiny", "Samples__acoustic", 0), ("guitar_shiny", "Samples__electric", 0))
DRUM_KIT = "drumkit_real_music_media"
PIECES = {  # General MIDI's drum map -> pieces of the kit; a song chooses one of them
    (35, 36): ("kick",), (38, 40): ("snare-top", "snare-top-buttend", "snare-bottom"), (37,): ("sidestick",), (39,): ("rimshot",),
    (42, 44): ("chh", "hchh"), (46,): ("hohh",), (49, 52, 55, 57): ("crash", "crash-edge"), (51, 59): ("ride-mid-in", "ride-mid-out"),
    (53,): ("ride-bell",), (41, 43, 45): ("large-tom", "large-tom-under"), (47, 48): ("medium-tom", "medium-tom-under"),
    (50,): ("small-tom", "small-tom-under"),
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """start and stop in seconds, MIDI pitch and velocity, General MIDI program."""

    start: float
    stop: float
    pitch: int
    velocity: int
    program: int


def notes(midi: mido.MidiFile) -> list[Note]:
    """All notes of a file, up to MAX_SECONDS, where those still sounding end."""
    found, clock = [], 0.0
    sounding: dict[tuple[int, int], tuple[float, int, int]] = {}
    programs: dict[int, int] = defaultdict(int)
    for message in midi:
        clock += message.time
        if clock > MAX_SECONDS:
            break
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if key in sounding:
                start, velocity, program = sounding.pop(key)
                found.append(Note(start, clock, message.note, velocity, program))
            if message.type == "note_on" and message.velocity:
                sounding[key] = (clock, message.velocity, programs[message.channel])
    end = min(clock, MAX_SECONDS)
    return found + [Note(start, end, pitch, velocity, program) for (_, pitch), (start, velocity, program) in sounding.items()]


def read_notes(folder: Path, prefix: str, octaves: int) -> dict[int, list[np.ndarray]]:
    """Recorded notes by sounding MIDI pitch, [samples] each, peak 1. Raises FileNotFoundError if there is none."""
    found: dict[int, list[np.ndarray]] = defaultdict(list)
    for path in sorted(folder.glob(f"{prefix}*.ogg")):
        match = re.search(r"(?:^|_)([a-g]b?)(\d)_", path.name)
        if match and "rel" not in path.name and "noise" not in path.name:
            found[STEPS[match[1]] + 12 * (int(match[2]) + 1 + octaves)].append(_normal(read_audio(path).mean(1)))
    if not found:
        raise FileNotFoundError(f"no recorded notes {prefix}* in {folder}")
    return dict(found)


def read_kit(folder: Path, rng: np.random.Generator) -> dict[int, list[np.ndarray]]:
    """Recorded strokes by General MIDI's drum numbers, a choice of pieces. Raises FileNotFoundError if a piece is missing."""
    kit: dict[int, list[np.ndarray]] = {}
    for numbers, pieces in PIECES.items():
        piece = rng.choice(pieces)
        strokes = [_normal(read_audio(path).mean(1)) for path in sorted(folder.glob(f"*__{piece}[0-9]*.ogg"))]
        if not strokes:
            raise FileNotFoundError(f"no strokes of {piece} in {folder}")
        kit |= dict.fromkeys(numbers, strokes)
    return kit


def _normal(wave: np.ndarray) -> np.ndarray:
    return wave / max(1e-6, float(np.abs(wave).max()))


def strike(score: Iterable[Note], sound: Callable[[Note], np.ndarray | None], place: Callable[[Note], float], release: float) -> np.ndarray:
    """[samples, 2]: every note's sound at its time and place (0 left, 1 right), louder with velocity, fading after it is let go."""
    score = list(score)
    out = np.zeros((int((max((note.stop for note in score), default=0.0) + 2) * RATE), 2))
    for note in score:
        wave = sound(note)
        if wave is None:
            continue
        held = int((note.stop - note.start) * RATE)
        wave = wave[: held + int(5 * release * RATE)].copy()
        wave[held:] *= np.exp(-np.arange(max(0, len(wave) - held)) / (release * RATE))
        first, side = int(note.start * RATE), place(note)
        wave = wave[: len(out) - first] * (note.velocity / 127) ** 1.5
        out[first : first + len(wave)] += wave[:, None] * np.sqrt([1 - side, side])
    return out[: MAX_SECONDS * RATE]


def play_notes(score: Sequence[Note], recorded: dict[int, list[np.ndarray]], side: float, rng: np.random.Generator) -> np.ndarray:
    """Notes on an instrument: the nearest recorded pitch, resampled to the one that is wanted, a new take each time."""
    there = np.array(sorted(recorded))

    def sound(note: Note) -> np.ndarray:
        wanted = note.pitch
        while wanted < there[0] - REACH:
            wanted += 12
        while wanted > there[-1] + REACH:
            wanted -= 12
        nearest = int(there[np.abs(there - wanted).argmin()])
        takes = recorded[nearest]
        semitones = wanted - nearest + rng.normal(0, 0.04)
        return np.asarray(soxr.resample(takes[rng.integers(len(takes))], 2 ** (semitones / 12), 1.0, quality="LQ"))

    return strike(score, sound, lambda _: side, release=0.08)


def play_kit(score: Sequence[Note], kit: dict[int, list[np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """Drums: a stroke at random for each note, every piece at its place in the stereo picture; numbers that the kit lacks are left out."""
    places = {number: 0.5 if number in (35, 36, 38, 40) else rng.uniform(0.15, 0.85) for number in kit}

    def sound(note: Note) -> np.ndarray | None:
        takes = kit.get(note.pitch)
        return None if takes is None else takes[rng.integers(len(takes))]

    return strike(score, sound, lambda note: places.get(note.pitch, 0.5), release=0.4)


def render_sampled(midi_path: Path, corpus: Path, seed: int) -> dict[str, np.ndarray]:
    """Stems of one MIDI file as `bands.render_band` gives them, on recorded notes where there are any."""
    rng = np.random.default_rng(seed)
    waves: dict[str, np.ndarray] = {}
    for name, midi in split_midi(mido.MidiFile(midi_path, clip=True), rng).items():
        score = notes(midi)
        if name == "drums":
            waves[name] = play_kit(score, read_kit(corpus / "notes" / DRUM_KIT, rng), rng)
        elif name == "bass":
            folder, prefix, octaves = BASSES[rng.integers(len(BASSES))]
            waves[name] = play_notes(score, read_notes(corpus / "notes" / folder, prefix, octaves), 0.5, rng)
        else:
            waves[name] = _guitars_and_rest(midi, score, corpus, rng)
    waves = {name: wave for name, wave in waves.items() if np.abs(wave).max(initial=0) > 1e-3}
    length = max((len(wave) for wave in waves.values()), default=0)
    return {name: produce(name, np.pad(wave, ((0, length - len(wave)), (0, 0))), rng) for name, wave in waves.items()}


def _guitars_and_rest(midi: mido.MidiFile, score: list[Note], corpus: Path, rng: np.random.Generator) -> np.ndarray:
    layers = []
    for driven in (False, True):
        part = [note for note in score if note.program in GUITARS and (note.program in DRIVEN) == driven]
        if not part:
            continue
        folder, prefix, octaves = GUITAR_KITS[rng.integers(len(GUITAR_KITS))]
        recorded = read_notes(corpus / "notes" / folder, prefix, octaves)
        for side in (rng.uniform(0.05, 0.35), rng.uniform(0.65, 0.95)):
            layer = play_notes(part, recorded, side, rng)
            peak = max(1e-6, float(np.percentile(np.abs(layer), 99.9)))
            layers.append(0.6 * saturate(layer / peak, rng.uniform(5, 30)) if driven else layer / peak)
    if any(note.program not in GUITARS for note in score):
        layers.append(_without_guitars(midi))
    out = np.zeros((max((len(layer) for layer in layers), default=0), 2))
    for layer in layers:
        out[: len(layer)] += layer
    return out


def _without_guitars(midi: mido.MidiFile) -> np.ndarray:
    """The other instruments, by the sound font, at the level of one guitar."""
    rest = mido.MidiFile(type=1, ticks_per_beat=midi.ticks_per_beat)
    rest.tracks.append(mido.MidiTrack())
    programs: dict[int, int] = defaultdict(int)
    waited = 0
    for message in midi.tracks[0]:
        waited += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        if message.type == "note_on" and programs[message.channel] in GUITARS:
            continue
        rest.tracks[0].append(message.copy(time=waited))
        waited = 0
    wave = play(rest)
    return wave / max(1e-6, float(np.percentile(np.abs(wave), 99.9)))


def build_sampled(corpus: Path, out: Path, seed: int) -> None:
    """Every second arrangement and a third of the chosen drum performances of `bands`, on recorded notes; songs that exist are kept."""
    arrangements = [("freedoom_sampled", path) for path in sorted((corpus / "freedoom_midi").glob("*.mid"))[::2]]
    drummers = [("groove_sampled", path) for path in performances(corpus, seed)[::3]]
    for number, (source, path) in enumerate(arrangements + drummers):
        name = path.stem if source == "freedoom_sampled" else "_".join(path.parts[-3:])[:-4]
        if (out / source / name).exists():
            continue
        stems = render_sampled(path, corpus, seed * 1_000_003 + 500_000 + number)
        if stems:
            write_song(out / source / name, stems, SOURCES[source])
            log.info("%s %s: %s", source, name, ", ".join(stems))
