from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from separate import AudioError, Cancelled, ModelError, Separator
from separate.streaming import StreamingNetwork
from tests.conftest import RATE, sound


def wave(seconds: float, channels: int = 2, rate: int = RATE) -> torch.Tensor:
    return torch.from_numpy(sound(seconds, channels, rate).T)


@pytest.fixture(scope="module")
def whole(separator: Separator) -> torch.Tensor:
    """Vocals of 5 s computed in one chunk, on which streaming is measured."""
    kept, separator.chunk_frames = separator.chunk_frames, 1 << 20
    try:
        return separator(wave(5), RATE, ["vocals"])["vocals"]
    finally:
        separator.chunk_frames = kept


@pytest.mark.parametrize(("frames", "piece"), [(1, RATE), *((frames, piece) for frames in (40, 172, 512) for piece in (999, 10 * RATE))])
def test_the_result_does_not_depend_on_the_chunk_length(
    separator: Separator, whole: torch.Tensor, monkeypatch: pytest.MonkeyPatch, frames: int, piece: int
) -> None:
    monkeypatch.setattr(separator, "chunk_frames", frames)
    mixture = wave(5)
    blocks = [mixture[:, start : start + piece] for start in range(0, mixture.shape[1], piece)]
    parts = list(separator.stream(blocks, RATE, ["vocals"]))
    streamed = torch.cat([part["vocals"] for part in parts], dim=-1)
    assert whole.std() > 0.01
    torch.testing.assert_close(streamed, whole, atol=1e-5, rtol=0)


def test_short_blocks_wait_for_one_another(separator: Separator, whole: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = []
    push = StreamingNetwork.push
    monkeypatch.setattr(StreamingNetwork, "push", lambda self, wave: pushed.append(wave.shape[-1]) or push(self, wave))
    parts = list(separator.stream(wave(5).split(64, dim=1), RATE, ["vocals"]))
    assert len(parts) == -(-5 * RATE // 64) + 1
    torch.testing.assert_close(torch.cat([part["vocals"] for part in parts], dim=-1), whole, atol=1e-5, rtol=0)
    assert len(pushed) < 5 * 10 * separator.passes + 10


def test_the_memory_of_a_block_may_be_used_again(separator: Separator, whole: torch.Tensor) -> None:
    memory = torch.zeros(2, 500)

    def blocks() -> Iterator[torch.Tensor]:
        for block in wave(5).split(500, dim=1):
            yield memory[:, : block.shape[1]].copy_(block)

    parts = [part["vocals"] for part in separator.stream(blocks(), RATE, ["vocals"])]
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, atol=1e-5, rtol=0)


def test_what_is_given_is_the_mean_of_two_passes_half_a_hop_apart(separator: Separator, model: Path) -> None:
    fast, mixture, half = Separator.load(model, "cpu", "float32", fast=True), wave(1), separator.card.front_end.hop_length // 2
    late = fast(torch.nn.functional.pad(mixture, (half, 0)), RATE, ["vocals"])["vocals"][:, half:]
    plain, both = (model(mixture, RATE, ["vocals"])["vocals"] for model in (fast, separator))
    assert (plain - late).abs().max() > 1e-3
    torch.testing.assert_close(both, (plain + late) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("passes", [0, -1, 257])
def test_passes_that_cannot_be_made_are_an_error(separator: Separator, passes: int) -> None:
    with pytest.raises(ModelError, match="passes cannot be made"):
        Separator(separator.network, separator.card, "cpu", passes=passes)


def test_in_bfloat16_the_result_is_near_and_does_not_depend_on_the_pieces(separator: Separator, model: Path) -> None:
    mixture = wave(8)
    rough, fine = Separator.load(model, "cpu", "bfloat16"), separator(mixture, RATE, ["vocals"])["vocals"]
    once = rough(mixture, RATE, ["vocals"])["vocals"]
    pieces = torch.cat([part["vocals"] for part in rough.stream(mixture.split(999, dim=1), RATE, ["vocals"])], dim=-1)
    assert torch.equal(once, pieces)
    assert 0 < (once - fine).square().mean() < 1e-3 * fine.square().mean()


def test_an_unknown_precision_is_an_error(model: Path) -> None:
    with pytest.raises(ModelError, match="precision 'float8'"):
        Separator.load(model, "cpu", "float8")


def test_between_the_parts_of_a_stream_torch_is_as_it_was(separator: Separator) -> None:
    blocks = [torch.randn(2, 20000, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    streams = [separator.stream(blocks, RATE) for _ in range(2)]
    for parts in zip(*streams, strict=True):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        for part in parts:
            part["vocals"] *= 0.5
            assert not part["vocals"].requires_grad
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_streaming_keeps_little_of_what_it_has_seen(separator: Separator) -> None:
    """Samples held back are bounded by chunk and context, however long the stream."""
    received = delivered = lag = 0
    for part in separator.stream((wave(1) for _ in range(40)), RATE, ["vocals"]):
        received, delivered = min(received + RATE, 40 * RATE), delivered + part["vocals"].shape[-1]
        lag = max(lag, received - delivered)
    frames = separator.chunk_frames + 2 * separator.network.config.context + 4 * separator.network.config.stride
    assert lag <= frames * separator.front_end.config.hop_length + RATE


def test_songs_of_many_lengths_make_few_shapes(separator: Separator) -> None:
    """oneDNN keeps code and buffers for every shape it has met: memory over many files is flat only if shapes are few."""
    shapes = set()
    handle = separator.network.register_forward_pre_hook(lambda _, given: shapes.add(given[0].shape[-1]))
    try:
        for samples in range(1000, 12 * RATE, 29917):
            separator(torch.zeros(2, samples), RATE, ["vocals"])
    finally:
        handle.remove()
    assert 1 < len(shapes) <= 12


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 2, 100, 30001])
def test_stems_have_the_mixtures_length_and_channels(separator: Separator, rate: int, channels: int, samples: int) -> None:
    mixture = wave(samples / rate, channels, rate)
    for stem in separator(mixture, rate).values():
        assert stem.shape == mixture.shape
        assert stem.isfinite().all()


def test_accompaniment_is_mixture_minus_vocals_at_the_mixtures_rate(separator: Separator) -> None:
    mixture = wave(2, rate=96000)
    stems = separator(mixture, 96000)
    torch.testing.assert_close(stems["vocals"] + stems["accompaniment"], mixture, atol=1e-6, rtol=0)


def test_there_is_no_offset_between_mixture_and_stems_at_other_rates(separator: Separator) -> None:
    """Resampled there and back, the vocals at 48 kHz line up with those at 44.1 kHz."""
    import soxr

    mixture = sound(3)
    plain = separator(torch.from_numpy(mixture.T), RATE, ["vocals"])["vocals"]
    faster = np.ascontiguousarray(soxr.resample(mixture, RATE, 48000))
    there = separator(torch.from_numpy(faster.T), 48000, ["vocals"])["vocals"]
    back = torch.from_numpy(np.ascontiguousarray(soxr.resample(there.T.numpy(), 48000, RATE)).T)
    inner = slice(2000, 100000)
    error = (plain[:, inner] - back[:, inner]).square().sum() / plain[:, inner].square().sum()
    late = (plain[:, inner] - back[:, 2003:100003]).square().sum() / plain[:, inner].square().sum()
    assert error < 1e-2 < late  # what remains is noise above the resampler's band edge


def test_consistent_stems_sum_to_the_mixture(two_stem_model) -> None:
    mixture = wave(2)
    stems = next(iter([list(Separator.load(two_stem_model, "cpu").stream([mixture], RATE, ["vocals", "drums"], consistent=True))]))
    total = torch.cat([part["vocals"] + part["drums"] for part in stems], dim=-1)
    torch.testing.assert_close(total, mixture, atol=1e-6, rtol=0)


def test_stems_may_be_any_sequence_or_a_generator(two_stem_model) -> None:
    separator = Separator.load(two_stem_model, "cpu")
    assert list(separator(wave(0.2), RATE, (name for name in ("drums", "drums")))) == ["drums"]


def test_the_same_twice_is_the_same(separator: Separator) -> None:
    first, second = (separator(wave(2), RATE)["vocals"] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("value", [1e37, 3e38])
def test_stems_that_would_not_be_finite_are_an_error(separator: Separator, value: float) -> None:
    """Finite samples may overflow on their way through the network."""
    with pytest.raises(AudioError, match="the stems would not be numbers"):
        separator(torch.full((2, 30000), value) * torch.where(torch.arange(30000) // 100 % 2 == 0, 1, -1), RATE)


@pytest.mark.parametrize("mixture", ["zeros", "dc", "square", "denormal"])
def test_odd_signals_give_finite_stems(separator: Separator, mixture: str) -> None:
    count = 20000
    audio = {
        "zeros": torch.zeros(2, count),
        "dc": torch.ones(2, count),
        "square": torch.sign(torch.sin(torch.arange(count) / 7.0)).expand(2, -1),
        "denormal": torch.full((2, count), 1e-40),
    }[mixture]
    for stem in separator(audio, RATE).values():
        assert stem.isfinite().all()


@pytest.mark.parametrize("frames", [40, 172])
def test_the_wiener_filter_does_not_depend_on_the_chunk_length_and_sums_to_the_mixture(
    two_stem_model: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    separator, mixture = Separator.load(two_stem_model, "cpu", "float32"), wave(4)
    results = []
    for chunk in (1 << 20, frames):
        monkeypatch.setattr(separator, "chunk_frames", chunk)
        parts = list(separator.stream(mixture.split(30_000, dim=1), RATE, ["vocals", "drums"], wiener=True))
        results.append({name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]})
    whole, chunked = results
    torch.testing.assert_close(whole["vocals"] + whole["drums"], mixture, atol=1e-4, rtol=0)
    assert (whole["vocals"] - separator(mixture, RATE, ["vocals"])["vocals"]).abs().max() > 1e-3
    for name, stem in whole.items():
        torch.testing.assert_close(chunked[name], stem, atol=1e-4, rtol=0)


def test_the_wiener_filter_needs_more_than_one_stem(separator: Separator) -> None:
    with pytest.raises(ModelError, match="needs all stems"):
        list(separator.stream([wave(1)], RATE, wiener=True))


@pytest.mark.parametrize("wanted, computed", [(["drums"], [1]), (["accompaniment"], [0]), (["drums", "vocals"], [0, 1]), (None, [0, 1])])
def test_only_what_is_needed_is_computed(
    two_stem_model: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str] | None, computed: list[int]
) -> None:
    separator, mixture = Separator.load(two_stem_model, "cpu", "float32"), wave(1)
    everything = separator(mixture, RATE)
    seen, forward = set(), separator.network.forward
    monkeypatch.setattr(separator.network, "forward", lambda x, stems, *rest: (seen.add(stems), forward(x, stems, *rest))[1])
    found = separator(mixture, RATE, wanted)
    assert seen == {tuple(computed)}
    for name, stem in found.items():
        torch.testing.assert_close(stem, everything[name], atol=1e-6, rtol=0)


def test_only_what_is_asked_for_is_given(separator: Separator) -> None:
    assert list(separator(wave(0.5), RATE, ["accompaniment"])) == ["accompaniment"]
    assert list(separator(wave(0.5), RATE)) == ["vocals", "accompaniment"] == list(separator.offers)


def test_the_hook_counts_to_the_end_and_can_cancel(separator: Separator) -> None:
    calls: list[tuple[int, int | None]] = []
    separator(wave(70), RATE, ["vocals"], lambda done, total: calls.append((done, total)))
    assert calls[-1] == (70 * RATE, 70 * RATE)
    assert len(calls) > 2
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)

    def stop(done: int, total: int | None) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        separator(wave(1), RATE, hook=stop)


@pytest.mark.parametrize(
    "audio, rate, message",
    [
        (torch.zeros(2, 0), RATE, "no audio"),
        (torch.zeros(6, 100), RATE, "one or two channels"),
        (torch.zeros(100), RATE, "one or two channels"),
        (torch.full((2, 100), float("nan")), RATE, "NaN"),
        (torch.full((2, 100), float("inf")), RATE, "infinite"),
        (torch.zeros(2, 100), 4000, "rate"),
        (torch.zeros(2, 100, dtype=torch.int16), RATE, "divide it, int16 by 32768"),
        (np.zeros((2, 100), np.float32), RATE, "torch.from_numpy"),
        (torch.zeros(()), RATE, "0 dimensions"),
        (torch.zeros(1, 2, 100), RATE, "3 dimensions"),
    ],
)
def test_audio_that_cannot_be_separated_is_an_error(separator: Separator, audio: torch.Tensor, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        separator(audio, rate)
    with pytest.raises(AudioError, match=message):
        list(separator.stream([audio], rate))


def test_a_later_block_is_looked_at_as_the_first_is(separator: Separator) -> None:
    for later in (torch.zeros(100), torch.zeros(2, 100, dtype=torch.int32), [0.0]):
        with pytest.raises(AudioError, match="a mixture is"):
            list(separator.stream([torch.zeros(2, 100), later], RATE))


def test_an_unknown_stem_or_device_is_an_error(separator: Separator, model) -> None:
    with pytest.raises(ModelError, match=r"no stem 'tuba'.*vocals"):
        separator(wave(0.1), RATE, ["tuba"])
    with pytest.raises(ModelError, match=r"a list of names; give \['vocals'\]"):
        separator(wave(0.1), RATE, "vocals")
    with pytest.raises(ModelError, match="device"):
        Separator.load(model, "abacus")


def test_the_hosts_default_device_and_dtype_change_nothing(separator: Separator, model: Path) -> None:
    mixture = wave(1)
    expected = separator(mixture, RATE, ["vocals"])["vocals"]
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float64)
    try:
        found = Separator.load(model, "cpu", "float32")(mixture, RATE, ["vocals"])["vocals"]
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "name, message", [("cuda:x", "no device"), ("cuda:", "no device"), ("cpu:1", "no device"), ("cuda:99", "not available")]
)
def test_a_device_that_is_not_there_is_refused(model: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Separator.load(model, name)


def test_a_card_that_torch_has_no_code_for_leaves_the_work_to_the_processor(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones

    def no_code(*shape: int, device: object = None, **options: Any) -> torch.Tensor:
        if device == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nmore")
        return ones(*shape, device=device, **options)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", no_code)
    with pytest.warns(UserWarning, match=r"cuda cannot be used, the processor .*\(CUDA error: no kernel image is available\)"):
        assert Separator.load(model).device.type == "cpu"
    with pytest.raises(ModelError, match="the device cuda cannot be used; try cpu"):
        Separator.load(model, "cuda")
