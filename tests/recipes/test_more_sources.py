import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

from recipes.opencorpus import build, games, recorded, sinsy, syllables, transposed
from recipes.opencorpus.singing import any_melody
from separate.data.stems import find_songs
from tests.conftest import RATE, sound

needs_rubberband = pytest.mark.skipif(shutil.which("rubberband") is None, reason="rubberband is not installed")


def vowel(pitch: float, seconds: float = 2.0) -> NDArray[np.float32]:
    """[samples, 2]: pulses at a pitch through the resonances of an "a"."""
    wave = np.diff(np.floor(np.arange(int(seconds * RATE)) * pitch / RATE), prepend=0)
    for frequency, width in ((700, 80), (1200, 90), (2600, 120), (3500, 150)):
        radius = np.exp(-np.pi * width / RATE)
        wave = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], wave)
    return np.repeat((0.5 * wave / np.abs(wave).max()).astype(np.float32)[:, None], 2, axis=1)


def pitch_and_resonance(wave: NDArray[np.float32]) -> tuple[float, float]:
    """Hz: of the autocorrelation's highest peak from 80 to 500 Hz, and the spectrum's centre of gravity from 2 to 3.2 kHz."""
    power = np.square(np.abs(np.fft.rfft(wave.mean(1)[RATE // 2 : RATE * 3 // 2], 2 * RATE)))
    lags = np.fft.irfft(power)[RATE // 500 : RATE // 80]
    frequencies = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    near = (frequencies > 2000) & (frequencies < 3200)
    return RATE / (RATE // 500 + int(lags.argmax())), float((frequencies * power)[near].sum() / power[near].sum())


@needs_rubberband
@pytest.mark.parametrize("semitones", transposed.SEMITONES)
def test_another_singer_has_another_pitch_and_the_resonances_of_the_first(semitones: int) -> None:
    wave = vowel(180.0)
    pitch, resonance = pitch_and_resonance(wave)
    moved = transposed.transpose(wave, semitones)
    assert moved.shape == wave.shape
    new_pitch, new_resonance = pitch_and_resonance(moved)
    assert 12 * np.log2(new_pitch / pitch) == pytest.approx(semitones, abs=0.3)
    assert 12 * np.log2(new_resonance / resonance) == pytest.approx(0, abs=1.0)


@needs_rubberband
def test_what_lies_in_the_middle_stays_there_when_transposed() -> None:
    """A breath in the middle, 20 dB above what differs between the sides; by themselves the sides' phases would drift apart."""
    rng = np.random.default_rng(0)
    breath = rng.normal(0, 0.1, (2 * RATE, 1)) + rng.normal(0, 0.01, (2 * RATE, 2))
    moved = transposed.transpose(breath.astype(np.float32), 3)
    mid, side = (np.square(part).mean() for part in (moved.sum(1), moved[:, 0] - moved[:, 1]))
    assert side < 0.25 * mid


@needs_rubberband
def test_only_training_songs_are_transposed_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "SUNG", {"lithium": ((0.2, 1.8),), "potassium": ((0.2, 1.8),)})
    for song in ("lithium", "potassium"):
        folder = tmp_path / "corpus" / "everything_is_free" / song
        folder.mkdir(parents=True)
        soundfile.write(folder / "vocals.ogg", vowel(180.0), RATE)
    (tmp_path / "corpus" / "vocadito").mkdir()
    soundfile.write(tmp_path / "corpus" / "vocadito" / "vocadito_1.wav", vowel(140.0)[:, 0], RATE)
    for _ in range(2):
        transposed.build_transposed(tmp_path / "corpus", tmp_path / "train")
        songs = find_songs(tmp_path / "train", RATE)
        sung = (("transposed", "lithium_sung"), ("vocadito", "vocadito_1"))
        moved = {(source, f"{song}{way}") for source, song in sung for way in ("+3", "+5", "-3", "-5", "_with+3", "_with-5", "_with+5-3")}
        assert {(song.source, song.name) for song in songs} == moved


def test_who_sings_along_is_softer_later_and_at_alternate_sides() -> None:
    clicks = np.zeros((3, RATE, 2), dtype=np.float32)
    for number, click in enumerate(clicks):
        click[1000 + 5000 * number] = 1.0
    chorus = transposed.harmony(clicks[0], clicks[1:])
    late, soft = round(0.012 * RATE), 10 ** (-5 / 20)
    expected = {1000: (1, 1), 6000 + late: (0.4 * soft, soft), 11000 + 2 * late: (soft, 0.4 * soft)}
    assert set(np.flatnonzero(chorus.any(1))) == expected.keys()
    for place, sides in expected.items():
        np.testing.assert_allclose(chorus[place], sides, atol=1e-3)
    assert np.count_nonzero(clicks[0]) == 2  # the lead stays as it was


def test_of_the_album_come_its_sung_passages(tmp_path: Path) -> None:
    moments = np.arange(330 * RATE, dtype=np.float32) / RATE
    for song, passages in recorded.SUNG.items():
        heard = recorded.sung(song, np.repeat(moments[:, None], 2, axis=1))
        kept = sum(int(stop * RATE) - int(start * RATE) for start, stop in passages)
        assert len(heard) == kept + len(passages) * int(recorded.PAUSE * RATE)
        start, stop = passages[-1]
        middle = heard[-int((stop - start) / 2 * RATE) - int(recorded.PAUSE * RATE), 0]
        assert middle == pytest.approx((start + stop) / 2, abs=1e-3)
        assert (heard[0] == 0).all() and (heard[-1] == 0).all()
    with pytest.raises(ValueError, match="lithium: its vocals end before"):
        recorded.sung("lithium", np.zeros((300 * RATE, 2), dtype=np.float32))


def test_voices_of_validation_songs_are_for_scoring_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "SUNG", dict.fromkeys(recorded.SUNG, ((0.2, 1.8),)))
    for song in (*recorded.SUNG, "sodium"):
        folder = tmp_path / "everything_is_free" / song
        folder.mkdir(parents=True)
        soundfile.write(folder / "vocals.ogg", vowel(180.0), RATE)
    splits = {song: split for split, _, song, _ in recorded.singers(tmp_path)}
    assert splits == {f"{song}_sung": "strangers" if song == "potassium" else "train" for song in recorded.SUNG}


def test_a_singer_alone_becomes_stereo_and_may_be_missing(tmp_path: Path) -> None:
    assert list(recorded.singers(tmp_path)) == []
    (tmp_path / "vocadito").mkdir()
    soundfile.write(tmp_path / "vocadito" / "vocadito_1.wav", vowel(140.0)[:, 0], RATE, subtype="FLOAT")
    ((split, source, name, vocals),) = recorded.singers(tmp_path)
    assert (split, source, name) == ("train", "vocadito", "vocadito_1")
    np.testing.assert_array_equal(vocals, np.repeat(vowel(140.0)[:, :1], 2, axis=1))


def test_without_rubberband_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt-get install rubberband-cli"):
        transposed.transpose(vowel(180.0), 3)


@pytest.mark.parametrize("packed", [False, True])
def test_music_of_games_becomes_stereo_accompaniments_at_44100_hz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed: bool) -> None:
    place = tmp_path / ("music.zip" if packed else "music")
    monkeypatch.setattr(games, "TRACKS", {"naev-data": (place, ("bgm/intro.ogg",))})
    with pytest.raises(FileNotFoundError, match="apt-get install naev-data"):
        games.build_games(tmp_path / "train")
    (tmp_path / "music" / "bgm").mkdir(parents=True)
    soundfile.write(tmp_path / "music" / "bgm" / "intro.ogg", sound(2)[:, 0], 48000)
    if packed:
        shutil.make_archive(str(place.with_suffix("")), "zip", tmp_path / "music")
    games.build_games(tmp_path / "train")
    (song,) = find_songs(tmp_path / "train", RATE)
    wave = song.read("accompaniment", 0, song.samples)
    assert (song.source, song.name, wave.shape[1]) == ("games", "naev-data_intro", 2)
    assert song.samples == pytest.approx(2 * RATE * RATE / 48000, abs=1)
    np.testing.assert_array_equal(wave[:, 0], wave[:, 1])
    shutil.rmtree(tmp_path / "music")
    place.unlink(missing_ok=True)
    games.build_games(tmp_path / "train")  # nothing is missing: the package is no longer needed


def test_every_track_of_a_game_has_a_name_of_its_own() -> None:
    names = [f"{package}_{Path(name).stem}" for package, (_, tracks) in games.TRACKS.items() for name in tracks]
    assert len(names) == len(set(names)) > 60


def test_a_score_fills_its_bars_and_rests_at_both_ends() -> None:
    melody = any_melody(np.random.default_rng(1))
    root = xml.fromstring(sinsy.score(melody, 65.0, phrases=20))
    bars = [
        [(note.find("rest") is not None, int(note.findtext("duration") or 0)) for note in bar.iter("note")] for bar in root.iter("measure")
    ]
    assert all(sum(length for _, length in bar) == sinsy.BAR for bar in bars)
    assert bars[0] == bars[-1] == [(True, sinsy.BAR)]
    assert sum(resting for bar in bars[1:-1] for resting, _ in bar) == 20
    sung = [note for note in root.iter("note") if note.find("rest") is None]
    assert all(note.findtext("lyric/text") in sinsy.KANA for note in sung)
    places = [(note.findtext("pitch/step"), note.findtext("pitch/alter"), int(note.findtext("pitch/octave") or 0)) for note in sung]
    pitches = [12 * (octave + 1) + sinsy.STEPS.index((step or "", int(sharp or 0))) for step, sharp, octave in places]
    assert 8 < max(pitches) - min(pitches) < 30
    assert {(pitch - melody.tonic) % 12 for pitch in pitches} <= set(melody.scale)


def test_what_the_synthesizer_sings_is_stored_with_its_credit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sinsy, "sung", lambda notes, alpha: vowel(220.0)[:, 0])
    monkeypatch.setattr(sinsy, "SONGS", 2)
    sinsy.build_sinsy(tmp_path, seed=0)
    songs = find_songs(tmp_path, RATE)
    assert [(song.source, song.name) for song in songs] == [("voices_sinsy", "00"), ("voices_sinsy", "01")]
    assert np.abs(songs[0].read("vocals", 0, RATE)).max() > 0.1
    assert "Nagoya" in (tmp_path / "voices_sinsy" / "00" / "song.json").read_text()


def test_without_pysinsy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysinsy", None)
    with pytest.raises(ModuleNotFoundError, match="pip install cython pysinsy"):
        sinsy.sung(b"", 0.55)


def test_voices_that_are_not_in_the_corpus_are_not_looked_for_there() -> None:
    assert build.recorded_voices(share_alike=False) == ["yuki", "kumi_ja", "kumi_zh", "scottpoid", "dorodoro", "iona", "erithacus"]
    assert set(build.recorded_voices(share_alike=True)) - set(build.recorded_voices(share_alike=False)) == {"alys", "ibuki", "solfege"}


def test_single_syllables_are_strung_into_lines_and_sung_both_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(syllables, "RECORDINGS", tmp_path / "ogg")
    with pytest.raises(FileNotFoundError, match="install gcin-voice"):
        syllables.build_syllables(tmp_path / "train", seed=0)
    silence = np.zeros((RATE // 4, 1), dtype=np.float32)
    for number, pitch in enumerate((200.0, 230.0, 260.0, 300.0, 340.0)):
        (tmp_path / "ogg" / str(number)).mkdir(parents=True)
        for name in ("3.ogg", "5.ogg"):
            soundfile.write(tmp_path / "ogg" / str(number) / name, np.concatenate((silence, vowel(pitch, 0.3)[:, :1], silence)), RATE)
    files = sorted((tmp_path / "ogg").glob("*/5.ogg"))
    lines = list(syllables.strung(files, np.random.default_rng(0)))
    assert sum(map(len, lines)) == pytest.approx(5 * 0.3 * RATE, rel=0.1)  # each once, without the silence around it
    monkeypatch.setattr(syllables, "TRACKS", 1)
    for _ in range(2):
        syllables.build_syllables(tmp_path / "train", seed=0)
        songs = find_songs(tmp_path / "train", RATE)
        assert [(song.source, song.name) for song in songs] == [("voices_chu_lo", "00_spliced"), ("voices_chu_lo", "00_take")]
    assert all(np.abs(song.read("vocals", 0, song.samples)).max() > 0.1 for song in songs)


def test_a_recording_without_a_sound_gives_nothing() -> None:
    assert not len(syllables.sounding(np.zeros(RATE, dtype=np.float32)))


def test_a_source_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main([str(tmp_path), str(tmp_path / "out"), "--only", "bands"])
    assert f"no MIDI files under {tmp_path / 'freedoom_midi'}" in capsys.readouterr().err
