"""MMDenseNet, the separator: magnitude spectrogram of a mixture in, magnitude spectrograms of its stems out.

Follows Takahashi and Mitsufuji (WASPAA 2017, arXiv 1706.09588): the spectrogram is cut into frequency bands; each band, and
the full band, goes through its own multi-scale DenseNet; band outputs are joined along frequency, then with the full
band's along channels; a final dense block and a convolution give the output. Ours, and not the paper's: convolution,
norm, ReLU in that order (so that the norm folds into the convolution for inference), a 1x1 convolution that brings every
path to a common number of maps, first convolutions that may stride over frequency, bands that may each keep a resolution of
their own up to the output, several stems from one trunk, and a mask output. A block hands on only its last layer's maps, the
reading that gives the paper's number of parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv_transpose2d, pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from separate.models.config import MMDenseNetConfig, PathConfig


class ConvNorm(nn.Sequential):
    """Convolution -> batch norm -> ReLU; `fold` merges the norm into the convolution."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))

    def fold(self) -> None:
        conv, norm, activation = self
        transposed = isinstance(conv, nn.ConvTranspose2d)
        fused = fuse_conv_bn_eval(cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, norm), transpose=transposed)
        self[0], self[1], self[2] = fused, nn.Identity(), activation


class _Join(torch.autograd.Function):
    """Concatenation along channels whose gradients are dense; torch.cat's are slices, which the layers before it take slowly."""

    @staticmethod
    def forward(*parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.channels = [part.shape[1] for part in inputs]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        parts = gradients[0].split(ctx.channels, dim=1)
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)


def _join(*parts: Tensor) -> Tensor:
    return cast(Tensor, _Join.apply(*parts))


class TimeDistributed(nn.Module):
    """Adds to every frame what two linear layers over all of its rows make of it, the same two for every map; at first nothing.

    A voice's harmonics lie all over the spectrum: here they meet, at no context over time. The time-distributed fully-connected layers of
    Choi et al. (ISMIR 2020, arXiv 1912.02591), here around a residual and without norms.
    """

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.gather, self.spread = nn.Linear(rows, hidden), nn.Linear(hidden, rows, bias=False)
        nn.init.zeros_(self.spread.weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, maps, rows, frames = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(batch, rows, frames * maps)  # as it lies in memory
        gather, spread = (layer.weight.expand(batch, -1, -1) for layer in (self.gather, self.spread))
        hidden = torch.relu(torch.baddbmm(self.gather.bias[:, None], gather, flat))
        return torch.baddbmm(flat, spread, hidden).view(batch, rows, frames, maps).permute(0, 3, 1, 2)


class DenseBlock(nn.Module):
    """Each 3x3 layer sees the input and all earlier layers; only the last layer's maps are handed on, with `tdf` as the config has it."""

    def __init__(self, channels: int, growth: int, layers: int, rows: int = 0, tdf: int = 0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNorm(nn.Conv2d(channels + i * growth, growth, 3, padding=1, bias=False)) for i in range(layers))
        self.tdf = TimeDistributed(rows, -(-rows // tdf)) if tdf else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        *earlier, last = self.layers
        for layer in earlier:
            x = _join(x, layer(x))
        return cast(Tensor, self.tdf(last(x)))

    def needs(self, first: int, last: int, cells: int) -> tuple[int, int]:
        return _needs(len(self.layers), first, last, cells)


def _needs(layers: int, first: int, last: int, cells: int) -> tuple[int, int]:
    """Those of so many cells, from an even number to an even number, that the output of 3x3 layers in [first, last) depends on."""
    return max(0, (first - layers) // 2 * 2), min(cells, -(-(last + layers) // 2) * 2)


class MultiScaleDenseNet(nn.Module):
    """One path: [batch, channels, stop - start, frames] -> [batch, merge, ceil(bins / join_stride), frames [first, last)].

    On the way up, each scale is computed only where that depends on it.
    """

    def __init__(self, config: PathConfig, channels: int, tdf: int, merge_channels: int, join_stride: int) -> None:
        super().__init__()
        self.config = config
        self.rows = -(-(config.stop - config.start) // join_stride)
        kernel, stride = config.stem_kernel, config.stem_stride
        self.stem = ConvNorm(nn.Conv2d(channels, config.stem_channels, kernel, (stride, 1), (0, kernel[1] // 2), bias=False))
        half = config.halvings
        down, (middle, up) = config.blocks[:half], (config.blocks[half], config.blocks[half + 1 :])
        maps, coarsest = config.stem_channels, -(-(config.stop - config.start) // (stride * 2**half))
        rows = [coarsest * 2 ** abs(half - number) for number in range(len(config.blocks))]  # of every block
        self.down = nn.ModuleList()
        for (growth, layers), height in zip(down, rows, strict=False):
            self.down.append(DenseBlock(maps, growth, layers, height, tdf))
            maps = growth
        self.bottleneck = DenseBlock(maps, *middle, coarsest, tdf)
        maps = middle[0]
        self.lift, self.up = nn.ModuleList(), nn.ModuleList()
        for (growth, layers), (skip, _), height in zip(up, reversed(down), rows[half + 1 :], strict=True):
            self.lift.append(ConvNorm(nn.ConvTranspose2d(maps, maps, 2, 2, bias=False)))
            self.up.append(DenseBlock(maps + skip, growth, layers, height, tdf))
            maps = growth
        ratio = stride // join_stride
        self.merge = ConvNorm(nn.ConvTranspose2d(maps, merge_channels, (ratio, 1), (ratio, 1), bias=False))

    def forward(self, x: Tensor, first: int, last: int) -> Tensor:
        x, skips = self.encode(x)
        spans: list[tuple[int, int]] = []  # what is needed of each scale, finest first
        start, stop = first, last
        for block, skip in zip(reversed(self.up), skips, strict=True):
            start, stop = cast(DenseBlock, block).needs(start, stop, skip.shape[-1])
            spans.append((start, stop))
            start, stop = start // 2, stop // 2
        begin = 0  # frame that x starts with
        for lift, block, skip, (start, stop) in zip(self.lift, self.up, reversed(skips), reversed(spans), strict=True):
            lifted = lift(x[..., start // 2 - begin : stop // 2 - begin])
            x = block(_join(lifted, skip[..., start:stop]))
            begin = start
        return cast(Tensor, self.merge(x[..., first - begin : last - begin])[..., : self.rows, :])

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(bottleneck's maps, what each scale hands over on the way down, finest first)."""
        kernel, stride = self.config.stem_kernel[0], self.config.stem_stride
        extra = -x.shape[-2] % (stride * 2**self.config.halvings)
        below = (kernel - stride) // 2
        x = self.stem(pad(x, (0, 0, below, kernel - stride - below + extra)))
        skips = []
        for block in self.down:
            skips.append(block(x))
            x = avg_pool2d(skips[-1], 2)
        return self.bottleneck(x), skips


class Ending(nn.Module):
    """Where a band, at its own resolution, meets the full band's maps of the same bins: a dense block, then the output of these bins."""

    def __init__(self, band: PathConfig, full_stride: int, full_maps: int, ending: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        maps, growth, layers = ending
        ratio, stride = full_stride // band.stem_stride, band.stem_stride
        self.bins, self.rows = band.stop - band.start, slice(band.start // full_stride, -(-band.stop // full_stride))
        self.lift = ConvNorm(nn.ConvTranspose2d(full_maps, maps, (ratio, 1), (ratio, 1), bias=False))
        self.final = DenseBlock(2 * maps, growth, layers)
        self.head = nn.ConvTranspose2d(growth, outputs, (stride, 1), (stride, 1))

    def forward(self, band: Tensor, full: Tensor, within: slice, rows: Sequence[int] | None) -> Tensor:
        """[batch, maps, rows, frames] twice -> [batch, outputs, bins, frames `within`]; rows: numbers of those outputs that are wanted."""
        lifted = self.lift(full[:, :, self.rows])[:, :, : band.shape[2]]
        return _heads(self.head, self.final(_join(band, lifted))[..., within], rows)[:, :, : self.bins]


def _heads(head: nn.ConvTranspose2d, x: Tensor, rows: Sequence[int] | None) -> Tensor:
    if rows is None:
        return cast(Tensor, head(x))
    return conv_transpose2d(x, head.weight[:, rows], cast(Tensor, head.bias)[rows], cast(tuple[int, int], head.stride))


class MMDenseNet(nn.Module):
    """Magnitudes [batch, channels, bins, frames] -> stems' magnitudes [batch, stems, channels, bins, frames `within`].

    Any number of frames; at the end the network sees silence up to a multiple of `config.stride`. Given numbers of stems, only their masks
    are computed, in that order; the trunk is common to all.
    """

    input_mean: Tensor
    input_scale: Tensor

    def __init__(self, config: MMDenseNetConfig) -> None:
        super().__init__()
        self.config = config
        outputs, stride = config.stems * config.channels, config.full.stem_stride if config.endings else config.join_stride
        if config.endings:
            meet = [(maps, band.stem_stride) for (maps, _, _), band in zip(config.endings, config.bands, strict=True)]
        else:
            meet = [(config.merge_channels, stride)] * len(config.bands)
        like = (config.channels, config.tdf)
        self.bands = nn.ModuleList(MultiScaleDenseNet(band, *like, *to) for band, to in zip(config.bands, meet, strict=True))
        self.full = MultiScaleDenseNet(config.full, *like, config.merge_channels, stride)
        if config.endings:
            pairs = zip(config.bands, config.endings, strict=True)
            self.endings = nn.ModuleList(Ending(band, stride, config.merge_channels, ending, outputs) for band, ending in pairs)
        else:
            self.final = DenseBlock(2 * config.merge_channels, *config.final)
            self.head = nn.ConvTranspose2d(config.final[0], outputs, (stride, 1), (stride, 1))
        # Statistics of the compressed training mixtures, a bin each: set once before training by `standardise`.
        self.register_buffer("input_mean", torch.zeros(config.bins, 1))
        self.register_buffer("input_scale", torch.ones(config.bins, 1))

    def standardise(self, magnitude: Tensor) -> None:
        """Take each bin's mean and spread from training mixtures [batch, channels, bins, frames]."""
        compressed = magnitude.pow(self.config.compression).movedim(-2, 0).flatten(1)  # [bins, everything else]
        spread = compressed.std(dim=1, keepdim=True)
        self.input_mean.copy_(compressed.mean(dim=1, keepdim=True))
        self.input_scale.copy_(1 / spread.clamp(min=1e-2 * float(spread.max())))

    def forward(self, magnitude: Tensor, stems: Sequence[int] | None = None, within: slice = slice(None)) -> Tensor:
        batch, channels, bins, frames = magnitude.shape
        wanted = range(frames)[within]
        first, last = _needs(self.config.last_layers, wanted.start, wanted.stop, frames + -frames % self.config.stride)
        rows = None if stems is None else [stem * channels + channel for stem in stems for channel in range(channels)]
        kept = slice(wanted.start - first, wanted.stop - first)
        *bands, full = (net(x, first, last) for net, x in self._inputs(magnitude))
        if self.config.endings:
            out = torch.cat([ending(band, full, kept, rows) for ending, band in zip(self.endings, bands, strict=True)], dim=2)
        else:
            out = _heads(self.head, self.final(_join(torch.cat(bands, dim=2), full))[..., kept], rows)[..., :bins, :]
        # In the order of the spectrum's memory, a frame after another, in which all that follows is fast.
        out = out.transpose(-1, -2).to(torch.float32, memory_format=torch.contiguous_format).transpose(-1, -2)
        out = out.reshape(batch, -1, channels, bins, out.shape[-1])
        if self.config.output == "mask":
            return torch.sigmoid(out) * magnitude[:, None, ..., within]
        return torch.relu(out)

    def embed(self, magnitude: Tensor) -> Tensor:
        """Magnitudes [batch, channels, bins, frames] -> [batch, embedding_size]: mean and maximum of every bottleneck map."""
        codes = [net.encode(x)[0] for net, x in self._inputs(magnitude)]
        return torch.cat([part for code in codes for part in (code.mean((2, 3)), code.amax((2, 3)))], dim=1)

    def after_bottleneck(self) -> nn.ModuleList:
        """All that `embed` does not use."""
        paths = [part for net in (*self.bands, self.full) for part in (net.lift, net.up, net.merge)]
        ends = self.endings if self.config.endings else [self.final, self.head]
        return nn.ModuleList([*cast(list[nn.Module], paths), *ends])

    @property
    def embedding_size(self) -> int:
        return 2 * sum(path.blocks[path.halvings][0] for path in self.config.paths)

    def _inputs(self, magnitude: Tensor) -> Iterator[tuple[MultiScaleDenseNet, Tensor]]:
        """Every path's network with its bins of the compressed, standardised input, filled up to whole strides."""
        channels, bins, frames = magnitude.shape[1:]
        config = self.config
        if (channels, bins) != (config.channels, config.bins):
            raise ValueError(f"expected {config.channels} channels x {config.bins} bins, got {channels} x {bins}")
        x = pad(magnitude, (0, -frames % config.stride))
        x = ((x.pow(config.compression) - self.input_mean) * self.input_scale).to(cast(Tensor, self.full.stem[0].weight).dtype)
        for net, path in zip([*self.bands, self.full], config.paths, strict=True):
            yield cast(MultiScaleDenseNet, net), x[:, :, path.start : path.stop]

    def folded(self, dtype: torch.dtype = torch.float32) -> MMDenseNet:
        """A copy for inference, every batch norm merged into the convolution before it, which then computes in `dtype`.

        Input statistics, mask and magnitudes stay float32.
        """
        twin = copy.deepcopy(self).eval()
        for module in twin.modules():
            if isinstance(module, ConvNorm):
                module.fold()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | TimeDistributed):
                module.to(dtype)
        return twin.requires_grad_(False).to(memory_format=torch.channels_last)
