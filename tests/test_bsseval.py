"""Held against museval itself, called directly."""

from functools import cache
from pathlib import Path

import museval
import numpy as np
import pytest

from benchmarks.excerpt import excerpt
from separate.bsseval import BLOCK, METRICS, bsseval
from separate.scoring import global_sdr, held
from tests.conftest import RATE

Waves = list[np.ndarray]


def theirs(references: Waves, estimates: Waves, window: int = RATE) -> np.ndarray:
    return np.array(museval.evaluate(references, estimates, win=window, hop=window))


def ours(references: Waves, estimates: Waves, window: int = RATE) -> np.ndarray:
    return bsseval([held(wave) for wave in references], [held(wave) for wave in estimates], len(references[0]), window)


def guesses(references: Waves, seed: int = 0) -> Waves:
    """What a separator might make of them: some of each in the others, and artefacts."""
    rng, mixture = np.random.default_rng(seed), np.sum(references, axis=0)
    return [0.8 * wave + 0.2 * (mixture - wave) + 0.01 * rng.normal(size=wave.shape) for wave in references]


def noise(count: int, seconds: float = 2.3) -> Waves:
    """Independent in both channels, coloured so that all lags count."""
    white = np.random.default_rng(1).normal(size=(count, round(seconds * RATE), 2))
    return list(white + 0.5 * np.roll(white, 300, axis=1))


@cache
def real() -> Waves:
    """The excerpt's vocals and all the rest, as 16-bit files have them."""
    song = excerpt()
    return [as_16_bit(wave) for wave in (song["vocals"], song["drums"] + song["bass"] + song["other"])]


def as_16_bit(wave: np.ndarray) -> np.ndarray:
    return np.round(wave * 32767) / 32768


def low_passed(wave: np.ndarray, hertz: float) -> np.ndarray:
    spectrum = np.fft.rfft(wave, axis=0)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) > hertz] = 0
    return np.fft.irfft(spectrum, len(wave), axis=0)


MADE_UP = {
    "two sources": lambda: noise(2),
    "three sources": lambda: noise(3),
    "one channel": lambda: [wave[:, :1] for wave in noise(2)],
    "several blocks": lambda: [wave[:, :1] for wave in noise(2, 2.3 * BLOCK / RATE)],
    "one source is mono": lambda: [noise(2)[0][:, [0, 0]], noise(2)[1]],
    "one source is on the left": lambda: [noise(2)[0] * [1, 0], noise(2)[1]],
    "shorter than a window": lambda: noise(2, 0.6),
    "whole windows": lambda: noise(2, 2.0),
}


@pytest.mark.parametrize("case", MADE_UP)
def test_all_figures_are_musevals_within_a_millionth_of_a_decibel(case: str) -> None:
    references = MADE_UP[case]()
    np.testing.assert_allclose(ours(references, guesses(references)), theirs(references, guesses(references)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("hertz", [20000, 16000, 8000])
def test_16_bit_recordings_have_musevals_figures_as_far_as_museval_is_sure_of_them(hertz: int) -> None:
    """Where hardly anything but rounding to 16 bits fills a band, museval's filters are sure to some 1e-5 dB: exchange left and right."""
    references = [as_16_bit(low_passed(wave, hertz)) for wave in real()]
    np.testing.assert_allclose(ours(references, guesses(references)), theirs(references, guesses(references)), rtol=0, atol=2e-5)


def test_mono_and_nearly_mono_voices_are_musevals_within_a_thousandth_of_a_decibel() -> None:
    vocals, rest = real()
    middle = vocals.mean(1, keepdims=True)
    for width in (0.0, 0.01):
        references = [as_16_bit(middle + width * (vocals - middle)), rest]
        np.testing.assert_allclose(ours(references, guesses(references)), theirs(references, guesses(references)), rtol=0, atol=1e-3)


def test_a_mono_source_leaves_nothing_singular(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then neither rounding nor a slow decomposition decides: the same channel twice is one."""
    solve, spreads = np.linalg.solve, []

    def watched(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        eigenvalues = np.linalg.eigvalsh(matrix)
        spreads.append(eigenvalues[0] / eigenvalues[-1])
        return solve(matrix, right)

    monkeypatch.setattr(np.linalg, "solve", watched)
    references = [noise(2, 0.5)[0][:, [0, 0]], noise(2, 0.5)[1]]
    assert np.isfinite(ours(references, guesses(references))).all()
    assert len(spreads) == 3 and min(spreads) > 1e-4


def test_without_a_band_in_floating_point_sdr_is_musevals_and_that_of_the_samples() -> None:
    """It takes no filters, which nobody can be sure of there."""
    references = [low_passed(wave, 8000) for wave in real()]
    estimates = guesses(references)
    mine, his = (scores(references, estimates)[METRICS.index("SDR")] for scores in (ours, theirs))
    seconds = [slice(second * RATE, (second + 1) * RATE) for second in range(mine.shape[1])]
    by_hand = [[global_sdr(r[second], e[second]) for second in seconds] for r, e in zip(references, estimates, strict=True)]
    np.testing.assert_allclose(mine, his, rtol=0, atol=1e-9)
    np.testing.assert_allclose(mine, by_hand, rtol=0, atol=1e-9)


def test_a_silent_second_has_no_scores_for_any_source_and_a_cut_off_one_is_left_out() -> None:
    references = noise(2, 3.4)
    references[0][RATE : 2 * RATE] = 0
    estimates = guesses(references)
    estimates[1][2 * RATE : 3 * RATE, 1] = -estimates[1][2 * RATE : 3 * RATE, 0]  # museval adds the channels up
    found = ours(references, estimates)
    assert found.shape == (4, 2, 3)
    assert np.isnan(found).all((0, 1)).tolist() == [False, True, True]
    np.testing.assert_allclose(found, theirs(references, estimates), rtol=0, atol=1e-6)


def test_sources_that_are_copies_of_one_another_are_scored_as_museval_means_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """museval names an exception that numpy 2.4 no longer has; where it has, it goes on with least squares."""
    first, second = (wave[:, :1] for wave in noise(2, 1.1))
    references, estimates = [first, first], guesses([first, second])

    def singular(*_: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(np.linalg, "solve", singular)
    monkeypatch.setattr(np.linalg, "linalg", np.linalg, raising=False)
    mine, his = (np.minimum(scores(references, estimates, 8000), 200) for scores in (ours, theirs))  # where nothing is left but rounding
    np.testing.assert_allclose(mine, his, rtol=0, atol=1e-6)


def test_no_more_is_read_at_a_time_than_a_block() -> None:
    rng, seen = np.random.default_rng(0), []

    def read(start: int, count: int) -> np.ndarray:
        seen.append((start, count))
        return rng.normal(size=(count, 1))

    samples = 5 * BLOCK + 100
    assert bsseval([read, read], [read, read], samples, 8000).shape[2] == samples // 8000
    assert max(count for _, count in seen) == BLOCK
    assert max(start + count for start, count in seen) == samples


def test_memory_does_not_grow_with_the_length() -> None:
    def peak(samples: int) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here (Linux)
        status = Path("/proc/self/status").read_text()
        before = int(status.split("VmRSS:")[1].split()[0])
        readers = [(lambda start, count, seed=seed: np.random.default_rng(seed + start).normal(size=(count, 1))) for seed in range(4)]
        bsseval(readers[:2], readers[2:], samples, 8000)
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) - before

    short = peak(2 * BLOCK)
    assert peak(16 * BLOCK) < short + 20_000  # kB; the signals alone take 115 MB in museval's precision
