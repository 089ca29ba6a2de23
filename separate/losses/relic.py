"""ReLIC: instance discrimination whose predictions may not depend on the augmentations (Mitrovic et al. 2020, arXiv 2010.07922).

For a pair of augmentations (l, k) an example i, seen through l by the online network, picks its own view through k among those of all
examples, p_lk(j | x_i) ~ exp(<g(f(x_i^l)), g(h(x_j^k))> / temperature). The loss is the negative log-probability of the right pick, plus
alpha times the KL divergence between the predictions of *different augmentation pairs* for the same example. (The two directions of one
pair are not two pairs.)
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


@dataclass(frozen=True)
class RelicTerms:
    """contrastive and invariance, both means over examples and pairs (of pairs); total = contrastive + alpha * invariance."""

    contrastive: Tensor
    invariance: Tensor
    total: Tensor


def log_predictions(online: Tensor, target: Tensor, temperature: float) -> Tensor:
    """log p(j | x_i), [pairs, batch, candidates], from unit-norm projections [pairs, batch, dim] and [pairs, candidates, dim]."""
    with torch.autocast(online.device.type, enabled=False):  # it would round the products to bfloat16
        return torch.log_softmax(online.float() @ target.float().transpose(1, 2) / temperature, dim=-1)


def relic(online: Tensor, target: Tensor, temperature: float = 0.1, alpha: float = 1.0, symmetric: bool = False) -> RelicTerms:
    """ReLIC's objective over two or more augmentation pairs.

    online: g(f(x^l)), [pairs, batch, dim]; target: g(h(x^k)), the same shape, row i of both from example i. Both of unit norm, any
    precision; all sums are in float32. Candidates are the targets of the same pair in all processes, if there are several. symmetric:
    mean of the KL in both directions. Raises ValueError if there are fewer than two pairs and alpha is not 0, or shapes differ.
    """
    if online.shape != target.shape or online.ndim != 3:
        raise ValueError(f"online and target are [pairs, batch, dim] alike, not {tuple(online.shape)} and {tuple(target.shape)}")
    pairs, batch, _ = online.shape
    if pairs < 2 and alpha:
        raise ValueError("invariance compares augmentation pairs: give two at least, or alpha 0 (SimCLR)")
    candidates, first = _gather(target)
    log_p = log_predictions(online, candidates, temperature)
    own = torch.arange(first, first + batch, device=online.device)
    contrastive = -log_p[:, torch.arange(batch, device=online.device), own].mean()
    invariance = log_p.new_zeros(())
    if alpha:
        # KL(p^a || p^b) summed over candidates; in both orders, which is what the symmetric form averages.
        ordered = list(permutations(range(pairs), 2)) if symmetric else [(a, b) for a in range(pairs) for b in range(a + 1, pairs)]
        divergences = [(log_p[a].exp() * (log_p[a] - log_p[b])).sum(-1).mean() for a, b in ordered]
        invariance = torch.stack(divergences).mean()
    return RelicTerms(contrastive, invariance, contrastive + alpha * invariance)


def _gather(target: Tensor) -> tuple[Tensor, int]:
    """(targets of all processes along the batch, number of the first that is ours); gradients flow back to where they came from."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return target, 0
    return _Gather.apply(target), torch.distributed.get_rank() * target.shape[1]


class _Gather(torch.autograd.Function):
    """As torch.distributed.nn's all_gather, whose gradients came out wrong here with gloo and torch 2.14 (the tests would show it)."""

    @staticmethod
    def forward(ctx: Any, target: Tensor) -> Tensor:
        ctx.batch = target.shape[1]
        parts = [torch.empty_like(target) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, target.contiguous())
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        torch.distributed.all_reduce(total)
        first = torch.distributed.get_rank() * ctx.batch
        return total[:, first : first + ctx.batch]


def momentum(step: int, steps: float, base: float = 0.996) -> float:
    """The target network's momentum: `base` at first, rising by a cosine to 1 at the end."""
    return 1 - (1 - base) * (math.cos(math.pi * min(step, steps) / steps) + 1) / 2


class TargetNetwork(nn.Module):
    """h: an exponential moving average of a network f, never trained itself.

    Its batch norms always normalise by the batch, as in BYOL, which this part of ReLIC follows: what they remember lags behind f's weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> TargetNetwork:
        """Stays in train mode."""
        return super().train(True)

    @torch.no_grad()
    def update(self, network: nn.Module, momentum: float) -> None:
        """h <- momentum * h + (1 - momentum) * f; buffers are copied."""
        for mine, its in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(its.to(mine), 1 - momentum)
        for kept, current in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(current)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out
