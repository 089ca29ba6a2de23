"""Speech made to sing, for what sung syllables lack: words, consonants, other languages, deep voices.

The speakers come from Debian packages: `asterisk-core-sounds-it-g722` and `-ru-g722`, recorded announcements, and the program `flite`,
which speaks lines made up here. All have 16 kHz: the band above is filled with breath.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from recipes.opencorpus.catalogue import RATE, SOURCES, write_song
from recipes.opencorpus.singing import any_melody, render_voice, vocoded

log = logging.getLogger(__name__)
ASTERISK = Path("/usr/share/asterisk/sounds")
SPEAKERS = {"carlo": "it_IT_m_Carlo", "ivr_ru": "ru_RU_f_IvrvoiceRU", "flite": ""}  # folders of announcements
FLITE_VOICES = ("slt", "rms", "awb")
EDGE = 7400.0  # Hz
SECONDS = 150  # of speech in one track
MINUTES = 22  # of speech a speaker
SHIFT = (1.0, 11.0)  # semitones from speaking to singing

# fmt: off
THINGS = ("river", "morning", "window", "garden", "shadow", "winter", "engine", "letter", "mountain", "fire", "ocean", "city", "harvest",
          "silver", "thunder", "mirror", "road", "stranger")
DOINGS = ("carries", "follows", "answers", "forgets", "remembers", "breaks", "believes", "touches", "discovers", "hides", "wakes",
          "chases", "leaves", "holds")
MINES = ("my heart", "your name", "the summer", "our secret", "every promise", "the distance", "this feeling", "these empty streets",
         "the quiet", "all of you")
CALLS = ("oh I know", "and I keep on running", "don't let me go", "so we sing", "hey now", "stay with me", "why can't you see",
         "just a little longer")
# fmt: on


def lines(count: int, rng: np.random.Generator) -> list[str]:
    """Made-up lyrics, a line a string."""
    made = []
    for _ in range(count):
        first, second = rng.choice(THINGS, 2, replace=False)
        made.append(f"{rng.choice(CALLS)}, the {first} {rng.choice(DOINGS)} {rng.choice(MINES)} when the {second} {rng.choice(DOINGS)} me")
    return made


def announcements(speaker: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Asterisk's sounds by a speaker in random order, [samples] at 44.1 kHz. Raises FileNotFoundError if the package is not installed."""
    files = [path for path in sorted((ASTERISK / speaker).rglob("*.g722")) if "tone" not in path.stem and "beep" not in path.stem]
    if not files:
        raise FileNotFoundError(f"no sounds under {ASTERISK / speaker}: install asterisk-core-sounds-{speaker[:2]}-g722")
    for number in rng.permutation(len(files)):
        with av.open(str(files[number]), format="g722") as container:
            frames = [frame.to_ndarray().reshape(-1).astype(np.float32) for frame in container.decode(audio=0)]
        if frames:  # some announcements are empty
            yield np.asarray(soxr.resample(np.concatenate(frames) / 32768, 16000, RATE))


def spoken(voice: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Lines spoken by a voice of flite, [samples] at 44.1 kHz. Raises FileNotFoundError if the program is not installed."""
    program = shutil.which("flite")
    if program is None:
        raise FileNotFoundError("the program flite is not installed: apt-get install flite")
    for line in lines(400, rng):
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            subprocess.run([program, "-voice", voice, "-t", line, "-o", file.name], check=True)
            wave, rate = soundfile.read(file.name)
        yield np.asarray(soxr.resample(wave, rate, RATE))


def portions(clips: Iterator[np.ndarray], minutes: float) -> Iterator[list[np.ndarray]]:
    """Clips of 0.4 s and more, in portions of SECONDS, until `minutes` are reached."""
    portion: list[np.ndarray] = []
    taken = 0
    for clip in clips:
        if len(clip) < 0.4 * RATE:
            continue
        portion.append(clip)
        if sum(map(len, portion)) >= SECONDS * RATE:
            taken += sum(map(len, portion))
            yield portion
            portion = []
            if taken >= minutes * 60 * RATE:
                return
    if portion:
        yield portion


def build_spoken(out: Path, seed: int) -> None:
    """Render the speakers into `out`, taking turns; songs that exist are kept."""
    rng = np.random.default_rng(seed)
    tracks = {(name, folder[:2]): portions(announcements(folder, rng), MINUTES) for name, folder in SPEAKERS.items() if folder}
    tracks |= {("flite", voice): portions(spoken(voice, rng), MINUTES / len(FLITE_VOICES)) for voice in FLITE_VOICES}
    for number, turn in enumerate(zip_longest(*tracks.values())):
        for (name, speaker), clips in zip(tracks, turn, strict=True):
            folder = out / f"voices_{name}" / f"{speaker}_{number:02d}"
            if clips is None or folder.exists():
                continue
            melody = any_melody(np.random.default_rng(seed * 1_000_003 + 7919 * number + len(speaker) * 31 + ord(speaker[0])))
            sung = render_voice(clips, melody, vocoded(melody, EDGE), SHIFT)
            write_song(folder, {"vocals": sung}, SOURCES[f"voices_{name}"])
            log.info("%s %s: %.1f min", name, folder.name, len(sung) / RATE / 60)
