"""A synthesizer that sings: melodies and syllables made up here, sung by Sinsy with its Japanese voice (Oura et al., SSW 2010).

Unlike voices made to sing afterwards, it learnt from a singer how syllables follow one another, how notes begin and when vibrato sets in.
"""

from __future__ import annotations

import logging
import tempfile
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import soxr

from recipes.opencorpus.catalogue import RATE, SOURCES, write_song
from recipes.opencorpus.melody import Melody
from recipes.opencorpus.singing import any_melody, produce

log = logging.getLogger(__name__)
VOICE = "htsvoice/nitech_jp_song070_f001.htsvoice"
SONGS, PHRASES = 14, 30
BAR = 16  # sixteenths
CENTRE = (62.0, 69.0)  # MIDI pitch, where the voice was recorded
ALPHA = (0.53, 0.58)  # warping of frequencies: the voice's own is 0.55, more is a larger throat
KANA = (
    *"あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわんがぎぐげござじずぜぞだでどばびぶべぼぱぴぷぺぽ",
    *("きゃ", "きゅ", "きょ", "しゃ", "しゅ", "しょ", "ちゃ", "ちゅ", "ちょ", "にゃ", "ひょ", "りゅ", "りょ", "じゃ", "じゅ"),
)  # fmt: skip
STEPS = (("C", 0), ("C", 1), ("D", 0), ("D", 1), ("E", 0), ("F", 0), ("F", 1), ("G", 0), ("G", 1), ("A", 0), ("A", 1), ("B", 0))


def score(melody: Melody, centre: float, phrases: int) -> bytes:
    """MusicXML of so many phrases of made-up syllables, one to three bars each, with a rest at the end."""
    rng = melody.rng
    root = xml.Element("score-partwise", version="2.0")
    listed = xml.SubElement(xml.SubElement(root, "part-list"), "score-part", id="P1")
    xml.SubElement(listed, "part-name").text = "voice"
    part = xml.SubElement(root, "part", id="P1")
    bar = xml.SubElement(part, "measure", number="1")
    attributes = xml.SubElement(bar, "attributes")
    xml.SubElement(attributes, "divisions").text = "4"
    time = xml.SubElement(attributes, "time")
    xml.SubElement(time, "beats").text = xml.SubElement(time, "beat-type").text = "4"
    xml.SubElement(xml.SubElement(bar, "direction"), "sound", tempo=f"{60 / melody.beat:.1f}")
    _note(bar, BAR)  # Sinsy wants silence on either side
    for _ in range(phrases):
        bars = int(rng.integers(1, 4))
        for number in range(bars):
            bar = xml.SubElement(part, "measure", number=str(len(part) + 1))
            rest = int(rng.choice([2, 4, 8])) if number == bars - 1 else 0
            left = BAR - rest
            while left:
                sixteenths = min(left, max(1, round(4 * melody.length() / melody.beat)))
                _note(bar, sixteenths, round(melody.next_note(centre)), str(rng.choice(KANA)))
                left -= sixteenths
            if rest:
                _note(bar, rest)
    _note(xml.SubElement(part, "measure", number=str(len(part) + 1)), BAR)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _note(measure: xml.Element, sixteenths: int, pitch: int | None = None, syllable: str = "") -> None:
    note = xml.SubElement(measure, "note")
    if pitch is None:
        xml.SubElement(note, "rest")
    else:
        place = xml.SubElement(note, "pitch")
        step, sharp = STEPS[pitch % 12]
        xml.SubElement(place, "step").text = step
        xml.SubElement(place, "alter").text = str(sharp)
        xml.SubElement(place, "octave").text = str(pitch // 12 - 1)
    xml.SubElement(note, "duration").text = str(sixteenths)
    xml.SubElement(note, "voice").text = "1"
    if syllable:
        xml.SubElement(xml.SubElement(note, "lyric"), "text").text = syllable


def sung(notes: bytes, alpha: float) -> np.ndarray:
    """MusicXML as singing, [samples] at 44.1 kHz. Raises ModuleNotFoundError without pysinsy, RuntimeError where Sinsy refuses."""
    try:
        import pysinsy  # it is built from source and pulls in much: only those who want this voice need it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pysinsy is not installed: pip install cython pysinsy") from error
    singer = pysinsy.Sinsy()
    with tempfile.NamedTemporaryFile(suffix=".xml") as file:
        Path(file.name).write_bytes(notes)
        voice = str(files("pysinsy") / VOICE).encode()
        if not (
            singer.setLanguages("j", pysinsy.get_default_dic_dir()) and singer.loadVoices(voice) and singer.loadScoreFromMusicXML(file.name)
        ):
            raise RuntimeError("Sinsy takes neither voice nor score")
        singer.setAlpha(alpha)
        wave, rate = singer.synthesize()
    return np.asarray(soxr.resample(np.asarray(wave) / 32768, rate, RATE))


def build_sinsy(train: Path, seed: int) -> None:
    """Render SONGS tracks into `train`/voices_sinsy; those that exist are kept."""
    for number in range(SONGS):
        folder = train / "voices_sinsy" / f"{number:02d}"
        if not folder.exists():
            melody = any_melody(np.random.default_rng((seed, number, 70)))
            rng = melody.rng
            wave = sung(score(melody, rng.uniform(*CENTRE), PHRASES), rng.uniform(*ALPHA))
            wave = produce(wave[:, None] * [0.7071, 0.7071], melody.beat, rng)
            write_song(folder, {"vocals": wave}, SOURCES["voices_sinsy"])
            log.info("sinsy %s: %.1f min", folder.name, len(wave) / RATE / 60)
