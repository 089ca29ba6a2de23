"""Songs made up as a whole: chords, bass, drums and a melody sung in the same key and tempo.

`arrangement` says what is played; here it sounds: a drummer from Groove MIDI on a recorded kit or a sound font, or a drum machine; a bass;
two to four others on synthesizers, sound fonts or recorded guitars; a singer, who is cut out of some bars. Levels are those of a mix.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

from recipes.opencorpus.arrangement import Song, any_song, broken, drummers_score, hold, line, perform, programmed_score, riff, strum
from recipes.opencorpus.bands import BASS, DRUM_CHANNEL, DRUM_KITS, FAMILIES, SOUND_FONTS, long_performances, play, produce
from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.lead import play_lead
from recipes.opencorpus.melody import SCALES, Melody
from recipes.opencorpus.sampled import BASSES, DRUM_KIT, GUITAR_KITS, Note, play_kit, play_notes, read_kit, read_notes
from recipes.opencorpus.singing import NARROW, render_voice, spliced, split, vocoded
from recipes.opencorpus.synth import any_bell, any_patch, drum_machine, play_patch
from separate.augment.effects import saturate
from separate.augment.waveform import decibels, level

log = logging.getLogger(__name__)
SONGS = 160
SINGERS = ("yuki", "kumi_ja", "kumi_zh", "scottpoid", "dorodoro", "iona", "erithacus")
OTHERS = (6, 11, 12, 46, 61, 62, 65, 66, 73)  # harpsichord, vibraphone, marimba, harp, brass, saxophones, flute
PROGRAMS = (*(program for name, family in FAMILIES.items() if name != "bass" for program in family), *OTHERS)
LEVELS = {"drums": (-20.0, 2.5), "bass": (-21.0, 2.5), "other": (-19.0, 3.0), "vocals": (-18.0, 3.0)}  # dBFS: mean, spread


def to_midi(score: Sequence[Note], channel: int, program: int) -> mido.MidiFile:
    """A score for a sound font, a thousand ticks a second; a note ends where the next of its pitch begins, or its end would end that."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000)])
    track.append(mido.Message("program_change", channel=channel, program=program))
    events, follower, now = [], dict[int, float](), 0
    for note in sorted(score, key=lambda note: -note.start):
        events += [(note.start, "note_on", note), (min(note.stop, follower.get(note.pitch, note.stop)), "note_off", note)]
        follower[note.pitch] = note.start
    for time, kind, note in sorted(events, key=lambda event: (event[0], event[1])):
        tick = round(time * 1000)
        track.append(mido.Message(kind, channel=channel, note=note.pitch, velocity=note.velocity, time=tick - now))
        now = tick
    return mido.MidiFile(type=1, ticks_per_beat=1000, tracks=[track])


def render_drums(song: Song, machine: bool, performances: Sequence[Path], corpus: Path, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of the drums."""
    if machine:
        return play_kit(programmed_score(song, rng), drum_machine(rng), rng)
    score = drummers_score(song, performances[int(rng.integers(len(performances)))], rng)
    if rng.random() < 0.5:
        return play_kit(score, read_kit(corpus / "notes" / DRUM_KIT, rng), rng)
    return play(to_midi(score, DRUM_CHANNEL, int(rng.choice(DRUM_KITS))), any_font(rng))


def any_font(rng: np.random.Generator) -> Path:
    """One of the sound fonts."""
    return list(SOUND_FONTS)[rng.integers(len(SOUND_FONTS))]


def render_bass(song: Song, machine: bool, corpus: Path, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of the bass."""
    program = int(rng.choice(BASS))
    score = perform(song, line, int(rng.integers(26, 34)), ((0,), (0, 0, 7))[rng.integers(2)], rng.uniform(0.1, 0.5), rng)
    if machine or rng.random() < 0.2:
        return play_patch(score, any_patch(rng, low=True), 0, rng)
    if rng.random() < 0.6:
        folder, prefix, octaves = BASSES[rng.integers(len(BASSES))]
        return play_notes(score, read_notes(corpus / "notes" / folder, prefix, octaves), 0.5, rng)
    return play(to_midi(score, 0, program), any_font(rng))


def render_other(song: Song, machine: bool, corpus: Path, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of all that is neither drums, bass nor voice."""
    out = np.zeros((int(len(song.chords) * song.bar * RATE), 2))
    for _ in range(int(rng.integers(2, 5))):
        figure = (hold, strum, strum, broken, broken, riff)[rng.integers(6)]
        tones = ((0, 2, 4), (0, 2, 4, 6), (0, 4, 7), (0, 4), (0, 2, 4, 7, 9))[rng.integers(5)]
        program = int(rng.choice(PROGRAMS))
        near = int(rng.choice([45, 52, 57, 64])) + (12 if figure in (broken, riff) and rng.random() < 0.4 else 0)
        score = perform(song, figure, near, tones, rng.uniform(0.15, 0.6), rng)
        kind = rng.random()
        if rng.random() < 0.2:
            wave = play_lead(song, rng)
        elif kind < (0.75 if machine else 0.2):
            wave = play_patch(score, any_patch(rng) if rng.random() < 0.7 else any_bell(rng), rng.uniform(0, 1), rng)
        elif kind < 0.6 and figure is not hold:
            folder, prefix, octaves = GUITAR_KITS[rng.integers(len(GUITAR_KITS))]
            recorded = read_notes(corpus / "notes" / folder, prefix, octaves)
            side, drive = rng.uniform(0.05, 0.4), rng.uniform(5, 30) if rng.random() < 0.4 else 0.5
            sides = (play_notes(score, recorded, place, rng) for place in (side, 1 - side))
            wave = np.sum([saturate(layer / max(1e-6, float(np.abs(layer).max())), drive) for layer in sides], axis=0)
        else:
            wave = play(to_midi(score, 0, program), any_font(rng))
        dull = butter(1, np.exp(rng.uniform(np.log(1500), np.log(16000))), fs=RATE, output="sos")
        wave = sosfilt(dull, wave[: len(out)], axis=0)
        side = rng.uniform(0.2, 0.8)
        wave = wave * np.sqrt([2 - 2 * side, 2 * side]) * decibels(-level(wave.astype(np.float32)) + rng.normal(-20, 4))
        out[: len(wave)] += wave
    return out


def duck(wave: np.ndarray, beat: float, depth: float) -> np.ndarray:
    """Turned down on every beat and coming back until the next, as a compressor does that listens to the kick."""
    since = np.arange(len(wave)) / RATE % beat
    return np.asarray(wave * (1 - depth * np.exp(-3 * since / beat))[:, None])


def render_vocals(song: Song, corpus: Path, rng: np.random.Generator) -> np.ndarray:
    """[samples, 2] of a singer, silent in bars without singing."""
    pentatonic = SCALES[2 if song.scale == SCALES[0] else 3]
    melody = Melody(rng, song.tonic, pentatonic if rng.random() < 0.5 else song.scale, song.beat, rng.uniform(5, 9))
    voice = str(rng.choice(SINGERS))
    files = sorted((corpus / "voices" / voice).glob("*.ogg"))
    if not files:
        raise FileNotFoundError(f"no recordings of {voice} under {corpus / 'voices'}")
    parts = list(split(read_audio(files[rng.integers(len(files))]).mean(1)))
    rng.shuffle(parts)
    seconds = len(song.chords) * song.bar
    singer = vocoded(melody) if voice in NARROW or rng.random() < 0.3 else spliced(melody)
    sung = render_voice(parts, melody, singer, seconds=seconds)[: int(seconds * RATE)]
    gate = np.repeat(song.sung, int(song.bar * RATE)).astype(np.float32)[: len(sung)]
    return np.asarray(sung[: len(gate)] * uniform_filter1d(gate, RATE // 20)[:, None])


def render_song(corpus: Path, performances: Sequence[Path], seed: int) -> dict[str, np.ndarray]:
    """Stems of one song of equal length, float32 [samples, 2] each."""
    rng = np.random.default_rng(seed)
    song, machine = any_song(rng), rng.random() < 0.45
    waves = {
        "drums": render_drums(song, machine, performances, corpus, rng),
        "bass": render_bass(song, machine, corpus, rng),
        "other": render_other(song, machine, corpus, rng),
    }
    if machine and rng.random() < 0.4:
        waves |= {name: duck(waves[name], song.beat, rng.uniform(0.3, 0.9)) for name in ("bass", "other")}
    waves = {name: produce(name, wave, rng) for name, wave in waves.items() if np.abs(wave).max(initial=0) > 1e-6}
    waves["vocals"] = render_vocals(song, corpus, rng)
    length = int(len(song.chords) * song.bar * RATE)
    found = {}
    for name, wave in waves.items():
        cut = np.pad(wave[:length], ((0, max(0, length - len(wave))), (0, 0)))
        loudness = level(cut)
        found[name] = cut * decibels(rng.normal(*LEVELS[name]) - loudness) if np.isfinite(loudness) else cut
    return found


def build_composed(corpus: Path, out: Path, seed: int) -> None:
    """Compose and render SONGS songs into `out`; songs that exist are kept."""
    performances = [path for path in long_performances(corpus) if path.stem.endswith("_4-4")]
    if not performances:
        raise FileNotFoundError(f"no performances in 4/4 under {corpus / 'groove_midi'}")
    for number in range(SONGS):
        folder = out / "composed" / f"{number:03d}"
        if folder.exists():
            continue
        stems = render_song(corpus, performances, seed * 1_000_003 + number)
        write_song(folder, stems, SOURCES["composed"])
        log.info("composed %s: %.1f min", folder.name, len(stems["drums"]) / RATE / 60)
