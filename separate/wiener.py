"""Multichannel Wiener filter: magnitudes of all stems and the mixture's spectrum in, spectra of the stems out. A pure function.

Every stem is taken as a Gaussian source with a power v_j for each bin and frame and a spatial covariance R_j for each bin, slowly changing
(Duong, Vincent and Gribonval 2010; Nugraha, Liutkus and Vincent 2016): the best estimate is then v_j R_j (sum_k v_k R_k)^-1 x. Powers and
covariances come from the given magnitudes with the mixture's phase, one step of the expectation-maximisation that has many. The estimates
sum to the mixture wherever a magnitude is above zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

DIFFUSE = 1e-4  # of a stem's power comes from everywhere: keeps the inverse tame where both channels hold nearly the same
TINY = torch.finfo(torch.float32).tiny


def wiener(magnitudes: Tensor, mixture: Tensor, reach: int) -> Tensor:
    """Magnitudes [stems, channels, bins, frames], complex mixture [channels, bins, frames] -> complex [stems, channels, bins, frames].

    One or two channels. reach: frames on either side over which a covariance is taken. In one channel it is a ratio of powers. Raises
    ValueError on other numbers of channels.
    """
    if mixture.shape[0] not in (1, 2):
        raise ValueError(f"one or two channels, not {mixture.shape[0]}")
    if mixture.device.type == "mps":  # it has no double precision
        return wiener(magnitudes.cpu(), mixture.cpu(), reach).to(mixture.device)
    initial = magnitudes * (mixture / mixture.abs().clamp(min=TINY))
    level = mixture.abs().amax().clamp(min=TINY)  # keeps powers of faint signals within float32
    initial = initial / level
    power = _power(initial)  # [stems, channels, bins, frames]
    v = power.mean(1)
    weight = v / _around(v, reach).clamp(min=TINY)
    diagonal = weight[:, None] * _around(power, reach)  # of v_j R_j
    diagonal = diagonal + DIFFUSE * diagonal.sum(1, keepdim=True)
    if len(mixture) == 1:
        return diagonal / diagonal.sum(0).clamp(min=TINY) * mixture
    products = torch.view_as_real(initial[:, 0] * initial[:, 1].conj())
    cross = weight * torch.view_as_complex(_around(products, reach, dim=-2))  # the corner above the diagonal of v_j R_j
    # The inverse of a Hermitian 2 x 2 matrix, times x: in double precision, since it is often nearly singular.
    summed, corner, (first, second) = diagonal.sum(0).double(), cross.sum(0).to(torch.complex128), mixture.to(torch.complex128)
    determinant = (summed[0] * summed[1] - _power(corner)).clamp(min=TINY**2)
    left = ((summed[1] * first - corner * second) / determinant).to(mixture.dtype)
    right = ((summed[0] * second - corner.conj() * first) / determinant).to(mixture.dtype)
    return torch.stack((diagonal[:, 0] * left + cross * right, cross.conj() * left + diagonal[:, 1] * right), dim=1)


def _around(x: Tensor, reach: int, dim: int = -1) -> Tensor:
    """Sum over the frames up to `reach` away, as many as there are."""
    frames = x.shape[dim]
    running = torch.cat((x.new_zeros(()).expand_as(x.narrow(dim, 0, 1)).double(), x.double().cumsum(dim)), dim)
    place = torch.arange(frames, device=x.device)
    last, first = (place + reach + 1).clamp(max=frames), (place - reach).clamp(min=0)
    return (running.index_select(dim, last) - running.index_select(dim, first)).to(x.dtype)


def _power(x: Tensor) -> Tensor:
    return torch.view_as_real(x).square().sum(-1)
