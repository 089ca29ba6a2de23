from pathlib import Path

import mido
import numpy as np
import pytest

from recipes.opencorpus import arrangement, composed, sampled, singing, synth
from recipes.opencorpus.catalogue import active_minutes
from recipes.opencorpus.melody import SCALES, Melody, Performance
from recipes.opencorpus.sampled import Note
from recipes.opencorpus.singing import HOP, Spliced
from tests.conftest import RATE
from tests.recipes.test_opencorpus import syllable_string, write


def loudest(wave: np.ndarray) -> float:
    """Frequency in Hz of the strongest sine."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.fft.rfftfreq(len(wave), 1 / RATE)[spectrum.argmax()])


def song_of(chords: tuple[int, ...], tonic: int = 2) -> composed.Song:
    """In D major, half a second a beat."""
    return arrangement.Song(0.5, tonic, SCALES[0], chords, (True,) * len(chords))


def test_a_spliced_voice_changes_pitch_and_pace_and_keeps_its_vowel() -> None:
    """Pulses at 150 Hz through a resonance at 900: at 200 Hz and half the pace the resonance is where it was."""
    time = np.arange(2 * RATE) / RATE
    turns = 150 * time
    wave = 0.2 * np.exp(-((turns % 1) / 150) * 400) * np.sin(2 * np.pi * 900 * (turns % 1) / 150)
    voice = Spliced(wave, formant=1.0)
    frames = np.arange(100, 300)
    slow = np.repeat(frames, 2).astype(float)
    out = voice.sound(Performance(slow, np.full(len(slow), 200.0), np.zeros(len(slow))))
    assert len(out) == int(len(slow) * HOP)
    middle = out[RATE // 4 : -RATE // 4]
    spectrum, frequency = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))), np.fft.rfftfreq(len(middle), 1 / RATE)
    partials = frequency[spectrum > 0.1 * spectrum.max()]
    assert np.abs(partials - 200 * np.round(partials / 200)).max() < 8
    assert 700 < loudest(middle) < 1100
    louder = voice.sound(Performance(slow, np.full(len(slow), 200.0), np.full(len(slow), 6.0)))
    np.testing.assert_allclose(louder, out * 10 ** (6 / 20), atol=1e-9)
    higher = voice.sound(Performance(slow, np.full(len(slow), 200.0), np.zeros(len(slow))), 12.0)
    assert loudest(higher[RATE // 4 :]) == pytest.approx(800, abs=8)


def test_after_a_rest_singing_goes_on_at_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steady:
        """Sings as loud as can be, without a gap."""

        f0, loudness = np.full(97, 200.0), np.zeros(97)

        def sound(self, performance: Performance, semitones: float = 0.0) -> np.ndarray:
            return np.ones(int(len(performance.f0) * HOP))

    monkeypatch.setattr(singing, "produce", lambda wave, beat, rng: wave)
    melody = Melody(np.random.default_rng(0), 0, SCALES[0], 0.5, 7.0)
    sounding = singing.render_voice([np.zeros(1)] * 40, melody, lambda wave: Steady())[:, 0] > 0
    starts = np.flatnonzero(sounding[1:] & ~sounding[:-1]) + 1
    stops = np.flatnonzero(~sounding[1:] & sounding[:-1]) + 1
    after_rests = starts[starts - stops[: len(starts)] > 0.16 * RATE] / RATE
    assert len(after_rests) >= 5
    assert np.abs(after_rests / 0.5 - np.round(after_rests / 0.5)).max() < 0.01


def test_a_recording_without_pitch_cannot_be_sung() -> None:
    with pytest.raises(ValueError, match="pitch"):
        Spliced(np.random.default_rng(0).normal(0, 0.001, RATE), 1.0)


def test_a_patch_sounds_at_its_pitch_without_aliases_and_fades_after_the_note() -> None:
    saw = synth.Patch(1 / np.arange(1, 200), (0.0,), 100.0, 100.0, 1.0, 0.001, 0.05, 1.0)
    tone = saw.sound(1000.0, RATE, [0.0])
    assert loudest(tone) == pytest.approx(1000, abs=2)
    power = np.square(np.abs(np.fft.rfft(tone * np.hanning(RATE))))
    near = np.abs(np.arange(len(power)) / 1000 - np.round(np.arange(len(power)) / 1000)) < 0.02
    assert power[~near].sum() < 1e-4 * power.sum()
    rng = np.random.default_rng(0)
    wave = synth.play_patch([Note(0.5, 1.0, 69, 127, 0)], synth.any_patch(rng), 0.8, rng)
    assert np.isfinite(wave).all() and np.abs(wave[: RATE // 2 - 1]).max() == 0
    assert np.abs(wave[RATE // 2 : RATE]).max() > 0
    mono = synth.play_patch([Note(0.0, 1.0, 69, 127, 0)], saw, 0.0, rng)
    np.testing.assert_allclose(mono[:, 0], mono[:, 1])
    assert 0 < np.abs(mono[int(1.1 * RATE) : int(1.2 * RATE)]).max() < 0.2 * np.abs(mono[: RATE // 2]).max()
    assert np.abs(mono[int(1.26 * RATE) :]).max() == 0


def test_the_drum_machine_has_sounds_of_peak_one() -> None:
    for seed in range(4):
        for (sound,) in synth.drum_machine(np.random.default_rng(seed)).values():
            assert np.isfinite(sound).all() and np.abs(sound).max() == pytest.approx(1.0)


@pytest.mark.parametrize("figure", [arrangement.hold, arrangement.strum, arrangement.broken, arrangement.riff, arrangement.line])
def test_players_stay_in_key_and_in_the_song(figure: arrangement.Figure) -> None:
    song = song_of((0, 4, 5, 3) * 4)
    score = arrangement.perform(
        song, figure, 45, (0, 2, 4, 6) if figure is not arrangement.line else (0, 0, 7), 0.5, np.random.default_rng(1)
    )
    assert {(note.pitch - song.tonic) % 12 for note in score} <= set(song.scale)
    assert max(note.start for note in score) < len(song.chords) * song.bar + 0.1
    if figure is arrangement.line:
        firsts = {round(note.start / song.bar): note.pitch for note in score if abs(note.start / song.bar % 1 - 0.5) > 0.48}
        assert len(firsts) >= 8
        assert all((pitch - song.tonic) % 12 == song.scale[song.chords[bar % len(song.chords)]] for bar, pitch in firsts.items())


@pytest.mark.parametrize("closing", [0, 1])
def test_a_drummer_plays_in_the_songs_tempo_to_its_end(tmp_path: Path, closing: int) -> None:
    """Two bars, of which the first begins with a kick and the second with a crash, with and without a stroke on the next downbeat."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    for number in [36, 42, 42, 42, 49, 42, 42, 42] + [36] * closing:
        track.append(mido.Message("note_on", channel=9, note=number, velocity=90))
        track.append(mido.Message("note_off", channel=9, note=number, time=480))
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(tmp_path / "beat.mid")
    song = arrangement.Song(0.4, 0, SCALES[0], (0,) * 8, (True,) * 8)
    score = arrangement.drummers_score(song, tmp_path / "beat.mid", np.random.default_rng(0))
    np.testing.assert_allclose([note.start for note in score], np.arange(32) * 0.4, atol=0.01)
    assert [note.pitch for note in score] == [36, 42, 42, 42, 49, 42, 42, 42] * 4


def test_a_repeated_note_is_not_cut_off_by_the_end_of_the_one_before() -> None:
    score = [Note(0.0, 1.01, 60, 90, 0), Note(1.0, 2.0, 60, 90, 0), Note(0.5, 3.0, 64, 90, 0)]
    clock, events = 0, []
    for message in composed.to_midi(score, 0, 0).tracks[0]:
        clock += message.time
        if message.type in ("note_on", "note_off"):
            events.append((clock, message.type, message.note))
    assert [event for event in events if event[2] == 60] == [
        (0, "note_on", 60), (1000, "note_off", 60), (1000, "note_on", 60), (2000, "note_off", 60),
    ]  # fmt: skip


def test_the_drum_machine_keeps_to_the_grid() -> None:
    song = song_of((0,) * 16)
    score = arrangement.programmed_score(song, np.random.default_rng(3))
    assert max(note.start for note in score) < 16 * song.bar
    kicks = [note for note in score if note.pitch == synth.KICK]
    places = np.array([note.start / (song.beat / 4) for note in kicks])
    off = np.abs(places - np.round(places))  # 0, or 0.3 where it swings
    assert len(kicks) > 16 and np.minimum(off, np.abs(off - 0.3)).max() < 1e-6


def test_a_song_has_four_stems_of_one_length_and_no_voice_where_none_is_sung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "voices" / "yuki" / "00.ogg", np.concatenate([syllable_string(3.0), np.zeros((RATE // 5, 1), np.float32)] * 8))
    for folder, prefix, _ in (*sampled.BASSES, *sampled.GUITAR_KITS):
        write(tmp_path / "notes" / folder / f"{prefix}__a3_x.ogg", syllable_string(0.5))
    monkeypatch.setattr(composed, "SINGERS", ("yuki",))
    monkeypatch.setattr(composed, "play", lambda midi, font: np.full((RATE, 2), 0.1))  # no sound font here
    monkeypatch.setattr(composed, "render_drums", lambda *_: np.full((RATE, 2), 0.1))
    song = arrangement.Song(0.5, 0, SCALES[0], (0, 4, 5, 3) * 4, (False,) * 8 + (True,) * 8)
    monkeypatch.setattr(composed, "any_song", lambda rng: song)
    stems = composed.render_song(tmp_path, [], seed=0)
    assert set(stems) == {"drums", "bass", "other", "vocals"}
    assert {wave.shape for wave in stems.values()} == {(32 * RATE, 2)}
    assert all(np.isfinite(wave).all() for wave in stems.values())
    assert np.abs(stems["vocals"][: 15 * RATE]).max() == 0
    assert active_minutes(stems["vocals"][16 * RATE :]) > 0.05


def test_a_ducked_wave_is_quiet_on_the_beat_and_whole_before_the_next() -> None:
    out = composed.duck(np.ones((RATE, 2)), 0.5, 0.8)
    assert out[0, 0] == pytest.approx(0.2)
    assert out[RATE // 2 - 1, 0] > 0.95


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="4/4"):
        composed.build_composed(tmp_path, tmp_path / "out", 0)
    with pytest.raises(FileNotFoundError, match="recordings of"):
        composed.render_vocals(song_of((0,) * 8), tmp_path, np.random.default_rng(0))
