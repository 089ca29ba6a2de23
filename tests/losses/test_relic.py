import math

import pytest
import torch
import torch.multiprocessing

from separate.losses.relic import TargetNetwork, log_predictions, momentum, relic

PAIRS, BATCH, DIM = 3, 5, 8


def projections(seed: int = 0, pairs: int = PAIRS, batch: int = BATCH) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.nn.functional.normalize(torch.randn(pairs, batch, DIM, generator=generator), dim=-1) for _ in range(2))


def written_out(online: torch.Tensor, target: torch.Tensor, temperature: float, symmetric: bool) -> tuple[float, float]:
    """The definition in loops: probabilities, then logarithms."""
    pairs, batch, _ = online.shape
    p = [[[0.0] * batch for _ in range(batch)] for _ in range(pairs)]
    for a in range(pairs):
        for i in range(batch):
            scores = [math.exp(float(online[a, i] @ target[a, j]) / temperature) for j in range(batch)]
            p[a][i] = [score / sum(scores) for score in scores]
    contrastive = sum(-math.log(p[a][i][i]) for a in range(pairs) for i in range(batch)) / (pairs * batch)

    def kl(a: int, b: int) -> float:
        return sum(p[a][i][j] * math.log(p[a][i][j] / p[b][i][j]) for i in range(batch) for j in range(batch)) / batch

    couples = [(a, b) for a in range(pairs) for b in range(pairs) if (a != b if symmetric else a < b)]
    return contrastive, sum(kl(a, b) for a, b in couples) / len(couples)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("temperature, alpha", [(0.1, 1.0), (0.5, 3.0)])
def test_it_is_the_definition(temperature: float, alpha: float, symmetric: bool) -> None:
    online, target = projections()
    terms = relic(online, target, temperature, alpha, symmetric)
    contrastive, invariance = written_out(online, target, temperature, symmetric)
    assert float(terms.contrastive) == pytest.approx(contrastive, rel=1e-4)
    assert float(terms.invariance) == pytest.approx(invariance, rel=1e-4)
    assert float(terms.total) == pytest.approx(contrastive + alpha * invariance, rel=1e-4)


def test_invariance_is_zero_when_pairs_predict_alike() -> None:
    online, target = projections()
    same = relic(online[:1].expand(3, -1, -1), target[:1].expand(3, -1, -1))
    assert float(same.invariance) == pytest.approx(0, abs=1e-6)
    assert float(relic(online, target).invariance) > 0.01


def test_the_kl_compares_pairs_not_the_two_directions_of_one_pair() -> None:
    """Both pairs predict alike, but each pair's two directions (x to y, y to x) do not: a KL between directions would not be zero."""
    x, y = (part[0] for part in projections(pairs=1))
    online, target = torch.stack((x, x)), torch.stack((y, y))
    forward, backward = torch.log_softmax(x @ y.T / 0.1, -1), torch.log_softmax(y @ x.T / 0.1, -1)
    between_directions = (forward.exp() * (forward - backward)).sum(-1).mean()
    assert float(between_directions) > 0.1
    assert float(relic(online, target).invariance) == pytest.approx(0, abs=1e-6)


def test_alpha_zero_is_simclr_and_needs_one_pair_only() -> None:
    online, target = projections(pairs=1)
    terms = relic(online, target, alpha=0.0)
    assert float(terms.total) == pytest.approx(
        written_out(torch.cat((online, online)), torch.cat((target, target)), 0.1, False)[0], rel=1e-4
    )
    with pytest.raises(ValueError, match="two at least"):
        relic(online, target)
    with pytest.raises(ValueError, match="alike"):
        relic(online, target[:, :2])


def test_bfloat16_is_safe() -> None:
    online, target = projections()
    exact, rounded = relic(online, target), relic(online.bfloat16(), target.bfloat16())
    assert rounded.total.dtype == torch.float32
    assert float(rounded.total) == pytest.approx(float(exact.total), rel=0.05)
    sharp = relic(online.bfloat16(), target.bfloat16(), temperature=1e-3)
    assert sharp.total.isfinite()


def _worker(rank: int, port: int, online: torch.Tensor, target: torch.Tensor, out: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    half = slice(rank * 4, rank * 4 + 4)
    mine, theirs = online[:, half].clone().requires_grad_(), target[:, half].clone().requires_grad_()
    terms = relic(mine, theirs)
    terms.total.backward()
    torch.save((terms.total.detach(), mine.grad, theirs.grad), f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_their_negatives(tmp_path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    online, target = projections(batch=8)
    torch.multiprocessing.spawn(_worker, (port, online, target, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    together, gradients = [part.clone().requires_grad_() for part in (online, target)], 2
    terms = relic(*together)
    terms.total.backward()
    assert float(sum(part[0] for part in parts)) / 2 == pytest.approx(float(terms.total.detach()), rel=1e-5)
    torch.testing.assert_close(torch.cat([part[1] for part in parts], 1), gradients * together[0].grad)
    torch.testing.assert_close(torch.cat([part[2] for part in parts], 1), gradients * together[1].grad)


def test_the_momentum_rises_by_a_cosine_to_one() -> None:
    assert momentum(0, 100) == pytest.approx(0.996)
    assert momentum(50, 100) == pytest.approx(0.998)
    assert momentum(100, 100) == momentum(200, 100) == 1.0


def test_the_target_network_follows_slowly_and_gets_no_gradient() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    target = TargetNetwork(network).train()
    before = target.network[0].weight.clone()
    with torch.no_grad():
        network[0].weight.add_(1.0)
    target.update(network, 0.9)
    torch.testing.assert_close(target.network[0].weight, before + 0.1)
    assert not target(torch.randn(4, 2)).requires_grad


def test_the_target_network_normalises_by_the_batch_whatever_happens() -> None:
    """With remembered statistics, which lag behind, nothing was learned: see recipes/relic."""
    target = TargetNetwork(torch.nn.BatchNorm1d(2, affine=False)).eval()
    out = target(5 + 3 * torch.randn(64, 2))
    torch.testing.assert_close(out.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0), torch.ones(2), atol=2e-2, rtol=0)


def test_predictions_keep_float32_under_autocast() -> None:
    online, target = (torch.nn.functional.normalize(torch.randn(2, 8, 16), dim=-1) for _ in range(2))
    expected = log_predictions(online, target, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(log_predictions(online, target, 0.1), expected)
