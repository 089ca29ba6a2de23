"""Bands from MIDI: arrangements and drummers' performances played through a sound font, a stem at a time.

Renders with the program `fluidsynth`; each song gets its own transposition, tempo, instruments and desk settings. MIDI
programs that imitate voices are dropped: they would teach that voices are accompaniment.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np
import soundfile

from recipes.opencorpus.catalogue import RATE, SOURCES, write_song
from recipes.opencorpus.desk import compress, room, shelve_and_peak
from separate.augment.effects import saturate

log = logging.getLogger(__name__)
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SOUND_FONTS = {  # and the packages they come in
    SOUND_FONT: "fluid-soundfont-gm",
    Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3"): "musescore-general-soundfont",
}
DRUM_CHANNEL = 9
BASS = range(32, 40)
VOICES = {52, 53, 54, 85, 91}  # choirs, "voice oohs", synth voice, voice lead, choir pad (counted from 0)
FAMILIES = {  # programs that may stand in for each other
    "acoustic guitar": (24, 25),
    "electric guitar": (26, 27, 28),
    "driven guitar": (29, 30),
    "bass": tuple(BASS),
    "piano": (0, 1, 2, 4, 5),
    "organ": (16, 17, 18),
    "pad": (48, 49, 50, 51, 88, 89, 90, 94),
    "lead": (80, 81, 84, 87),
}
DRUM_EDGES = {22: 42, 26: 46, 58: 43}  # of an electronic kit's pads, outside General MIDI's drum map -> what sounds like them there
DRUM_KITS = (0, 8, 16, 24, 25, 32, 40)
MAX_SECONDS = 150
DRUM_PERFORMANCES = 120


def split_midi(midi: mido.MidiFile, rng: np.random.Generator) -> dict[str, mido.MidiFile]:
    """One MIDI file a stem (drums, bass, other), with a fresh arrangement: kit, instruments, key, tempo, touch."""
    tempo, shift, kit = rng.uniform(0.85, 1.2), int(rng.integers(-4, 5)), int(rng.choice(DRUM_KITS))
    swap = {p: int(rng.choice(family)) for family in FAMILIES.values() for p in family if rng.random() < 0.6}
    stems = {name: mido.MidiFile(type=1, ticks_per_beat=midi.ticks_per_beat) for name in ("drums", "bass", "other")}
    tracks = {name: mido.MidiTrack() for name in stems}
    for name, track in tracks.items():
        stems[name].tracks.append(track)
    tracks["drums"].append(mido.Message("program_change", channel=DRUM_CHANNEL, program=kit, time=0))
    programs, clock, elapsed = dict.fromkeys(range(16), 0), 0, dict.fromkeys(stems, 0)
    for message in mido.merge_tracks(midi.tracks):
        clock += message.time
        if message.type == "set_tempo":
            owners, message = list(stems), message.copy(tempo=int(message.tempo / tempo))
        elif not hasattr(message, "channel"):
            continue
        elif message.channel == DRUM_CHANNEL:
            if message.type == "program_change":
                continue
            owners = ["drums"]
            if message.type in ("note_on", "note_off"):
                message = message.copy(note=DRUM_EDGES.get(message.note, message.note))
        else:
            if message.type == "program_change":
                programs[message.channel] = message.program
                message = message.copy(program=swap.get(message.program, message.program))
            elif message.type in ("note_on", "note_off"):
                message = message.copy(note=int(np.clip(message.note + shift, 0, 127)))
            program = programs[message.channel]
            if program in VOICES:
                continue
            owners = ["bass" if program in BASS else "other"]
        if message.type == "note_on" and message.velocity:
            message = message.copy(velocity=int(np.clip(message.velocity + rng.normal(0, 6), 1, 127)))
        for owner in owners:
            tracks[owner].append(message.copy(time=clock - elapsed[owner]))
            elapsed[owner] = clock
    return {name: stem for name, stem in stems.items() if any(m.type == "note_on" for m in stem.tracks[0])}


def play(midi: mido.MidiFile, font: Path = SOUND_FONT) -> np.ndarray:
    """float32 [samples, 2] at 44.1 kHz, at most 150 s, dry (fluidsynth's own room is off)."""
    if shutil.which("fluidsynth") is None or not font.exists():
        raise FileNotFoundError(f"MIDI needs a player and a sound font: apt-get install fluidsynth {SOUND_FONTS[font]}")
    with tempfile.TemporaryDirectory() as folder:
        score, audio = Path(folder) / "score.mid", Path(folder) / "audio.wav"
        midi.save(score)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-R", "0", "-C", "0", "-r", str(RATE), "-T", "wav", "-O", "float"]
        subprocess.run([*command, "-F", str(audio), str(font), str(score)], check=True, capture_output=True)
        wave, _ = soundfile.read(audio, dtype="float32", always_2d=True, frames=MAX_SECONDS * RATE)
    return np.asarray(wave)


def produce(name: str, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stem's way through the desk: drive, equaliser, compression, room, level."""
    wave = wave / max(1e-6, float(np.percentile(np.abs(wave), 99.9)))
    centre = {"drums": (2000, 9000), "bass": (60, 900), "other": (300, 5000)}[name]
    wave = shelve_and_peak(wave, rng, low_cut=25 if name != "other" else 90, peak=centre, peak_db=(-5, 7))
    if rng.random() < 0.6:
        wave = saturate(wave, rng.uniform(0.5, 4))
    if rng.random() < 0.6:
        wave = compress(wave, ratio=rng.uniform(2, 5), threshold_db=rng.uniform(-24, -10))
    if name != "bass":
        wave = room(wave, rng, seconds=rng.uniform(0.2, 1.8), wet_db=rng.uniform(-26, -10))
    return np.asarray(0.8 * wave / max(1e-6, float(np.abs(wave).max())), dtype=np.float32)


def render_band(midi_path: Path, seed: int) -> dict[str, np.ndarray]:
    """Stems of one MIDI file, cut or padded to a common length of at most 150 s; silent ones are left out."""
    rng = np.random.default_rng(seed)
    stems = {name: play(midi) for name, midi in split_midi(mido.MidiFile(midi_path, clip=True), rng).items()}
    stems = {name: wave for name, wave in stems.items() if np.abs(wave).max(initial=0) > 1e-3}
    if not stems:
        return {}
    length = min(MAX_SECONDS * RATE, max(len(wave) for wave in stems.values()))
    return {name: produce(name, np.pad(wave, ((0, length - len(wave)), (0, 0))), rng) for name, wave in stems.items()}


def long_performances(corpus: Path) -> list[Path]:
    """The drummers' longer performances: fills and short takes are left out."""
    files = sorted(path for path in (corpus / "groove_midi").rglob("*.mid") if "_beat_" in path.name)
    return [path for path in files if path.stat().st_size > 4000]


def performances(corpus: Path, seed: int) -> list[Path]:
    """A seeded choice of the drummers' longer performances."""
    long = long_performances(corpus)
    chosen = np.random.default_rng(seed).permutation(len(long))[:DRUM_PERFORMANCES]
    return [long[i] for i in chosen]


def build_bands(corpus: Path, out: Path, seed: int) -> None:
    """Render all arrangements and a choice of drum performances into `out`; songs that exist are kept."""
    arrangements = sorted((corpus / "freedoom_midi").glob("*.mid"))
    if not arrangements:
        raise FileNotFoundError(f"no MIDI files under {corpus / 'freedoom_midi'}")
    songs = [("freedoom_midi", number, path) for number, path in enumerate(arrangements)]
    songs += [("groove_midi", number, path) for number, path in enumerate(performances(corpus, seed))]
    for source, number, path in sorted(songs, key=lambda song: song[1]):  # taking turns, so that half a build has some of each
        name = path.stem if source == "freedoom_midi" else "_".join(path.parts[-3:])[:-4]
        folder = out / source / name
        if folder.exists():
            continue
        stems = render_band(path, seed * 1_000_003 + number)
        if stems:
            write_song(folder, stems, SOURCES[source])
            log.info("%s %s: %s", source, name, ", ".join(stems))
