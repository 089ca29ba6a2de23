"""Effects that a stem may have been through before it reached the mix: not linear, or moving with time.

Pure functions on float [samples, 2], applied to one stem at a time, so that a mixture of treated stems is still their sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import butter, sosfilt

from separate.augment.waveform import Wave, decibels, level, limiter_gain

AnyWave = NDArray[np.floating]


def saturate(wave: AnyWave, drive: float) -> AnyWave:
    """tanh curve; `drive` is the slope into it, about 1 is warm and 5 is distorted. The peak stays."""
    peak = max(1e-9, float(np.abs(wave).max()))
    return np.asarray(peak * np.tanh(drive * wave / peak) / np.tanh(drive), dtype=wave.dtype)


def echo(wave: AnyWave, rate: int, seconds: float, wet_db: float) -> AnyWave:
    """Three repeats on alternating sides, each 6 dB below the one before."""
    out, delay = wave.copy(), int(seconds * rate)
    for repeat in (1, 2, 3):
        shift = repeat * delay
        if shift >= len(wave):
            break
        pan = np.array([1.0, 0.4] if repeat % 2 else [0.4, 1.0], dtype=wave.dtype)
        out[shift:] += decibels(wet_db - 6 * (repeat - 1)) * wave[: len(wave) - shift] * pan
    return out


def chorus(wave: AnyWave, rate: int, milliseconds: float, depth: float, hertz: float, wet: float) -> AnyWave:
    """Adds `wet` of a copy that is `milliseconds` late, by a share `depth` more and less `hertz` times a second, the sides in turn.

    A few ms make a flanger, 10 to 30 ms a double of the voice or instrument.
    """
    places = np.arange(len(wave))
    out = wave.copy()
    for side, phase in enumerate((0.0, np.pi / 2)):
        late = rate * milliseconds / 1000 * (1 + depth * np.sin(2 * np.pi * hertz * places / rate + phase))
        out[:, side] += wet * np.interp(places - late, places, wave[:, side], left=0.0)
    return out


def tremolo(wave: AnyWave, rate: int, depth: float, hertz: float, lag: float) -> AnyWave:
    """Loudness falls by a share `depth` and comes back `hertz` times a second, on the right `lag` radians later."""
    turns = 2 * np.pi * hertz * np.arange(len(wave))[:, None] / rate - np.array([0.0, lag])
    return np.asarray(wave * (1 - depth * (0.5 + 0.5 * np.sin(turns))), dtype=wave.dtype)


def wah(wave: AnyWave, rate: int, low: float, high: float, hertz: float) -> AnyWave:
    """A resonance that wanders between two frequencies (Hz) `hertz` times a second, over the rest 12 dB below, as a mouth's would.

    Six fixed resonances stand in for the moving one, each louder the nearer it is.
    """
    places = np.linspace(0, 1, 6)
    where = 0.5 - 0.5 * np.cos(2 * np.pi * hertz * np.arange(len(wave)) / rate)
    out = decibels(-12) * wave
    for place in places:
        centre = low * (high / low) ** place
        band = butter(1, (centre / 1.25, centre * 1.25), "bandpass", fs=rate, output="sos")
        near = np.maximum(0, 1 - np.abs(where - place) * (len(places) - 1))
        out = out + near[:, None] * sosfilt(band, wave, axis=0)
    return np.asarray(out, dtype=wave.dtype)


def amplifier(wave: AnyWave, rate: int, cut: float, drive: float, bias: float, speaker: float, wet_db: float) -> AnyWave:
    """Beside the clean sound, at `wet_db` against it, an overdriven amplifier; the level stays.

    What lies above `cut` Hz goes through a tanh curve of slope `drive` and a loudspeaker that ends at `speaker` Hz; `bias` shifts it
    for even harmonics too.
    """
    high = sosfilt(butter(1, cut, "highpass", fs=rate, output="sos"), wave, axis=0)
    driven = np.tanh(drive * high / max(1e-9, float(np.abs(high).max())) + bias)
    driven = sosfilt(butter(2, (60, speaker), "bandpass", fs=rate, output="sos"), driven - np.tanh(bias), axis=0)
    before, now = level(wave), level(driven)
    if not np.isfinite(before) or not np.isfinite(now):
        return wave
    out = wave + decibels(before - now + wet_db) * driven
    return np.asarray(decibels(before - level(out)) * out, dtype=wave.dtype)


def warp_envelope(wave: Wave, rng: np.random.Generator, spread: float) -> Wave:
    """Another throat or body: the spectral envelope of every moment is stretched along frequency, the pitch stays.

    By a factor whose logarithm has the spread `spread`, bent along the frequencies by a third of that. The envelope is the mean power of
    the channels, smoothed in the cepstrum (at 44.1 kHz to some 500 Hz); it changes by up to 17 dB.
    """
    size, hop = 2048, 1024
    bins = size // 2 + 1
    stretch = rng.normal(0, spread) + np.interp(np.linspace(0, 9, bins), np.arange(10), rng.normal(0, spread / 3, 10))
    window = np.sin(np.pi * (np.arange(size, dtype=np.float32) + 0.5) / size)
    padded = np.pad(wave, ((hop, size + -len(wave) % hop), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)[::hop] * window  # [frames, channels, size]
    spectrum = fft.rfft(frames, axis=-1)
    power = np.square(np.abs(spectrum)).mean(1)
    cepstrum = fft.irfft(np.log(power + 1e-9 * max(1e-12, float(power.max()))), axis=-1)
    quefrency = np.minimum(np.arange(size), size - np.arange(size))  # samples
    cepstrum *= np.clip((90 - quefrency) / 50, 0, 1).astype(np.float32)  # from 2 ms on lie the periods of what is sung
    envelope = fft.rfft(cepstrum, axis=-1).real
    source = np.clip(np.arange(bins) * np.exp(-stretch), 0, bins - 1.001)
    low = source.astype(int)
    share = (source - low).astype(np.float32)
    change = envelope[:, low] * (1 - share) + envelope[:, low + 1] * share - envelope
    frames = fft.irfft(spectrum * np.exp(np.clip(change / 2, -2, 2))[:, None], axis=-1) * window
    out = np.zeros_like(padded)
    for start in (0, hop):  # two frames overlap at every place
        turn = frames[start // hop :: 2].transpose(0, 2, 1).reshape(-1, wave.shape[1])
        out[start : start + len(turn)] += turn
    return np.asarray(out[hop : hop + len(wave)], dtype=np.float32)


def any_amplifier(wave: Wave, rng: np.random.Generator, rate: int) -> Wave:
    """An amplifier of random settings, from a warm bass to a fuzz."""
    speaker = np.exp(rng.uniform(np.log(1500), np.log(7000)))
    return amplifier(wave, rate, rng.uniform(60, 500), np.exp(rng.uniform(1, 4)), rng.uniform(0, 0.8), speaker, rng.uniform(-12, 6))


def any_effect(wave: Wave, rng: np.random.Generator, rate: int) -> Wave:
    """One effect of a mixing desk at random strength: drive, compression, doubling or flanging, echo, tremolo or auto-pan, wah-wah."""
    match int(rng.integers(6)):
        case 0:
            return saturate(wave, float(np.exp(rng.uniform(0.0, 2.5))))
        case 1:
            return wave * limiter_gain(wave, float(np.abs(wave).max()) * decibels(-rng.uniform(6, 20)))
        case 2:
            return chorus(wave, rate, np.exp(rng.uniform(0.0, 3.4)), rng.uniform(0.02, 0.5), rng.uniform(0.1, 2), rng.uniform(0.3, 1))
        case 3:
            return echo(wave, rate, rng.uniform(0.06, 0.6), -rng.uniform(3, 16))
        case 4:
            return wah(wave, rate, rng.uniform(250, 800), rng.uniform(1000, 4000), np.exp(rng.uniform(-1.5, 1.5)))
        case _:
            return tremolo(wave, rate, rng.uniform(0.2, 0.9), np.exp(rng.uniform(-1.0, 2.2)), rng.uniform(0, np.pi))
