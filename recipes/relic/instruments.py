"""Single instruments, for the probe: `python -m recipes.relic.instruments CORPUS OUT`.

An arrangement of the corpus gives half a minute of each of its instrument families alone, through the sound font, as
OUT/<train or test>/<family>/<song>.flac. The songs of HELD_OUT are the test's: pre-training must not hear them either (see README.md); a
third of the others is enough to train on.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path

import mido
import numpy as np
import soundfile

from recipes.opencorpus.bands import DRUM_CHANNEL, play
from recipes.opencorpus.catalogue import RATE

log = logging.getLogger(__name__)
HELD_OUT = ("d_e3*", "d_e4*")
SECONDS = 30
FAMILIES = {  # General MIDI programs, counted from 0
    "piano": range(0, 8),
    "organ": range(16, 24),
    "guitar": range(24, 29),
    "driven guitar": range(29, 32),
    "bass": range(32, 40),
    "strings": range(40, 52),
    "brass": range(56, 64),
    "synth lead": range(80, 88),
    "synth pad": range(88, 96),
}


def alone(midi: mido.MidiFile, family: str) -> mido.MidiFile | None:
    """Only the notes of one family ("drums" is one too), or None where there are fewer than twenty."""
    out = mido.MidiFile(type=1, ticks_per_beat=midi.ticks_per_beat)
    track = mido.MidiTrack()
    out.tracks.append(track)
    programs: dict[int, int] = defaultdict(int)
    waited = count = 0
    for message in mido.merge_tracks(midi.tracks):
        waited += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        if message.type == "note_on":
            drums = message.channel == DRUM_CHANNEL
            if drums != (family == "drums") or (not drums and programs[message.channel] not in FAMILIES[family]):
                continue
            count += message.velocity > 0
        if message.type == "set_tempo" or hasattr(message, "channel"):
            track.append(message.copy(time=waited))
            waited = 0
    return out if count >= 20 else None


def liveliest(wave: np.ndarray) -> np.ndarray:
    """The SECONDS of a track with the most energy."""
    count = SECONDS * RATE
    power = np.square(wave).sum(1)
    energy = np.concatenate(([0.0], np.cumsum(power, dtype=np.float64)))
    starts = np.arange(0, max(1, len(wave) - count), RATE)
    best = starts[np.argmax(energy[np.minimum(starts + count, len(wave))] - energy[starts])]
    return wave[best : best + count]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.relic.instruments", description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arrangements = sorted((options.corpus / "freedoom_midi").glob("*.mid"))
    if not arrangements:
        parser.error(f"no MIDI files under {options.corpus / 'freedoom_midi'}")
    test = [path for path in arrangements if any(fnmatch(path.stem, pattern) for pattern in HELD_OUT)]
    train = [path for path in arrangements if path not in test][::3]
    for split, path in [*(("test", path) for path in test), *(("train", path) for path in train)]:
        for family in ("drums", *FAMILIES):
            file = options.out / split / family / f"{path.stem}.flac"
            score = None if file.exists() else alone(mido.MidiFile(path, clip=True), family)
            if score is None:
                continue
            wave = liveliest(play(score))
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            soundfile.write(part, 0.7 * wave / max(1e-6, float(np.abs(wave).max())), RATE, format="FLAC")
            part.rename(file)
            log.info("%s %s", split, file.stem)


if __name__ == "__main__":
    main()
