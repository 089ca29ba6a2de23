"""Steady-pitch syllables made to sing: the corpus's voices get melodies, phrasing and a vocal production.

The WORLD vocoder (Morise, Yokomori and Ozawa, 2016) takes a recording apart into pitch, spectral envelope and
aperiodicity; pitch and timing are replaced by an invented melody, the envelope (and with it the vowel) stays. Doubles,
harmonies, compression, equaliser, delay and room follow, since that is how a voice reaches a mix.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyworld
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.desk import compress, echo, room, saturate, shelve_and_peak

log = logging.getLogger(__name__)
PERIOD = 5.0  # ms a WORLD frame
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))


@dataclass(frozen=True)
class Clip:
    """WORLD's view of a syllable string: f0 [frames] in Hz (0: unvoiced), envelope and aperiodicity [frames, bins]."""

    f0: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray

    @property
    def pitch(self) -> float:
        """Steady pitch in semitones above 1 Hz."""
        return float(12 * np.log2(np.median(self.f0[self.f0 > 0])))


def split(wave: np.ndarray) -> Iterator[np.ndarray]:
    """Cut a mono recording at its silent gaps of 80 ms and more; clips under 0.3 s are dropped."""
    hop = RATE // 100
    level = np.sqrt(np.square(wave[: len(wave) // hop * hop]).reshape(-1, hop).mean(1))
    sounding = uniform_filter1d((level > 10 ** (-50 / 20)).astype(float), 8) > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], sounding.astype(int), [0]))))
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= 30:
            yield wave[start * hop : stop * hop]


def analyse(wave: np.ndarray) -> Clip | None:
    """WORLD analysis of one clip; None where too little of it is voiced to have a pitch."""
    wave = np.ascontiguousarray(wave, dtype=np.float64)
    f0, times = pyworld.dio(wave, RATE, f0_floor=70, f0_ceil=800, frame_period=PERIOD)
    f0 = pyworld.stonemask(wave, f0, times, RATE)
    if (f0 > 0).sum() < 20:
        return None
    envelope = pyworld.cheaptrick(wave, f0, times, RATE)
    # Aperiodicity moves slowly, and d4c is what costs: every second frame will do.
    aperiodicity = pyworld.d4c(wave, f0[::2].copy(), times[::2].copy(), RATE)
    return Clip(f0, envelope, np.repeat(aperiodicity, 2, axis=0)[: len(f0)])


def syllables(clip: Clip) -> np.ndarray:
    """Frames where syllables begin: the start, dips of energy, returns of voicing."""
    energy = gaussian_filter1d(10 * np.log10(clip.envelope.sum(1) + 1e-12), 4)
    voiced = clip.f0 > 0
    dips = [
        i
        for i in range(10, len(energy) - 10)
        if energy[i] == energy[i - 10 : i + 11].min() and energy[i - 25 if i > 25 else 0 : i + 26].max() > energy[i] + 6
    ]
    returns = np.flatnonzero(voiced[1:] & ~voiced[:-1]).tolist()
    starts = [0]
    for frame in sorted({*dips, *returns}):
        if frame - starts[-1] >= 16:
            starts.append(frame)
    return np.array(starts)


@dataclass
class Melody:
    """A walk on a scale around a voice's own pitch; `beat` in seconds."""

    rng: np.random.Generator
    tonic: int
    scale: tuple[int, ...]
    beat: float
    reach: float
    degree: int = 0

    def next_note(self, centre: float) -> float:
        """Next pitch in semitones: mostly repeated or a step, kept within reach of the centre."""
        steps = self.rng.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4], p=[0.03, 0.05, 0.12, 0.2, 0.2, 0.2, 0.12, 0.05, 0.03])
        self.degree += int(steps)
        pitch = self._pitch(centre)
        if abs(pitch - centre) > self.reach:
            self.degree = int(np.clip(self.degree, -3, 3))
            pitch = self._pitch(centre)
        return pitch

    def _pitch(self, centre: float) -> float:
        octave, index = divmod(self.degree, len(self.scale))
        base = round((centre - self.tonic) / 12) * 12 + self.tonic
        return base + 12 * octave + self.scale[index]

    def length(self) -> float:
        """Next note's length in seconds."""
        return float(self.beat * self.rng.choice([0.25, 0.5, 0.5, 0.75, 1, 1, 1.5, 2, 3]))


def sing(clip: Clip, melody: Melody, shift: float, formant: float, breathy: float) -> Clip:
    """Lay a clip's syllables on a melody: timing, pitch, loudness and vocal-tract length change."""
    rng, starts = melody.rng, syllables(clip)
    bounds = np.append(starts, len(clip.f0))
    position, notes, gains = [], [], []
    for begin, end in pairwise(bounds):
        wanted = melody.length() * 1000 / PERIOD
        count = int(np.clip(wanted, 0.6 * (end - begin), 4 * (end - begin) + 8))
        onset = min(12, end - begin, count)  # a consonant keeps its pace
        position.append(np.concatenate((begin + np.arange(onset), np.linspace(begin + onset, end - 1, count - onset))))
        notes.append(np.full(count, melody.next_note(clip.pitch + shift)))
        gains.append(np.full(count, rng.normal(0, 2.5)))
    where = np.clip(np.concatenate(position), 0, len(clip.f0) - 1)
    pitch = _ornament(np.concatenate(notes), [len(n) for n in notes], rng)
    low = np.floor(where).astype(int)
    voiced = clip.f0[low] > 0
    gain = 10 ** (gaussian_filter1d(np.concatenate(gains), 6) / 10)
    envelope = _warp_formants(clip.envelope, formant)[low] * gain[:, None]
    aperiodicity = np.clip(clip.aperiodicity[low] + breathy * np.linspace(0.2, 1, clip.aperiodicity.shape[1]), 0, 1)
    f0 = np.where(voiced, np.clip(2 ** (pitch / 12), 60, 1100), 0.0)
    return Clip(f0, envelope, aperiodicity)


def _ornament(pitch: np.ndarray, lengths: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Scoops, glides, vibrato and drift on stepped notes (semitones, a value a frame)."""
    pitch = pitch.astype(np.float64)
    vibrato = np.zeros_like(pitch)
    rate, depth = rng.uniform(4.5, 6.5), rng.uniform(0.1, 0.6)
    start = 0
    for length in lengths:
        age = np.arange(length) * PERIOD / 1000
        if rng.random() < 0.35:
            pitch[start : start + length] -= rng.uniform(0.5, 3) * np.exp(-age / 0.05)
        if length * PERIOD > 350:
            vibrato[start : start + length] = np.clip((age - 0.15) / 0.3, 0, 1) * np.sin(2 * np.pi * rate * age)
        start += length
    glided = gaussian_filter1d(pitch, rng.uniform(2, 10))
    drift = gaussian_filter1d(rng.normal(0, 1, len(pitch)), 30) * 1.2 + gaussian_filter1d(rng.normal(0, 1, len(pitch)), 2) * 0.08
    return np.asarray(glided + depth * vibrato + drift)


def _warp_formants(envelope: np.ndarray, factor: float) -> np.ndarray:
    bins = envelope.shape[1]
    source = np.clip(np.arange(bins) / factor, 0, bins - 1)
    low = np.minimum(source.astype(int), bins - 2)
    share = source - low
    return np.asarray(envelope[:, low] * (1 - share) + envelope[:, low + 1] * share)


def synthesise(clip: Clip, semitones: float = 0.0) -> np.ndarray:
    """[samples] at 44.1 kHz, transposed as asked."""
    return np.asarray(
        pyworld.synthesize(
            clip.f0 * 2 ** (semitones / 12),
            np.ascontiguousarray(clip.envelope),
            np.ascontiguousarray(clip.aperiodicity),
            RATE,
            PERIOD,
        )
    )


def widen(clip: Clip, edge: float) -> Clip:
    """Breath above `edge` Hz, where a recording ends: its highest kilohertz goes on, falling by 8 dB an octave, as noise."""
    frequency = np.arange(clip.envelope.shape[1]) * RATE / 2 / (clip.envelope.shape[1] - 1)
    last, above = (frequency > edge - 1000) & (frequency <= edge), frequency > edge
    slope = (frequency[above] / edge) ** (-8 / 10 / np.log10(2))
    envelope, aperiodicity = clip.envelope.copy(), clip.aperiodicity.copy()
    envelope[:, above] = envelope[:, last].mean(1, keepdims=True) * slope
    aperiodicity[:, above] = 1.0
    return Clip(clip.f0, envelope, aperiodicity)


def render_voice(parts: Iterable[np.ndarray], seed: int, shift: tuple[float, float] = (-5, 5), edge: float | None = None) -> np.ndarray:
    """Clips [samples] as one sung track: float32 [samples, 2] at 44.1 kHz, peak 0.8.

    shift: range, in semitones, from the clips' own pitch to where the melody lies; edge: see `widen`. Raises ValueError if no clip has a
    pitch.
    """
    rng = np.random.default_rng(seed)
    melody = Melody(rng, int(rng.integers(12)), SCALES[rng.integers(len(SCALES))], 60 / rng.uniform(70, 160), rng.uniform(5, 9))
    transposed, formant = rng.uniform(*shift), float(np.exp(rng.uniform(-0.13, 0.13)))
    doubled, harmonised = rng.random() < 0.35, rng.random() < 0.35
    interval = float(rng.choice([-12, -5, -4, -3, 3, 4, 5, 7, 12]))
    tracks: list[tuple[np.ndarray, np.ndarray]] = []  # (dry lead [n], backing [n, 2])
    until_rest = int(rng.integers(1, 4))
    for part in parts:
        clip = analyse(part)
        if clip is None:
            continue
        if edge is not None:
            clip = widen(clip, edge)
        sung = sing(clip, melody, transposed, formant, breathy=float(rng.choice([0, 0, 0.1, 0.3, 0.6])))
        lead = synthesise(sung)
        backing = np.zeros((len(lead), 2))
        if doubled:
            for side, cents in ((0, rng.uniform(5, 20)), (1, -rng.uniform(5, 20))):
                backing[:, side] += 0.4 * np.roll(synthesise(sung, cents / 100), int(rng.uniform(0.008, 0.03) * RATE))[: len(lead)]
        if harmonised and rng.random() < 0.5:
            left = rng.uniform(0.2, 0.8)
            backing += 0.5 * np.roll(synthesise(sung, interval), int(rng.uniform(0.0, 0.03) * RATE))[:, None] * [left, 1 - left]
        until_rest -= 1
        pause = rng.uniform(0.01, 0.15) if until_rest else melody.beat * rng.choice([1, 2, 2, 4, 6])
        until_rest = until_rest or int(rng.integers(1, 4))
        silence = np.zeros(int(pause * RATE))
        tracks.append((np.concatenate((lead, silence)), np.concatenate((backing, np.repeat(silence[:, None], 2, 1)))))
    if not tracks:
        raise ValueError("nothing in these clips has a pitch")
    dry = np.concatenate([lead for lead, _ in tracks])
    return _produce(dry[:, None] * 0.7071 + np.concatenate([backing for _, backing in tracks]), melody.beat, rng)


def _produce(wave: np.ndarray, beat: float, rng: np.random.Generator) -> np.ndarray:
    wave = wave / max(1e-9, np.percentile(np.abs(wave), 99.9))
    wave = shelve_and_peak(wave, rng, low_cut=rng.uniform(70, 140), peak=(2000, 6000), peak_db=(-3, 6))
    wave = compress(wave, ratio=rng.uniform(2.5, 6), threshold_db=rng.uniform(-24, -14))
    wave = saturate(wave, rng.uniform(0.3, 2.0))
    if rng.random() < 0.4:
        wave = echo(wave, beat * rng.choice([0.5, 0.75, 1]), rng.uniform(-20, -10))
    wave = room(wave, rng, seconds=rng.uniform(0.3, 2.5), wet_db=rng.uniform(-24, -9))
    return np.asarray(0.8 * wave / np.abs(wave).max(), dtype=np.float32)


def build_singing(corpus: Path, out: Path, voices: Sequence[str], takes: int, seed: int) -> None:
    """Render every recording of the named voices `takes` times into `out`; songs that exist are kept."""
    parts = {voice: sorted((corpus / "voices" / voice).glob("*.ogg")) for voice in voices}
    if missing := [voice for voice, files in parts.items() if not files]:
        raise FileNotFoundError(f"no recordings of {', '.join(missing)} under {corpus / 'voices'}")
    for take in range(takes):
        for number in range(max(len(files) for files in parts.values())):
            for voice, files in parts.items():
                folder = out / f"voices_{voice}" / f"{number:02d}_take{take}"
                if number >= len(files) or folder.exists():
                    continue
                track = render_voice(
                    split(read_audio(files[number]).mean(1)), seed=abs(seed * 1_000_003 + take * 1009 + number * 31 + len(voice))
                )
                write_song(folder, {"vocals": track}, SOURCES[f"voices_{voice}"])
                log.info("%s %s: %.1f min", voice, folder.name, len(track) / RATE / 60)
