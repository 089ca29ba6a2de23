"""What happens to music on its way to a listener, at three strengths each, from mild to strong.

A corruption takes a song's mixture and vocals, float32 [2, samples] at 44.1 kHz, and gives both as they are afterwards. The linear ones do
the same to the vocals, whose corrupted version is then what a separator should find; mp3, noise and clipping leave the vocals as they were.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft

from separate.audio import AudioReader

RATE = 44100
Wave = NDArray[np.float32]
Corruption = Callable[[Wave, Wave], tuple[Wave, Wave]]


def mp3(kbits: int, mixture: Wave, vocals: Wave) -> tuple[Wave, Wave]:
    """Through an MP3 encoder (LAME) and back, aligned."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.mp3"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libmp3lame", rate=RATE, layout="stereo")
            stream.bit_rate = 1000 * kbits
            fifo = av.AudioFifo()
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mixture.clip(-1, 1)), format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            fifo.write(frame)
            while part := fifo.read(stream.codec_context.frame_size or 1152, partial=True):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        decoded = np.concatenate(list(AudioReader(path).blocks())).T
    decoded = np.pad(decoded, ((0, 0), (0, max(0, mixture.shape[1] - decoded.shape[1]))))[:, : mixture.shape[1]]
    return np.ascontiguousarray(decoded), vocals


def noise(snr: float, mixture: Wave, vocals: Wave) -> tuple[Wave, Wave]:
    """White noise, so many dB below the mixture."""
    drawn = np.random.default_rng(0).normal(size=mixture.shape).astype(np.float32)
    return mixture + drawn * np.float32(mixture.std() * 10 ** (-snr / 20)), vocals


def clipping(share: float, mixture: Wave, vocals: Wave) -> tuple[Wave, Wave]:
    """The loudest samples, this share of all, cut off."""
    limit = float(np.quantile(np.abs(mixture[:, ::7]), 1 - share))
    return mixture.clip(-limit, limit), vocals


def _both(transform: Callable[[Wave], Wave], mixture: Wave, vocals: Wave) -> tuple[Wave, Wave]:
    return transform(mixture), transform(vocals)


def _filtered(gain: Callable[[NDArray[np.float64]], NDArray[np.float64]], wave: Wave) -> Wave:
    size = fft.next_fast_len(wave.shape[1], real=True)
    spectrum = fft.rfft(wave, size) * gain(fft.rfftfreq(size, 1 / RATE)).astype(np.float32)
    return np.asarray(fft.irfft(spectrum, size)[:, : wave.shape[1]], dtype=np.float32)


def _low_pass(edge: float, wave: Wave) -> Wave:
    return _filtered(lambda hertz: np.clip((edge * 1.05 - hertz) / (edge * 0.05), 0, 1), wave)


def _tilt(db: float, wave: Wave) -> Wave:
    """So many dB from 60 Hz to 15 kHz, straight over log frequency."""
    return _filtered(lambda hertz: 10 ** (db * (np.log(hertz.clip(60, 15000) / 60) / np.log(250) - 0.5) / 20), wave)


def _room(wet_db: float, wave: Wave) -> Wave:
    """A synthetic tail of 0.8 s, decorrelated in the two channels, so many dB against the direct sound."""
    length = int(0.8 * RATE)
    tail = np.random.default_rng(1).normal(size=(2, length)) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (wet_db / 20) / np.sqrt(np.square(tail).sum(1, keepdims=True))
    tail[:, 0] += 1
    size = fft.next_fast_len(wave.shape[1] + length, real=True)
    spectrum = fft.rfft(wave, size) * fft.rfft(tail.astype(np.float32), size)
    return np.asarray(fft.irfft(spectrum, size)[:, : wave.shape[1]], dtype=np.float32)


def _resampled(rate: int, wave: Wave) -> Wave:
    narrow = soxr.resample(np.ascontiguousarray(wave.T), RATE, rate)
    back = np.asarray(soxr.resample(narrow, rate, RATE)).T[:, : wave.shape[1]]
    return np.ascontiguousarray(np.pad(back, ((0, 0), (0, wave.shape[1] - back.shape[1]))))


def _gain(db: float, wave: Wave) -> Wave:
    return wave * np.float32(10 ** (db / 20))


def _narrow(width: float, wave: Wave) -> Wave:
    """The difference of the channels turned down to this share; 0 is mono."""
    middle = wave.mean(0, keepdims=True)
    return np.asarray(middle + np.float32(width) * (wave - middle))


def _linear(transform: Callable[[float, Wave], Wave], strengths: tuple[float, float, float]) -> dict[str, Corruption]:
    return {f"{strength:g}": partial(_both, partial(transform, strength)) for strength in strengths}


# By name and unit, strength by strength.
CORRUPTIONS: dict[str, dict[str, Corruption]] = {
    "mp3, kbit/s": {f"{kbits}": partial(mp3, kbits) for kbits in (128, 96, 64)},
    "low-pass, Hz": _linear(_low_pass, (12000, 8000, 4000)),
    "tilt, dB": _linear(_tilt, (6, 12, -12)),
    "noise, dB SNR": {f"{snr}": partial(noise, snr) for snr in (40, 30, 20)},
    "clipping, share": {f"{share:g}": partial(clipping, share) for share in (0.001, 0.01, 0.05)},
    "room, dB": _linear(_room, (-18, -12, -6)),
    "resampling, Hz": {f"{rate}": partial(_both, partial(_resampled, rate)) for rate in (22050, 16000, 8000)},
    "gain, dB": _linear(_gain, (-12, -24, -36)),
    "stereo width": _linear(_narrow, (0.5, 0.25, 0.0)),
}
