from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from separate.augment.key import chroma
from separate.augment.waveform import level
from separate.data.mixer import MixConfig, RandomMixes, Segments, known, passed_on
from separate.data.stems import Song, find_songs
from tests.conftest import RATE, sound
from tests.songs import made_up_song


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Song]:
    root = tmp_path_factory.mktemp("songs")
    made_up_song(root / "album" / "one", seed=1)
    made_up_song(root / "album" / "two", seed=2)
    made_up_song(root / "voices" / "three", stems=("vocals",), seed=3)
    made_up_song(root / "bands" / "four", stems=("drums", "bass", "other"), seed=4)
    made_up_song(root / "finished" / "five", stems=("accompaniment",), seed=5)
    return find_songs(root, RATE)


def test_examples_have_targets_and_the_rest(songs: list[Song]) -> None:
    mixes = RandomMixes(songs, ["vocals", "drums"], 20000, 20, 0, MixConfig(source_weights={"finished": 0}))
    assert len(mixes) == 20
    for example in mixes:
        assert example.shape == (3, 2, 20000) and example.dtype == torch.float32
        assert example.isfinite().all()
        assert example.abs().max() > 1e-3


def test_the_same_seed_gives_the_same_examples_in_any_order(songs: list[Song]) -> None:
    first, second = (RandomMixes(songs, ["vocals"], 20000, 8, seed=7) for _ in range(2))
    for index in (5, 0, 3):
        assert torch.equal(first[index], second[index])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], RandomMixes(songs, ["vocals"], 20000, 8, seed=8)[0])


def test_something_sounds_in_every_example_unless_no_song_has_a_sound(songs: list[Song], tmp_path: Path) -> None:
    config = MixConfig(song_share=0, backing_share=0, stem_share=0.2, no_vocals_share=0.8, effects_share=0)
    assert all(example.any() for example in RandomMixes(songs, ["vocals"], 500, 30, 0, config))
    (tmp_path / "album" / "silent").mkdir(parents=True)
    soundfile.write(tmp_path / "album" / "silent" / "vocals.wav", np.zeros((1000, 2)), RATE)
    assert not RandomMixes(find_songs(tmp_path, RATE), ["vocals"], 500, 1, 0)[0].any()


def test_an_epoch_ends(songs: list[Song]) -> None:
    with pytest.raises(IndexError):
        RandomMixes(songs, ["vocals"], 2000, 3, seed=0)[3]


def test_some_examples_have_no_vocals_and_levels_vary_as_configured(songs: list[Song]) -> None:
    config = MixConfig(no_vocals_share=0.3, song_share=0, vocals_db=(-6.0, 0.0), second_voice_share=0, limiter_share=0, low_pass_share=0)
    ratios = []
    for example in RandomMixes(songs, ["vocals"], 20000, 60, 0, config):
        vocals, rest = (level(row.T.numpy()) for row in example)
        ratios.append(vocals - rest)
    silent = sum(ratio == -np.inf for ratio in ratios)
    assert 8 <= silent <= 30
    assert np.median([ratio for ratio in ratios if np.isfinite(ratio)]) == pytest.approx(-6.0, abs=0.5)


def test_source_weights_choose_sources(songs: list[Song]) -> None:
    mixes = RandomMixes(songs, ["vocals"], 2000, 1, 0, MixConfig(source_weights={"album/vocals": 0.0}))
    rng = np.random.default_rng(0)
    assert {mixes._draw("vocals", rng).name for _ in range(50)} == {"three"}
    assert {mixes._draw("drums", rng).source for _ in range(50)} == {"album", "bands"}


def test_longer_songs_of_a_source_are_drawn_more_often(songs: list[Song]) -> None:
    long = replace(songs[0], name="long", samples=16 * songs[0].samples)
    mixes = RandomMixes([songs[0], long], ["vocals"], 2000, 1, 0)
    rng = np.random.default_rng(0)
    assert sum(mixes._draw("vocals", rng).name == "long" for _ in range(500)) == pytest.approx(400, abs=40)


def test_where_all_whole_songs_weigh_nothing_stems_are_mixed(songs: list[Song]) -> None:
    config = MixConfig(song_share=1.0, no_vocals_share=0, source_weights={"album/song": 0})
    for example in RandomMixes(songs, ["vocals"], 2000, 5, 0, config):
        assert example.isfinite().all()


def test_stems_of_finished_music_are_marked_as_unknown_where_they_are_targets(songs: list[Song]) -> None:
    config = MixConfig(song_share=0, backing_share=1, no_vocals_share=0, source_weights={"album": 0, "bands": 0})
    for example in RandomMixes(songs, ["vocals", "drums", "bass"], 20000, 5, 0, config):
        assert example[1:3].isnan().all() and example[[0, 3]].isfinite().all()
        stems, there = known(example)
        assert there.flatten().tolist() == [1, 0, 0, 1]
        assert stems[1:3].abs().max() == 0 and torch.equal(stems[[0, 3]], example[[0, 3]])
    for example in RandomMixes(songs, ["vocals", "drums", "bass", "other"], 20000, 5, 0, config):
        assert example[1:3].isnan().all() and example[3].abs().max() > 1e-3 and not example[4].any()  # all of it is in that of other
    for example in RandomMixes(songs, ["drums", "other", "vocals"], 20000, 5, 0, config):
        assert example[:2].isnan().all() and example[3].abs().max() > 1e-3  # the bass, no target, is in it too
    for example in RandomMixes(songs, ["vocals"], 20000, 5, 0, config):
        assert example.isfinite().all()
    with pytest.raises(ValueError, match="cannot be a target"):
        RandomMixes(songs, ["vocals", "accompaniment"], 20000, 5, 0)


@pytest.mark.parametrize("song", [True, False])
def test_an_accompaniment_stands_for_what_a_songs_other_stems_lack(tmp_path: Path, song: bool) -> None:
    """Where all stems are known an accompaniment changes nothing; without bass and other, it is what the row of other holds."""
    folder = tmp_path / "album" / "one"
    made_up_song(folder, seed=1)
    made_up_song(tmp_path / "unused" / "two", seed=2)
    config = MixConfig(song_share=float(song), backing_share=1, no_vocals_share=1, source_weights={"unused": 0})

    def rows() -> torch.Tensor:
        return RandomMixes(find_songs(tmp_path, RATE), ["vocals", "drums", "bass", "other"], 20000, 1, 5, config)[0]

    without = rows()
    parts = [soundfile.read(folder / f"{stem}.wav")[0] for stem in ("drums", "bass", "other")]
    soundfile.write(folder / "accompaniment.wav", np.sum(parts, axis=0), RATE, "FLOAT")
    assert torch.equal(rows(), without) and without.isfinite().all()
    (folder / "bass.wav").unlink()
    (folder / "other.wav").unlink()
    partly = rows()
    assert partly[2].isnan().all() and partly[[0, 1, 3, 4]].isfinite().all()
    assert partly[3].abs().max() > 1e-3 and not partly[4].any()


def test_a_target_nobody_has_is_an_error(songs: list[Song]) -> None:
    with pytest.raises(ValueError, match="no song has a stem named tuba"):
        RandomMixes(songs, ["tuba"], 2000, 1, 0)


def test_segments_cover_a_song_once(songs: list[Song]) -> None:
    segments = Segments(songs[:1], ["vocals"], 30000)
    pieces = [rows for _, rows in segments]
    whole = torch.cat(pieces, dim=-1)[0, :, : songs[0].samples]
    np.testing.assert_array_equal(whole.T.numpy(), songs[0].read("vocals", 0, songs[0].samples))


def test_the_desk_works_on_single_stems(songs: list[Song]) -> None:
    """Without other augmentation, an example is its stems as they are; with the desk it is not, and still the same for the same seed."""
    plain = {"speed_range": (1.0, 1.0), "effects_share": 0.0, "limiter_share": 0.0, "low_pass_share": 0.0}
    without, treated, again = (
        RandomMixes(songs, ["vocals"], 20000, 4, 3, MixConfig(**plain, desk_share=share)) for share in (0.0, 1.0, 1.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(treated, again, strict=True))
    assert any(not torch.allclose(a, b, atol=1e-3) for a, b in zip(without, treated, strict=True))
    assert all(example.isfinite().all() for example in treated)


def test_widths_give_a_side_to_what_lies_in_the_middle(tmp_path: Path) -> None:
    folder = tmp_path / "album" / "one"
    folder.mkdir(parents=True)
    for stem in ("vocals", "drums", "bass", "other"):
        soundfile.write(folder / f"{stem}.wav", sound(1, channels=1), RATE)
    plain = MixConfig(song_share=1, effects_share=0, limiter_share=0, low_pass_share=0)
    for share in (0.0, 1.0):
        (example,) = RandomMixes(find_songs(tmp_path, RATE), ["vocals", "bass"], 20000, 1, 3, replace(plain, width_share=share))
        assert all((row[0] - row[1]).abs().max() > 1e-3 for row in example) if share else torch.equal(example[:, 0], example[:, 1])


def test_other_resonances_are_for_the_stems_they_are_given_to(songs: list[Song]) -> None:
    plain = MixConfig(song_share=1, effects_share=0)
    stems = [
        dict(RandomMixes(songs, ["vocals"], 20000, 1, 3, replace(plain, warp_share=share))._compose(np.random.default_rng(1)))
        for share in ({}, {"bass": 1.0})
    ]
    assert np.array_equal(stems[0]["vocals"], stems[1]["vocals"]) and np.array_equal(stems[0]["drums"], stems[1]["drums"])
    assert not np.allclose(stems[0]["bass"], stems[1]["bass"], atol=1e-3)


def test_stems_of_several_songs_share_more_notes_when_in_tune(songs: list[Song]) -> None:
    plain = MixConfig(song_share=0, backing_share=0, stem_share=1, no_vocals_share=0, second_voice_share=0, effects_share=0)
    shared = []
    for share in (0.0, 1.0):
        mixes = RandomMixes(songs, ["vocals"], 40000, 1, 3, replace(plain, in_tune_share=share, speed_range=(0.75, 1.33)))
        drawn = [dict(mixes._compose(np.random.default_rng(seed))) for seed in range(20)]
        shared.append(np.mean([chroma(stems["bass"], RATE) @ chroma(stems["other"], RATE) for stems in drawn]))
    assert shared[1] > shared[0] + 0.05


def test_amplifiers_are_for_the_stems_they_are_given_to(songs: list[Song]) -> None:
    """Drawn alike, drums come out the same and the bass, which comes after them, does not."""
    plain = MixConfig(song_share=0, backing_share=0, stem_share=1, effects_share=0)
    stems = [
        dict(RandomMixes(songs, ["bass"], 20000, 1, 3, replace(plain, amplifier_share=share))._compose(np.random.default_rng(1)))
        for share in ({}, {"bass": 1.0}, {"bass": 0.0})
    ]
    assert np.array_equal(stems[0]["drums"], stems[1]["drums"])
    assert not np.allclose(stems[0]["bass"], stems[1]["bass"], atol=1e-2)
    assert all(np.array_equal(stems[0][name], stems[2][name]) for name in stems[0])


def test_vocals_are_passed_on_at_the_level_of_those_they_stand_for() -> None:
    batch = torch.randn(3, 2, 2, 500, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
    batch[:, 1].fill_(torch.nan)  # what is not known stays so
    used = passed_on(batch, 0, 3, 1000)
    assert used.shape == (9, 2, 2, 500) and torch.equal(used[:3, 0], batch[:, 0])
    for number in range(9):
        steps, place = divmod(number, 3)
        theirs, mine = batch[(place - steps) % 3, 0], batch[place, 0]
        torch.testing.assert_close(used[number, 0] / mine.square().mean().sqrt(), theirs / theirs.square().mean().sqrt())
    assert used[:, 1].isnan().all()


def test_silence_is_passed_on_and_filled_at_the_level_a_voice_had_against_its_music() -> None:
    batch = torch.randn(2, 2, 2, 500, generator=torch.Generator().manual_seed(0))
    batch[0, 0] = 0
    batch[0, 1] *= 0.1  # the music under which nobody sings is 20 dB quieter, so must the voice be
    sung, silent = passed_on(batch, 0, 2, RATE)[2:]
    assert not silent[0].any() and torch.equal(silent[1], batch[1, 1]) and torch.equal(sung[1], batch[0, 1])
    torch.testing.assert_close(sung[0], 0.1 * batch[1, 0], rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("quiet", [0.0, 1e-4])
def test_where_there_is_no_music_no_silence_is_passed_on(quiet: float) -> None:
    batch = torch.randn(2, 2, 2, 500, generator=torch.Generator().manual_seed(0))
    batch[1] *= quiet
    batch[0, 1] = 0
    assert torch.equal(passed_on(batch, 0, 2, RATE), torch.cat([batch, batch]))


def test_the_level_of_vocals_passed_on_is_that_of_what_sounds() -> None:
    batch = torch.randn(2, 2, 2, 2 * RATE, generator=torch.Generator().manual_seed(0))
    batch[1, 0, :, : RATE * 9 // 5] = 0  # a short call
    batch[1, 0] *= 0.1
    used = passed_on(batch, 0, 2, RATE)
    for row in range(4):
        place = row % 2
        assert level(used[row, 0].T.numpy()) == pytest.approx(level(batch[place, 0].T.numpy()), abs=0.1)
