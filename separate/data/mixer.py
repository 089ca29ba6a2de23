"""Random remixing: endless training examples out of a handful of songs.

Three kinds of mixes: a song as it is, a foreign voice over one song's backing, and every stem from a song of its own. Stems are
augmented one by one, then the whole mix goes through mastering (one limiter gain and one low-pass for all
of it), so that the mixture is the sum of the rows in every case (Uhlich et al. 2017 for the idea of remixing). Devices that train
faster than this is done may use an example several times, with other examples' vocals (`passed_on`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from separate.augment import effects, key, waveform
from separate.data.stems import PARTS, Song, segment

Wave = NDArray[np.float32]
QUIET = -48.0  # dBFS: below it a clip counts as silence and another place is tried
TRIES = 6
SILENT = 1e-6  # mean power, -60 dBFS: below it nothing sings, or there is no music, where vocals are passed on
REDRAWS = 20  # of a mix in which nothing sounds


@dataclass(frozen=True)
class MixConfig:
    """How mixes are drawn; shares are probabilities, pairs are (mean, spread) of a normal distribution in dB."""

    song_share: float = 0.2
    backing_share: float = 0.4
    no_vocals_share: float = 0.08
    second_voice_share: float = 0.15
    stem_share: float = 0.85
    vocals_db: tuple[float, float] = (-4.0, 4.5)  # vocals against all the rest
    stem_db: tuple[float, float] = (-20.0, 3.5)
    mixture_db: tuple[float, float] = (-16.0, 5.0)
    speed_range: tuple[float, float] = (0.84, 1.19)
    equaliser_db: float = 3.0
    effects_share: float = 0.4  # equaliser; half as often a room
    desk_share: float = 0.0  # drive, compression, doubling, echo, tremolo
    width_share: float = 0.0  # another stereo width
    amplifier_share: Mapping[str, float] = field(default_factory=dict)  # by stem: overdriven, as basses and guitars often are
    in_tune_share: float = 0.0  # stems from several songs in one key
    warp_share: Mapping[str, float] = field(default_factory=dict)  # by stem: with another throat or body
    warp_spread: float = 0.15
    low_pass_share: float = 0.4
    limiter_share: float = 0.5
    source_weights: Mapping[str, float] = field(default_factory=dict)  # by source and by source/stem; default 1


class RandomMixes(Dataset[torch.Tensor]):
    """`count` examples, each float32 [targets + 1, 2, samples]: the targets, then all the rest.

    Example i of a seed is always the same. A mix in which nothing sounds is drawn again, but not for ever. Mixes of every stem from its
    own song need songs with that stem. Songs with an `accompaniment` serve as backing. Which of drums, bass and other are in what it has
    beyond the song's other stems is not known: the rows of those are NaN, but where all of them are targets that of other holds it all.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        targets: Sequence[str],
        samples: int,
        count: int,
        seed: int,
        config: MixConfig | None = None,
    ) -> None:
        self.songs, self.targets, self.samples = songs, tuple(targets), samples
        self.count, self.seed, self.config = count, seed, config or MixConfig()
        if "accompaniment" in targets:
            raise ValueError("accompaniment is what is left of the mixture: it cannot be a target")
        # Where nothing but parts of the backing is wanted, finished music has nothing to teach.
        self.backings = backings = (*PARTS, "accompaniment") if set(targets) - set(PARTS) else PARTS
        self.pools = {stem: _by_source([s for s in songs if stem in s.files]) for stem in ("vocals", *backings)}
        self.pools["song"] = _by_source([s for s in songs if "vocals" in s.files and set(s.files) & set(backings)])
        self.pools["backing"] = _by_source([s for s in songs if set(s.files) & set(backings) - {"drums"}])
        if missing := [target for target in targets if not self.pools.get(target)]:
            raise ValueError(f"no song has a stem named {', '.join(missing)}")
        self.pools = {
            pool: {name: group for name, group in sources.items() if self._weight(name, pool)} for pool, sources in self.pools.items()
        }

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, index))
        for _ in range(REDRAWS):
            rows = self._mix(rng)
            if np.nansum(rows, axis=0).any():
                break
        return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 2, 1)))

    def _mix(self, rng: np.random.Generator) -> Wave:
        """One example, [targets + 1, samples, 2]."""
        stems = self._compose(rng)
        rows = np.zeros((len(self.targets) + 1, self.samples, 2), dtype=np.float32)
        missing = {*PARTS} - {name for name, _ in stems}
        place = {target: row for row, target in enumerate(self.targets)}
        if missing | {"other"} <= place.keys():
            place["accompaniment"] = place["other"]
        for name, wave in stems:
            rows[place.get(name, -1)] += wave
        rows = self._master(rows, rng)
        if any(name == "accompaniment" for name, _ in stems):
            rows[[place[name] for name in missing & place.keys() if place[name] != place.get("accompaniment")]] = np.nan
        return rows

    def _compose(self, rng: np.random.Generator) -> list[tuple[str, Wave]]:
        """The augmented stems of one mix, levelled."""
        config, kind = self.config, rng.random()
        if self.pools["song"] and kind < config.song_share:
            return self._whole_song(rng)
        if self.pools["backing"] and kind < config.song_share + config.backing_share:
            song = self._draw("backing", rng)
            start, speed = self._place(song, rng), self._speed(rng)
            names = [name for name in self.backings if name in song.apart()]
            stems = [(name, self._clip(song, name, start, speed, rng, config.stem_db[1] / 2)) for name in names]
            if not any(name in ("drums", "accompaniment") for name in names):
                stems += self._own("drums", rng)
        else:
            stems = []
            for name in PARTS:
                if rng.random() < config.stem_share:
                    stems += self._own(name, rng, stems)
        if rng.random() >= config.no_vocals_share:
            voices = [wave for _, wave in self._own("vocals", rng, stems)]
            if rng.random() < config.second_voice_share:
                voices += [wave * waveform.decibels(-rng.uniform(0, 12)) for _, wave in self._own("vocals", rng, stems)]
            vocals = np.sum([np.zeros((self.samples, 2), dtype=np.float32), *voices], axis=0)
            rest = waveform.level(np.sum([wave for _, wave in stems], axis=0)) if stems else config.stem_db[0]
            stems.append(("vocals", _at_level(vocals, max(rest, -60.0) + rng.normal(*config.vocals_db))))
        return stems

    def _whole_song(self, rng: np.random.Generator) -> list[tuple[str, Wave]]:
        song, speed = self._draw("song", rng), self._speed(rng)
        start = self._lively(song, "vocals", speed, rng)
        names = [name for name in ("vocals", *self.backings) if name in song.apart()]
        return [(name, self._clip(song, name, start, speed, rng, 2.0)) for name in names]

    def _own(self, stem: str, rng: np.random.Generator, others: Sequence[tuple[str, Wave]] = ()) -> list[tuple[str, Wave]]:
        """One clip of a stem from any song, at the configured level, perhaps in the key of others; none where no song has it."""
        if not self.pools[stem]:
            return []
        song, speed = self._draw(stem, rng), self._speed(rng)
        start = self._lively(song, stem, speed, rng)
        tonal = [wave for name, wave in others if name != "drums"]
        if stem != "drums" and tonal and rng.random() < self.config.in_tune_share:
            clip = song.read_apart(stem, start, self.samples)
            speed = key.matching_speed(clip, np.sum(tonal, axis=0), song.rate, self.config.speed_range)
        wave = self._clip(song, stem, start, speed, rng, 0.0)
        return [(stem, _at_level(wave, rng.normal(*self.config.stem_db)))]

    def _clip(self, song: Song, stem: str, start: int, speed: float, rng: np.random.Generator, gain_db: float) -> Wave:
        config = self.config
        wave = waveform.change_speed(song.read_apart(stem, start, int(self.samples * speed) + 1), speed, self.samples)
        wave = waveform.flip(wave, rng) * waveform.decibels(rng.normal(0, gain_db))
        if (share := config.warp_share.get(stem, 0.0)) and rng.random() < share:
            wave = effects.warp_envelope(wave, rng, config.warp_spread)
        if (share := config.amplifier_share.get(stem, 0.0)) and rng.random() < share:
            wave = effects.any_amplifier(wave, rng, song.rate)
        if config.desk_share and rng.random() < config.desk_share:
            wave = effects.any_effect(wave, rng, song.rate)
        if rng.random() < config.effects_share:
            wave = waveform.equalise(wave, rng, song.rate, config.equaliser_db)
        if rng.random() < config.effects_share / 2:
            wave = waveform.room(wave, rng, song.rate)
        if config.width_share and rng.random() < config.width_share:
            wave = waveform.widen(wave, rng, song.rate)
        return wave

    def _lively(self, song: Song, stem: str, speed: float, rng: np.random.Generator) -> int:
        """A place where the stem sounds, or after some tries any place."""
        for _ in range(TRIES):
            start = self._place(song, rng)
            if waveform.level(song.read(stem, start, int(self.samples * speed))) > QUIET:
                break
        return start

    def _place(self, song: Song, rng: np.random.Generator) -> int:
        return int(rng.integers(0, max(1, song.samples - self.samples)))

    def _speed(self, rng: np.random.Generator) -> float:
        low, high = np.log(self.config.speed_range)
        return float(np.exp(rng.uniform(low, high)))

    def _weight(self, source: str, pool: str) -> float:
        weights = self.config.source_weights
        return weights.get(f"{source}/{pool}", weights.get(source, 1.0))

    def _draw(self, pool: str, rng: np.random.Generator) -> Song:
        sources = self.pools[pool]
        names = list(sources)
        shares = np.array([self._weight(name, pool) for name in names])
        songs = sources[names[rng.choice(len(names), p=shares / shares.sum())]]
        roots = np.sqrt([max(1, song.samples) for song in songs])  # a longer song has more to teach, but is still one song
        return songs[rng.choice(len(songs), p=roots / roots.sum())]

    def _master(self, rows: Wave, rng: np.random.Generator) -> Wave:
        """Level, one limiter gain and one low-pass for the whole mix."""
        config = self.config
        loudness = waveform.level(rows.sum(0))
        if np.isfinite(loudness):
            rows = rows * waveform.decibels(rng.normal(*config.mixture_db) - loudness)
        if rng.random() < config.limiter_share:
            peak = float(np.abs(rows.sum(0)).max())
            rows = rows * waveform.limiter_gain(rows.sum(0), peak * waveform.decibels(-rng.uniform(1, 8)))
        if rng.random() < config.low_pass_share:
            rows = waveform.low_pass(rows, rng.uniform(10000, 17000), self.songs[0].rate)
        return rows.astype(np.float32, copy=False)


def known(stems: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[..., stems, channels, samples] -> (the same with 0 for unknown stems, float [..., stems, 1, 1, 1]: 1 where known, 0 elsewhere)."""
    there = ~stems[..., :1, :1].isnan()
    return torch.where(there, stems, 0.0), there.to(stems.dtype)[..., None]


def passed_on(batch: torch.Tensor, row: int, uses: int, rate: int) -> torch.Tensor:
    """Examples [n, rows, channels, samples] used several times -> [uses * n, ...]: first as they are, then with the row of the example
    before, then with that of the one before it, and so on.

    A voice gets the level of the one that it stands for, or, over music without one, that against the music which it had; silence is
    passed on as well, so that as many examples as before have no vocals. What is passed on is not in the key of the music, and went
    through its own mastering. Where there is no music, a voice is only exchanged for another.
    """
    mine = batch[:, row]
    power, rest = (_sounding_power(waves, rate // 10) for waves in (mine, batch.nansum(1) - mine))
    out = batch.repeat(uses, 1, 1, 1)
    for steps in range(1, uses):
        theirs, their_power, their_rest = (values.roll(steps, 0) for values in (mine, power, rest))
        sings, they_sing = power > SILENT, their_power > SILENT
        wanted = torch.where(sings, power, their_power * rest / their_rest.clamp(min=SILENT))
        gain = torch.where(they_sing, wanted / their_power.clamp(min=SILENT), 0.0).sqrt()
        backed = (rest > SILENT) & (their_rest > SILENT) & (sings | they_sing)
        exchanged = torch.where(sings & they_sing | backed, theirs * gain, mine)
        out[steps * len(batch) : (steps + 1) * len(batch), row] = exchanged
    return out


def _sounding_power(waves: torch.Tensor, window: int) -> torch.Tensor:
    """[n, channels, samples] -> [n, 1, 1]: mean power of what sounds, as waveform.level takes it."""
    window = min(window, waves.shape[-1])
    power = waves.square().mean(1).unfold(-1, window, window).mean(-1)  # [n, windows]
    sounds = power > power.amax(1, keepdim=True) * 1e-3
    return ((power * sounds).sum(1) / sounds.sum(1).clamp(min=1))[:, None, None]


class Segments(Dataset[tuple[int, torch.Tensor]]):
    """Whole songs in pieces, for validation: (number of the song, float32 [targets + 1, 2, samples])."""

    def __init__(self, songs: Sequence[Song], targets: Sequence[str], samples: int) -> None:
        self.songs = songs
        self.pieces = [(number, start) for number, song in enumerate(songs) for start in range(0, song.samples, samples)]
        self.targets, self.samples = tuple(targets), samples

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        number, start = self.pieces[index]
        rows = segment(self.songs[number], self.targets, start, self.samples)
        return number, torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 2, 1)))


def _by_source(songs: Sequence[Song]) -> dict[str, list[Song]]:
    groups: dict[str, list[Song]] = defaultdict(list)
    for song in songs:
        groups[song.source].append(song)
    return dict(groups)


def _at_level(wave: Wave, target: float) -> Wave:
    """Turned to a level in dBFS; silence stays silence."""
    now = waveform.level(wave)
    return wave * waveform.decibels(target - now) if np.isfinite(now) else wave
