import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.opencorpus import bands, catalogue, desk, recorded, sampled, singing, spoken
from recipes.opencorpus.build import summarise
from separate.augment import waveform
from separate.data.stems import find_songs
from tests.conftest import RATE, sound


def syllable_string(seconds: float = 2.0, pitch: float = 220.0) -> np.ndarray:
    """[samples, 1]: syllables at a steady pitch, a harmonic buzz with gaps of 100 ms every half second."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    return (0.2 * buzz * (time % 0.9 < 0.8)).astype(np.float32)[:, None]


def write(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE)


def test_songs_are_stored_whole_at_one_gain_with_their_licence(tmp_path: Path) -> None:
    stems = {"vocals": 2 * sound(1), "drums": sound(1, seed=1)}
    catalogue.write_song(tmp_path / "waivops" / "song", stems, catalogue.SOURCES["waivops"])
    (song,) = find_songs(tmp_path, RATE)
    gain = 0.98 / np.abs(stems["vocals"]).max()
    np.testing.assert_allclose(song.read("drums", 0, RATE), stems["drums"] * gain, atol=1e-4)
    facts = json.loads((tmp_path / "waivops" / "song" / "song.json").read_text())
    assert (facts["licence"], facts["licence_class"]) == ("CC-BY-4.0", "open")
    assert facts["minutes"]["vocals"] == pytest.approx(1 / 60, abs=0.01)
    assert summarise(tmp_path)[0]["songs"] == 1
    with pytest.raises(ValueError, match="unequal"):
        catalogue.write_song(tmp_path / "x", {"vocals": sound(1), "bass": sound(2)}, catalogue.SOURCES["waivops"])
    with pytest.raises(ValueError, match="not a stem"):
        catalogue.write_song(tmp_path / "x", {"tuba": sound(1)}, catalogue.SOURCES["waivops"])


def test_songs_of_ones_own_and_unfinished_ones_are_left_out_of_the_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in ("waivops/song", "waivops/.song.unfinished", ".waivops/song"):
        catalogue.write_song(tmp_path / place, {"drums": sound(0.1)}, catalogue.SOURCES["waivops"])
    write(tmp_path / "mine" / "song" / "vocals.wav", sound(0.1))
    with caplog.at_level("INFO"):
        assert [row["songs"] for row in summarise(tmp_path)] == [1]
    assert "mine: no song in it has a song.json" in caplog.text


def test_share_alike_sources_are_marked() -> None:
    marked = {name for name, source in catalogue.SOURCES.items() if source.licence_class != "open"}
    assert marked == {"voices_alys", "voices_ibuki", "voices_solfege"}
    assert all("GPL" in catalogue.SOURCES[name].licence for name in marked)


def test_validation_songs_go_to_valid_and_nothing_of_them_to_train(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for number, song in enumerate((*recorded.VALIDATION_SONGS, "lithium")):
        for stem in ("vocals", "drums", "other"):
            write(corpus / "everything_is_free" / song / f"{stem}.ogg", sound(1, seed=number))
    write(corpus / "everything_is_free" / "lithium" / "bass.ogg", sound(0.5))
    found = {(split, song): sorted(stems) for split, song, stems in recorded.album(corpus)}
    assert found == {
        ("valid", "potassium"): ["drums", "other", "vocals"],
        ("valid", "sodium"): ["drums", "other", "vocals"],
        ("train", "lithium"): ["accompaniment", "drums"],  # its voice comes by way of `singers`
    }
    stems = {song: stems for _, song, stems in recorded.album(corpus)}["lithium"]
    drums, other, bass = (
        catalogue.read_audio(corpus / "everything_is_free" / "lithium" / f"{stem}.ogg") for stem in ("drums", "other", "bass")
    )
    np.testing.assert_allclose(stems["accompaniment"][: len(bass)], drums[: len(bass)] + other[: len(bass)] + bass, atol=1e-6)
    np.testing.assert_allclose(stems["accompaniment"][len(bass) :], (drums + other)[len(bass) :], atol=1e-6)


def test_a_syllable_string_is_made_to_sing_a_melody(tmp_path: Path) -> None:
    pyworld = pytest.importorskip("pyworld")
    write(tmp_path / "corpus" / "voices" / "yuki" / "00.ogg", syllable_string(6.0))
    singing.build_singing(tmp_path / "corpus", tmp_path / "out", ["yuki"], takes=1, seed=3)
    songs = find_songs(tmp_path / "out", RATE)
    assert [song.name for song in songs] == ["00_spliced0", "00_take0"]
    for song in songs:
        wave = song.read("vocals", 0, song.samples)
        f0, _ = pyworld.dio(wave.mean(1).astype(np.float64), RATE)
        sung = 12 * np.log2(f0[f0 > 0] / 220)
        assert (f0 > 0).mean() > 0.3
        assert np.percentile(sung, 90) - np.percentile(sung, 10) > 1.5  # semitones: no longer one pitch
    before = (tmp_path / "out" / "voices_yuki" / "00_take0" / "vocals.wav").stat().st_mtime_ns
    singing.build_singing(tmp_path / "corpus", tmp_path / "out", ["yuki"], takes=1, seed=3)
    assert (tmp_path / "out" / "voices_yuki" / "00_take0" / "vocals.wav").stat().st_mtime_ns == before


def test_a_missing_voice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="yuki"):
        singing.build_singing(tmp_path, tmp_path / "out", ["yuki"], 1, 0)


def test_speech_is_made_to_sing_higher_and_gets_breath_above_its_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyworld = pytest.importorskip("pyworld")
    narrow = waveform.low_pass(syllable_string(6.0, 110.0), 7500, RATE)[:, 0]
    monkeypatch.setattr(spoken, "SPEAKERS", {"flite": ""})
    monkeypatch.setattr(spoken, "FLITE_VOICES", ("slt",))
    monkeypatch.setattr(spoken, "spoken", lambda voice, rng: iter([narrow, narrow]))
    monkeypatch.setattr(spoken, "SECONDS", 10)
    spoken.build_spoken(tmp_path, seed=0)
    (song,) = find_songs(tmp_path, RATE)
    wave = song.read("vocals", 0, song.samples).mean(1)
    f0, _ = pyworld.dio(wave.astype(np.float64), RATE)
    assert np.median(f0[f0 > 0]) > 112
    power = np.square(np.abs(np.fft.rfft(wave)))
    high = power[np.fft.rfftfreq(len(wave), 1 / RATE) > 8500].sum() / power.sum()
    assert 1e-6 < high < 0.1


def test_speech_comes_in_portions_until_there_is_enough() -> None:
    clips = iter([np.zeros(40 * RATE), np.zeros(1000), *[np.zeros(60 * RATE)] * 20])
    portions = list(spoken.portions(clips, minutes=5))
    assert [sum(map(len, portion)) // RATE for portion in portions] == [160, 180]
    assert len(list(spoken.portions(iter([np.zeros(RATE)]), minutes=5))) == 1


def test_a_missing_speaker_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "ASTERISK", tmp_path)
    with pytest.raises(FileNotFoundError, match="asterisk-core-sounds-it-g722"):
        next(spoken.announcements("it", np.random.default_rng(0)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="flite"):
        next(spoken.spoken("slt", np.random.default_rng(0)))


def test_midi_is_split_into_drums_bass_and_other_without_imitated_voices() -> None:
    mido = pytest.importorskip("mido")
    midi = mido.MidiFile(ticks_per_beat=480)
    for channel, program in ((0, 30), (1, 33), (2, 52), (9, 0)):  # guitar, bass, choir, drums
        track = mido.MidiTrack()
        track.append(mido.Message("program_change", channel=channel, program=program))
        track.append(mido.Message("note_on", channel=channel, note=22, velocity=90))  # for drums, a hi-hat's edge on electronic kits
        track.append(mido.Message("note_on", channel=channel, note=40 + channel, velocity=90))
        track.append(mido.Message("note_off", channel=channel, note=40 + channel, time=480))
        midi.tracks.append(track)
    stems = bands.split_midi(midi, np.random.default_rng(0))
    channels = {name: {m.channel for m in stem.tracks[0] if m.type == "note_on"} for name, stem in stems.items()}
    assert channels == {"drums": {9}, "bass": {1}, "other": {0}}
    assert all(abs(stem.length - 0.5) < 0.1 for stem in stems.values())
    assert {m.note for m in stems["drums"].tracks[0] if m.type == "note_on"} == {42, 49}


def test_recorded_notes_sound_at_the_pitch_and_time_that_the_score_asks_for(tmp_path: Path) -> None:
    time = np.arange(2 * RATE) / RATE
    write(tmp_path / "bass" / "sustain__a3_f_rr1.ogg", np.sin(2 * np.pi * 110 * time)[:, None])  # written an octave higher
    write(tmp_path / "bass" / "sustain__a3_rel_rr1.ogg", np.ones((100, 1)))
    recorded_notes = sampled.read_notes(tmp_path / "bass", "sustain", -1)
    assert {pitch: len(takes) for pitch, takes in recorded_notes.items()} == {45: 1}
    rng = np.random.default_rng(0)
    wave = sampled.play_notes([sampled.Note(0.5, 1.0, 48, 127, 33), sampled.Note(1.0, 1.5, 45 + 24, 60, 33)], recorded_notes, 0.0, rng)
    assert np.abs(wave[: RATE // 2 - 1]).max() == 0 and np.abs(wave[:, 1]).max() < 1e-9
    power = np.square(np.abs(np.fft.rfft(wave[RATE // 2 : RATE, 0])))
    assert np.fft.rfftfreq(RATE // 2, 1 / RATE)[power.argmax()] == pytest.approx(130.8, abs=3)
    assert np.abs(wave[RATE + 12000 : RATE + 20000]).max() < 0.5 * np.abs(wave[RATE // 2 : RATE]).max()
    assert np.abs(wave[2 * RATE + 4000 :]).max() < 1e-3  # let go
    with pytest.raises(FileNotFoundError, match="no recorded notes"):
        sampled.read_notes(tmp_path / "bass", "tuba", 0)


def test_a_song_on_recorded_notes_has_the_stems_of_its_midi(tmp_path: Path) -> None:
    mido = pytest.importorskip("mido")
    kit = tmp_path / "notes" / sampled.DRUM_KIT
    for pieces in sampled.PIECES.values():
        for piece in pieces:
            write(kit / f"group__{piece}1.ogg", sound(0.3)[:, :1])
    for folder, prefix, _ in (*sampled.BASSES, *sampled.GUITAR_KITS):
        write(tmp_path / "notes" / folder / f"{prefix}__a3_x.ogg", sound(0.5)[:, :1])
    midi = mido.MidiFile(ticks_per_beat=480)
    for channel, program in ((0, 30), (1, 33), (9, 0)):
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        for _ in range(4):
            track.append(mido.Message("note_on", channel=channel, note=40 + channel, velocity=90))
            track.append(mido.Message("note_off", channel=channel, note=40 + channel, time=480))
        midi.tracks.append(track)
    midi.save(tmp_path / "song.mid")
    stems = sampled.render_sampled(tmp_path / "song.mid", tmp_path, seed=0)
    assert set(stems) == {"drums", "bass", "other"}
    assert len({wave.shape for wave in stems.values()}) == 1 and all(np.isfinite(wave).all() for wave in stems.values())
    assert len(sampled.notes(midi)) == 12


def test_the_desk_keeps_length_and_peak_where_it_says_so() -> None:
    wave, rng = sound(1).astype(np.float64), np.random.default_rng(0)
    assert np.abs(desk.compress(10 * wave, 4, -20)).max() < np.abs(10 * wave).max()
    for out in (desk.room(wave, rng, 0.5, -12), desk.shelve_and_peak(wave, rng, 80, (1000, 2000), (3, 6))):
        assert out.shape == wave.shape and np.isfinite(out).all() and not np.allclose(out, wave)
