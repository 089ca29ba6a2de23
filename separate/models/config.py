"""What an MMDenseNet is made of, and the presets: how bands are cut, how many maps each block has, how far a network looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class PathConfig:
    """One multi-scale DenseNet over the bins [start, stop).

    stem_kernel: (bins, frames) of the first convolution, frames odd; stem_stride: its stride over bins.
    blocks: (growth, layers) of each dense block in order: down to the bottleneck in the middle, and up again.
    """

    start: int
    stop: int
    stem_channels: int
    stem_kernel: tuple[int, int]
    blocks: tuple[tuple[int, int], ...]
    stem_stride: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.stop <= self.start:
            raise ValueError(f"a path needs at least one bin, not [{self.start}, {self.stop})")
        if len(self.blocks) % 2 == 0:
            raise ValueError(f"blocks go down and up around a bottleneck: an odd number, not {len(self.blocks)}")
        if self.stem_kernel[1] % 2 == 0 or self.stem_kernel[0] < self.stem_stride or self.start % self.stem_stride:
            raise ValueError(f"stem kernel {self.stem_kernel} does not fit stride {self.stem_stride} from {self.start}")

    @property
    def halvings(self) -> int:
        return len(self.blocks) // 2


@dataclass(frozen=True)
class MMDenseNetConfig:
    """The whole network. bands tile the bins from 0 without gaps; full covers all of them.

    merge_channels: maps every path hands on; final: (growth, layers) of the last dense block.
    endings: if given, bands are not joined along frequency: each, at its own stride, meets the full band's maps and has a last dense block
    (maps the path hands on, growth, layers) and an output of its own; merge_channels are then the full band's, and `final` is not used.
    tdf: if given, every dense block of the paths ends in a `TimeDistributed` layer whose hidden rows are that many times fewer.
    compression: exponent on the input magnitudes. output: "mask" multiplies the mixture's magnitude by a number in
    [0, 1]; "magnitude" is an unbounded non-negative magnitude.
    """

    bands: tuple[PathConfig, ...]
    full: PathConfig
    merge_channels: int
    final: tuple[int, int]
    channels: int = 2
    stems: int = 1
    compression: float = 1.0
    output: Literal["mask", "magnitude"] = "magnitude"
    endings: tuple[tuple[int, int, int], ...] = ()
    tdf: int = 0

    def __post_init__(self) -> None:
        edges = [0, *(band.stop for band in self.bands)]
        if not self.bands or any(band.start != edge for band, edge in zip(self.bands, edges, strict=False)):
            raise ValueError("bands must tile the bins from 0 without gaps")
        if (self.full.start, self.full.stop) != (0, edges[-1]):
            raise ValueError(f"the full band must cover bins 0 to {edges[-1]}")
        if self.channels < 1 or self.stems < 1:
            raise ValueError("channels and stems are at least 1")
        if self.endings and len(self.endings) != len(self.bands):
            raise ValueError(f"{len(self.endings)} endings for {len(self.bands)} bands")
        if self.endings and any(self.full.stem_stride % band.stem_stride or band.start % self.full.stem_stride for band in self.bands):
            raise ValueError("the full band's stride must be a multiple of every band's, and bands start on it")
        if not self.endings and any(path.stem_stride % self.join_stride or path.start % self.join_stride for path in self.paths):
            raise ValueError("stem strides must be multiples of the smallest, and bands start on it")

    @property
    def bins(self) -> int:
        return self.full.stop

    @property
    def paths(self) -> tuple[PathConfig, ...]:
        return (*self.bands, self.full)

    @property
    def join_stride(self) -> int:
        """Bins a row where the paths are joined: the smallest stem stride."""
        return min(path.stem_stride for path in self.paths)

    @property
    def stride(self) -> int:
        """Total stride over frames: stretches that begin on a multiple of it can be computed on their own."""
        return int(2 ** max(path.halvings for path in self.paths))

    @property
    def context(self) -> int:
        """Frames on either side that decide the output of a stretch aligned to `stride`."""
        return max(_path_context(path, after=self.last_layers) for path in self.paths)

    @property
    def last_layers(self) -> int:
        """Layers after the paths have met, the most there are."""
        return max((layers for _, _, layers in self.endings), default=self.final[1])


def _path_context(path: PathConfig, after: int) -> int:
    """Walk back from the output, in cells of the current scale: each 3x3 layer needs one cell more on either side."""
    context = after
    layers = [count for _, count in path.blocks]
    for count in reversed(layers[path.halvings + 1 :]):
        context = -(-(context + count) // 2)
    context += layers[path.halvings]
    for count in reversed(layers[: path.halvings]):
        context = 2 * context + count
    return context + path.stem_kernel[1] // 2


def _blocks(growth: int, layers: int, halvings: int = 3, bottleneck: int | None = None) -> tuple[tuple[int, int], ...]:
    return ((growth, layers),) * halvings + ((growth, bottleneck or layers),) + ((growth, layers),) * halvings


def _pyramid(*growths: int, layers: int = 2) -> tuple[tuple[int, int], ...]:
    down = tuple((growth, layers) for growth in growths)
    return down + down[-2::-1]


PRESETS: dict[str, MMDenseNetConfig] = {
    # The paper's table for n_fft 2048.
    "paper": MMDenseNetConfig(
        bands=(
            PathConfig(0, 512, 32, (4, 3), ((14, 4), *_blocks(16, 4)[1:])),
            PathConfig(512, 1025, 32, (3, 3), _blocks(10, 3)),
        ),
        full=PathConfig(0, 1025, 32, (4, 3), _blocks(6, 2, bottleneck=4)),
        merge_channels=16,
        final=(4, 2),
    ),
    # Few maps where rows are many, many where rows are few, on a quarter of the rows: what a CPU likes.
    "strided": MMDenseNetConfig(
        bands=(
            PathConfig(0, 256, 48, (8, 3), _pyramid(32, 48, 64, 80), stem_stride=4),
            PathConfig(256, 1025, 32, (8, 3), _pyramid(16, 24, 32, 48), stem_stride=4),
        ),
        full=PathConfig(0, 1025, 32, (8, 3), _pyramid(16, 24, 32, 48), stem_stride=4),
        merge_channels=32,
        final=(32, 2),
        compression=0.5,
        output="mask",
    ),
}


def lengthened(config: MMDenseNetConfig) -> MMDenseNetConfig:
    """For a window twice as long: the same rows and maps, each row of twice as many bins. With twice the hop it is half the work."""
    bins = 2 * config.bins - 1  # 0 and the highest frequency belong to both

    def path(old: PathConfig) -> PathConfig:
        height, frames = old.stem_kernel
        stop = bins if old.stop == config.bins else 2 * old.stop
        return replace(old, start=2 * old.start, stop=stop, stem_kernel=(2 * height, frames), stem_stride=2 * old.stem_stride)

    return replace(config, bands=tuple(path(band) for band in config.bands), full=path(config.full))


def deepened(config: MMDenseNetConfig, layers: int) -> MMDenseNetConfig:
    """With so many layers in the bottlenecks, where cells are few: parameters and context at next to no time."""

    def path(old: PathConfig) -> PathConfig:
        middle = old.halvings
        return replace(old, blocks=(*old.blocks[:middle], (old.blocks[middle][0], layers), *old.blocks[middle + 1 :]))

    return replace(config, bands=tuple(path(band) for band in config.bands), full=path(config.full))


PRESETS["strided_4096"] = lengthened(PRESETS["strided"])
PRESETS["deep_4096"] = deepened(PRESETS["strided_4096"], 4)
# At n_fft 4096, resolution where a song's energy is: rows of two bins up to 5.5 kHz, of sixteen above and for the full band.
PRESETS["fine_4096"] = MMDenseNetConfig(
    bands=(
        PathConfig(0, 512, 24, (6, 3), ((24, 1), (48, 2), (72, 2), (96, 2), (72, 2), (48, 2), (24, 1)), stem_stride=2),
        PathConfig(512, 2049, 32, (32, 3), ((24, 1), (32, 1), (48, 2), (32, 1), (24, 1)), stem_stride=16),
    ),
    full=PathConfig(0, 2049, 32, (32, 3), ((24, 1), (32, 1), (48, 1), (64, 2), (48, 1), (32, 1), (24, 1)), stem_stride=16),
    merge_channels=16,
    final=(24, 1),
    compression=0.5,
    output="mask",
    endings=((24, 24, 1), (16, 24, 1)),
)
# And in every block, at next to no time, layers that see all of a frame's rows.
PRESETS["tdf_4096"] = replace(PRESETS["fine_4096"], tdf=4)
