"""Steady-pitch syllables made to sing: the corpus's voices get melodies, phrasing and a vocal production.

A recording is sung in one of two ways. `Vocoded`: the WORLD vocoder (Morise, Yokomori and Ozawa, 2016) takes it apart into pitch, spectral
envelope and aperiodicity; pitch and timing are replaced, the envelope (and with it the vowel) stays. `Spliced`: its own periods are set
closer or farther apart (TD-PSOLA, Moulines and Charpentier, 1990), so that the sound of the throat stays as well. Doubles, harmonies,
compression, equaliser, delay and room follow, since that is how a voice reaches a mix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import pyworld
import soxr
from scipy.ndimage import uniform_filter1d

from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.desk import compress, room, shelve_and_peak
from recipes.opencorpus.melody import PERIOD, SCALES, Melody, Performance, sing
from separate.augment.effects import echo, saturate

log = logging.getLogger(__name__)
HOP = PERIOD * RATE / 1000  # samples a frame
UNVOICED = 200.0  # pieces a second where there is no pitch
NARROW = ("erithacus",)  # recordings without highs: vocoded only


class Singer(Protocol):
    """A recording that can be sung: f0 [frames] in Hz (0: unvoiced), loudness [frames] in dB."""

    f0: np.ndarray
    loudness: np.ndarray

    def sound(self, performance: Performance, semitones: float = 0.0) -> np.ndarray:
        """[samples] at 44.1 kHz, transposed as asked."""


def split(wave: np.ndarray) -> Iterator[np.ndarray]:
    """Cut a mono recording at its silent gaps of 80 ms and more; clips under 0.3 s are dropped."""
    hop = RATE // 100
    level = np.sqrt(np.square(wave[: len(wave) // hop * hop]).reshape(-1, hop).mean(1))
    sounding = uniform_filter1d((level > 10 ** (-50 / 20)).astype(float), 8) > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], sounding.astype(int), [0]))))
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= 30:
            yield wave[start * hop : stop * hop]


def track(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f0 [frames] in Hz, times [frames] in s, loudness [frames] in dB of float64 [samples]. Raises ValueError if too little has a pitch."""
    f0, times = pyworld.dio(wave, RATE, f0_floor=70, f0_ceil=800, frame_period=PERIOD)
    f0 = pyworld.stonemask(wave, f0, times, RATE)
    if (f0 > 0).sum() < 20:
        raise ValueError("too little of this recording has a pitch")
    power = uniform_filter1d(np.square(wave), int(2 * HOP))
    frames = np.minimum((np.arange(len(f0)) * HOP).astype(int), len(wave) - 1)
    return f0, times, 10 * np.log10(power[frames] + 1e-12)


class Vocoded:
    """A recording in WORLD's parameters, which change with `formant` (a factor on frequencies), `breathy` (0 to 1) and `edge` (`widen`)."""

    def __init__(self, wave: np.ndarray, formant: float, breathy: float = 0.0, edge: float | None = None) -> None:
        wave = np.ascontiguousarray(wave, dtype=np.float64)
        self.f0, times, self.loudness = track(wave)
        envelope = pyworld.cheaptrick(wave, self.f0, times, RATE)
        # Aperiodicity moves slowly, and d4c is what costs: every second frame will do.
        aperiodicity = pyworld.d4c(wave, self.f0[::2].copy(), times[::2].copy(), RATE)
        aperiodicity = np.repeat(aperiodicity, 2, axis=0)[: len(self.f0)]
        if edge is not None:
            envelope, aperiodicity = widen(envelope, aperiodicity, edge)
        self.envelope = _warp_formants(envelope, formant)
        self.aperiodicity = np.clip(aperiodicity + breathy * np.linspace(0.2, 1, aperiodicity.shape[1]), 0, 1)

    def sound(self, performance: Performance, semitones: float = 0.0) -> np.ndarray:
        """See `Singer`."""
        low = np.floor(performance.where).astype(int)
        envelope = self.envelope[low] * 10 ** (performance.gain / 10)[:, None]
        f0 = performance.f0 * 2 ** (semitones / 12)
        return np.asarray(pyworld.synthesize(f0, envelope, self.aperiodicity[low], RATE, PERIOD))


def widen(envelope: np.ndarray, aperiodicity: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """Breath above `edge` Hz, where a recording ends: its highest kilohertz goes on, falling by 8 dB an octave, as noise."""
    frequency = np.arange(envelope.shape[1]) * RATE / 2 / (envelope.shape[1] - 1)
    last, above = (frequency > edge - 1000) & (frequency <= edge), frequency > edge
    slope = (frequency[above] / edge) ** (-8 / 10 / np.log10(2))
    envelope, aperiodicity = envelope.copy(), aperiodicity.copy()
    envelope[:, above] = envelope[:, last].mean(1, keepdims=True) * slope
    aperiodicity[:, above] = 1.0
    return envelope, aperiodicity


def _warp_formants(envelope: np.ndarray, factor: float) -> np.ndarray:
    bins = envelope.shape[1]
    source = np.clip(np.arange(bins) / factor, 0, bins - 1)
    low = np.minimum(source.astype(int), bins - 2)
    share = source - low
    return np.asarray(envelope[:, low] * (1 - share) + envelope[:, low + 1] * share)


class Spliced:
    """A recording in pieces of two periods, which are laid one period of the wanted pitch apart; `formant` plays it faster beforehand."""

    def __init__(self, wave: np.ndarray, formant: float) -> None:
        self.wave = np.ascontiguousarray(soxr.resample(wave, formant, 1.0), dtype=np.float64)
        self.f0, _, self.loudness = track(self.wave)
        self.marks = period_marks(self.f0)

    def sound(self, performance: Performance, semitones: float = 0.0) -> np.ndarray:
        """See `Singer`."""
        f0 = performance.f0 * 2 ** (semitones / 12)
        out = np.zeros(int(len(f0) * HOP))
        marks, rng = period_marks(f0), np.random.default_rng(len(f0))
        frames = np.minimum((marks / HOP).astype(int), len(f0) - 1)
        sources = self.marks[np.minimum(np.searchsorted(self.marks, performance.where[frames] * HOP), len(self.marks) - 1)]
        for mark, frame, source in zip(marks.tolist(), frames.tolist(), sources.tolist(), strict=True):
            own = self.f0[min(int(source / HOP), len(self.f0) - 1)]
            reach = int(RATE / (own or UNVOICED))
            if not own:  # the same piece again and again would hum
                source = int(np.clip(source + rng.integers(-reach, reach), 0, len(self.wave) - 1))
            before, after = min(reach, source, mark), min(reach, len(self.wave) - source, len(out) - mark)
            window = 0.5 + 0.5 * np.cos(np.pi * np.arange(-before, after) / reach)
            overlap = max(1.0, (f0[frame] or UNVOICED) * reach / RATE)
            out[mark - before : mark + after] += window / overlap * self.wave[source - before : source + after]
        gain = np.interp(np.arange(len(out)) / HOP, np.arange(len(f0)), performance.gain)
        return np.asarray(out * 10 ** (gain / 20))


def period_marks(f0: np.ndarray) -> np.ndarray:
    """Samples one period apart, for f0 in Hz a frame; where it is 0, 1 / UNVOICED seconds apart."""
    turns = np.cumsum(np.where(f0 > 0, f0, UNVOICED)) * PERIOD / 1000
    return np.asarray(np.interp(np.arange(np.ceil(turns[0]), turns[-1]), turns, np.arange(len(f0)) * HOP).astype(int))


def any_melody(rng: np.random.Generator) -> Melody:
    """Key, scale, tempo and reach at random."""
    return Melody(rng, int(rng.integers(12)), SCALES[rng.integers(len(SCALES))], 60 / rng.uniform(70, 160), rng.uniform(5, 9))


def vocoded(melody: Melody, edge: float | None = None) -> Callable[[np.ndarray], Singer]:
    """Makes singers of one vocal tract out of recordings, some of them breathy."""
    rng, formant = melody.rng, float(np.exp(melody.rng.uniform(-0.13, 0.13)))
    return lambda wave: Vocoded(wave, formant, float(rng.choice([0, 0, 0.1, 0.3, 0.6])), edge)


def spliced(melody: Melody) -> Callable[[np.ndarray], Singer]:
    """Makes singers of one vocal tract out of recordings."""
    formant = float(np.exp(melody.rng.uniform(-0.13, 0.13)))
    return lambda wave: Spliced(wave, formant)


def render_voice(
    parts: Iterable[np.ndarray],
    melody: Melody,
    singer: Callable[[np.ndarray], Singer],
    shift: tuple[float, float] = (-5, 5),
    seconds: float = np.inf,
) -> np.ndarray:
    """Recordings [samples] as one sung track: float32 [samples, 2] at 44.1 kHz, peak 0.8.

    After a rest, it goes on at a beat. shift: range, in semitones, from the recordings' own pitch to where the melody lies; seconds: no
    recording is begun after them. Raises ValueError if no recording has a pitch.
    """
    rng, transposed = melody.rng, melody.rng.uniform(*shift)
    doubled, harmonised = rng.random() < 0.35, rng.random() < 0.35
    interval = float(rng.choice([-12, -5, -4, -3, 3, 4, 5, 7, 12]))
    pieces: list[np.ndarray] = []  # [n, 2] each
    until_rest, now = int(rng.integers(1, 4)), 0.0
    for part in parts:
        if now > seconds:
            break
        try:
            voice = singer(part)
        except ValueError as error:
            log.debug("%s", error)
            continue
        performance = sing(voice.f0, voice.loudness, melody, transposed)
        sung = voice.sound(performance)[:, None] * [0.7071, 0.7071]
        if doubled:
            for side, cents in ((0, rng.uniform(5, 20)), (1, -rng.uniform(5, 20))):
                sung[:, side] += 0.4 * np.roll(voice.sound(performance, cents / 100), int(rng.uniform(0.008, 0.03) * RATE))[: len(sung)]
        if harmonised and rng.random() < 0.5:
            left = rng.uniform(0.2, 0.8)
            sung += 0.5 * np.roll(voice.sound(performance, interval), int(rng.uniform(0.0, 0.03) * RATE))[:, None] * [left, 1 - left]
        now += len(sung) / RATE
        until_rest -= 1
        pause = rng.uniform(0.01, 0.15)
        if not until_rest:
            until_rest = int(rng.integers(1, 4))
            pause = -now % melody.beat + melody.beat * rng.choice([0, 1, 1, 3, 5])
        pieces += [sung, np.zeros((int(pause * RATE), 2))]
        now += pause
    if not pieces:
        raise ValueError("nothing in these recordings has a pitch")
    return produce(np.concatenate(pieces), melody.beat, rng)


def produce(wave: np.ndarray, beat: float, rng: np.random.Generator) -> np.ndarray:
    """A sung track as it reaches a mix, [samples, 2] at any level -> float32, peak 0.8: equaliser, compressor, drive, delay, room."""
    wave = wave / max(1e-9, np.percentile(np.abs(wave), 99.9))
    wave = shelve_and_peak(wave, rng, low_cut=rng.uniform(70, 140), peak=(2000, 6000), peak_db=(-3, 6))
    wave = compress(wave, ratio=rng.uniform(2.5, 6), threshold_db=rng.uniform(-24, -14))
    wave = saturate(wave, rng.uniform(0.3, 2.0))
    if rng.random() < 0.4:
        wave = echo(wave, RATE, beat * rng.choice([0.5, 0.75, 1]), rng.uniform(-20, -10))
    wave = room(wave, rng, seconds=rng.uniform(0.3, 2.5), wet_db=rng.uniform(-24, -9))
    return np.asarray(0.8 * wave / np.abs(wave).max(), dtype=np.float32)


def build_singing(corpus: Path, out: Path, voices: Sequence[str], takes: int, seed: int) -> None:
    """Render every recording of the named voices `takes` times, vocoded and (not NARROW ones) spliced; songs that exist are kept."""
    parts = {voice: sorted((corpus / "voices" / voice).glob("*.ogg")) for voice in voices}
    if missing := [voice for voice, files in parts.items() if not files]:
        raise FileNotFoundError(f"no recordings of {', '.join(missing)} under {corpus / 'voices'}")
    ways = ((0, "take", vocoded), (500, "spliced", spliced))
    for take in range(takes):
        for number in range(max(len(files) for files in parts.values())):
            for (voice, files), (offset, way, singer) in product(parts.items(), ways):
                folder = out / f"voices_{voice}" / f"{number:02d}_{way}{take}"
                if number >= len(files) or folder.exists() or (way == "spliced" and voice in NARROW):
                    continue
                melody = any_melody(np.random.default_rng(abs(seed * 1_000_003 + (take + offset) * 1009 + number * 31 + len(voice))))
                sung = render_voice(split(read_audio(files[number]).mean(1)), melody, singer(melody))
                write_song(folder, {"vocals": sung}, SOURCES[f"voices_{voice}"])
                log.info("%s %s: %.1f min", voice, folder.name, len(sung) / RATE / 60)
