import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError
from separate.audio import AudioReader, Resampler
from separate.integrity import ogg_checksum, ogg_pages
from tests.conftest import RATE, sound


def read(path: Path, **arguments: float) -> np.ndarray:
    return np.concatenate(list(AudioReader(path, **arguments).blocks()))


def av_write(
    path: Path,
    wave: np.ndarray,
    codec: str,
    rate: int = RATE,
    bit_rate: int = 128000,
    start: float = 0,
    title: str = "Song",
    **options: str,
) -> Path:
    """Encode with PyAV, title and artist included; `start` in seconds."""
    import av

    with av.open(str(path), "w", options=options) as container:
        container.metadata.update({"title": title, "artist": "Singer"})
        stream = container.add_stream(codec, rate=rate, layout="stereo" if wave.shape[1] == 2 else "mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fifo = av.AudioFifo()
        fifo.write(frame)
        stream.bit_rate = bit_rate
        size = stream.codec_context.frame_size or 1024
        while part := fifo.read(size, partial=True):
            part.pts += round(start * rate)
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_formats_of_libsndfile_are_read_with_their_tags(tmp_path: Path, suffix: str) -> None:
    path, wave = tmp_path / f"song.{suffix}", sound(2)
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        file.title, file.artist = "Song", "Singer"
        for start in range(0, len(wave), 4096):
            file.write(wave[start : start + 4096])
    reader = AudioReader(path)
    assert (reader.rate, reader.channels, reader.samples) == (RATE, 2, len(wave))
    out = np.concatenate(list(reader.blocks()))
    assert len(out) == len(wave)
    assert np.corrcoef(out[:, 0], wave[:, 0])[0, 1] > 0.95
    if suffix != "aiff":
        assert reader.tags["title"] == "Song"
        assert reader.tags["artist"] == "Singer"


@pytest.mark.parametrize(
    "suffix, codec, rate", [("m4a", "aac", RATE), ("mp4", "aac", 48000), ("webm", "libopus", 48000), ("opus", "libopus", 48000)]
)
def test_formats_of_ffmpeg_are_read_in_place_and_to_the_end(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    wave = sound(2, rate=rate)
    path = av_write(tmp_path / f"song.{suffix}", wave, codec, rate)
    reader = AudioReader(path)
    out = np.concatenate(list(reader.blocks()))
    assert (reader.rate, reader.channels) == (rate, 2)
    assert 0 <= len(out) - len(wave) < 1024
    lag = np.argmax(np.correlate(out[:20000, 0], wave[200:19800, 0], "valid")) - 200
    assert lag == 0
    if suffix in ("m4a", "mp4"):
        assert reader.tags["title"] == "Song"


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", sound(1), RATE)
    disguised = (tmp_path / "song.wav").rename(tmp_path / "song.mp3")
    assert len(read(disguised)) == RATE


@pytest.mark.parametrize(
    "suffix, codec",
    [
        *(("m4b", "aac"), ("m4a", "alac"), ("mov", "aac"), ("mkv", "aac"), ("mka", "libopus"), ("3gp", "aac"), ("aac", "aac")),
        *(("wma", "wmav2"), ("wv", "wavpack"), ("caf", "alac"), ("mp4", "libmp3lame")),
    ],
)
def test_every_container_that_is_promised_is_read(tmp_path: Path, suffix: str, codec: str) -> None:
    out = read(av_write(tmp_path / f"song.{suffix}", sound(2, rate=48000), codec, 48000))
    assert abs(len(out) - 2 * 48000) < 4096  # a frame of padding more, or in wma one that its encoder keeps


@pytest.mark.parametrize("name", ["song.raw", "song.vox", "song.gsm", "song.au", "-", "http:song", "file:song", "%d.wav", "a b?.m4a"])
def test_a_name_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for number, song in enumerate((Path("a.wav"), av_write(Path("a.m4a"), sound(1), "aac"))):
        if not number:
            soundfile.write(song, sound(1), RATE)
        assert len(read(song.rename(name))) >= RATE
    for content in (b"nothing at all", bytes(1000)):
        Path(name).write_bytes(content)
        with pytest.raises(AudioError, match="not an audio file"):
            read(Path(name))


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nsecret.aac\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>secret.m4a</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_what_a_playlist_names_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("secret.wav", sound(1), RATE)
    for suffix in ("aac", "m4a"):
        av_write(tmp_path / f"secret.{suffix}", sound(1), "aac")
    for name in ("song.mp3", "song.m3u8", "song.mpd", "song.sdp"):
        Path(name).write_text(PLAYLISTS[kind])
        with pytest.raises(AudioError, match="not an audio file"):
            AudioReader(Path(name))


@pytest.mark.parametrize("name", ["concat:secret.m4a|secret.m4a", "subfile,,start,0,end,0,,:secret.m4a", "async:secret.m4a"])
def test_a_name_that_looks_like_an_address_is_a_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    av_write(Path("secret.m4a"), sound(1), "aac")
    with pytest.raises(AudioError, match="No such file"):
        AudioReader(Path(name))
    Path(name).write_bytes(b"no music, but there")
    with pytest.raises(AudioError, match="not an audio file"):
        AudioReader(Path(name))


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
@pytest.mark.parametrize("change", ["grows", "is touched", "is replaced", "disappears"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, suffix: str, change: str) -> None:
    path = tmp_path / f"song.{suffix}"
    if suffix == "wav":
        soundfile.write(path, sound(10), RATE)
    else:
        av_write(path, sound(10), "aac")
    blocks = AudioReader(path).blocks()
    next(blocks)
    if change == "grows":
        with path.open("ab") as file:
            file.write(bytes(1000))
    elif change == "is touched":
        os.utime(path, (1, 1))
    elif change == "disappears":
        path.unlink()
    else:
        shutil.copy2(path, tmp_path / "twin")
        (tmp_path / "twin").replace(path)
    with pytest.raises(AudioError, match="was changed or taken away"):
        list(blocks)


def test_the_track_number_is_kept_whichever_name_it_has(tmp_path: Path) -> None:
    import av

    for suffix in ("m4a", "flac"):
        av_write(tmp_path / f"plain.{suffix}", sound(0.5), "aac" if suffix == "m4a" else "flac")
        with av.open(str(tmp_path / f"plain.{suffix}")) as source, av.open(str(tmp_path / f"a.{suffix}"), "w") as target:
            target.metadata["track"] = "7"
            stream = target.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        assert AudioReader(tmp_path / f"a.{suffix}").tags["tracknumber"] == "7"


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_a_part_is_the_same_as_that_part_of_the_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song.{suffix}"
    if suffix == "m4a":
        av_write(path, sound(4), "aac")
    else:
        soundfile.write(path, sound(4), RATE)
    whole = read(path)
    part = AudioReader(path, start=1.25, duration=1.5)
    assert part.samples == round(1.5 * RATE)
    first = round(1.25 * RATE)
    np.testing.assert_array_equal(np.concatenate(list(part.blocks())), whole[first : first + round(1.5 * RATE)])
    assert len(read(path, start=3.0, duration=100)) == len(whole) - 3 * RATE


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_rate_and_sample_format(tmp_path: Path, rate: int, subtype: str) -> None:
    wave = sound(0.1, 1, rate)
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype=subtype)
    out = read(tmp_path / "a.wav")
    np.testing.assert_allclose(out, wave, atol=1e-2 if subtype == "PCM_U8" else 1e-4)


def test_lossy_files_that_hold_less_than_a_block_fewer_samples_than_they_declare_are_whole(tmp_path: Path) -> None:
    """An mp3 in a wav, and Vorbis whose last page counts to the end of its block, as that taken out of a webm."""
    wave, vorbis = sound(1), tmp_path / "a.ogg"
    with soundfile.SoundFile(vorbis, "w", RATE, 2) as file:
        for start in range(0, len(wave), 4096):
            file.write(wave[start : start + 4096])
    with vorbis.open("rb") as raw:
        *pages, last = ogg_pages(raw)
    last = last[:6] + (len(wave) + 3000).to_bytes(8, "little") + last[14:]
    last = last[:22] + ogg_checksum(last).to_bytes(4, "little") + last[26:]
    vorbis.write_bytes(b"".join((*pages, last)))
    for path in (vorbis, av_write(tmp_path / "a.wav", wave, "libmp3lame")):
        declared = soundfile.info(path).frames
        assert len(wave) <= len(read(path)) < declared


def test_float_beyond_full_scale_is_kept(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 3 * sound(0.1), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), 3 * sound(0.1))


def test_a_wav_that_was_piped_and_does_not_know_its_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(1), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read(path)) == RATE


def test_a_flac_that_was_piped_and_does_not_know_its_length_is_read(tmp_path: Path) -> None:
    path, wave = tmp_path / "a.flac", sound(7)
    soundfile.write(path, wave, RATE)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the number of samples: the low 36 bits of 8 bytes of the first block
    data[22:26] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_allclose(read(path), wave, atol=2**-15)
    path.write_bytes(data[: len(data) // 2])
    assert len(read(path, start=1, duration=1)) == RATE


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "m4a", "aiff"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"song.{suffix}"
    if suffix == "m4a":
        av_write(path, sound(5), "aac", movflags="faststart")
    else:
        wave = sound(5)
        with soundfile.SoundFile(path, "w", RATE, 2) as file:
            for start in range(0, len(wave), 4096):
                file.write(wave[start : start + 4096])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        read(path)


@pytest.mark.parametrize("junk", [b"TAG" + b"Song".ljust(125, b"\0"), bytes(range(200, 232)), b"\xff" * 40])
def test_what_is_appended_to_a_whole_m4a_is_no_loss(tmp_path: Path, junk: bytes) -> None:
    path = av_write(tmp_path / "a.m4a", sound(1), "aac")
    whole = read(path)
    path.write_bytes(path.read_bytes() + junk)
    np.testing.assert_array_equal(read(path), whole)


LYRICS = b"LYRICSBEGIN" + b"[00:01]words\r\n" * 1000 + b"013011LYRICSEND"


@pytest.mark.parametrize("junk", [bytes(3000), LYRICS, bytes(range(200, 232))])
def test_what_follows_the_last_frame_of_an_mp3_is_no_loss_but_between_frames_it_is(tmp_path: Path, junk: bytes) -> None:
    path = av_write(tmp_path / "a.mp3", sound(2), "libmp3lame", write_xing="0")
    whole, data = read(path), path.read_bytes()
    path.write_bytes(data + junk)
    np.testing.assert_array_equal(read(path), whole)
    middle = len(data) // 2
    path.write_bytes(data[:middle] + junk + data[middle:])
    with pytest.raises(AudioError, match="damaged"):
        read(path)


@pytest.mark.parametrize("loss", [bytes, lambda count: bytes(range(256)) * (count // 256), lambda count: b"<p>404</p>" * (count // 10)])
def test_an_mp3_of_which_the_end_was_lost_is_an_error(tmp_path: Path, loss: Callable[[int], bytes]) -> None:
    path = av_write(tmp_path / "a.mp3", sound(2), "libmp3lame", write_xing="0")
    data = path.read_bytes()
    for share in (0.5, 0.8):
        kept = int(share * len(data))
        path.write_bytes(data[:kept] + loss(len(data) - kept))
        with pytest.raises(AudioError, match="damaged"):
            read(path)


def test_what_is_no_audio_is_an_error(tmp_path: Path) -> None:
    cases = {
        "missing.wav": None,
        "text.mp3": b"This is not music.\n" * 100,
        "empty.wav": b"",
        "headeronly.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
        "id3.mp3": b"ID3\x03\x00",
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError, match=name) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match="folder"):
        read(tmp_path)


def test_no_samples_many_channels_and_nan_are_errors(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), RATE)
    bad = sound(2)
    bad[RATE, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", sound(0.1), 4000)
    for name, message in [("none", "no audio"), ("six", "6 channels"), ("nan", r"NaN or infinite\) at 1\.000 s"), ("slow", "4000 Hz")]:
        with pytest.raises(AudioError, match=message):
            read(tmp_path / f"{name}.wav")
    with pytest.raises(AudioError, match="before the start"):
        soundfile.write(tmp_path / "short.wav", sound(1), RATE)
        read(tmp_path / "short.wav", start=5.0)


def test_reading_needs_no_ffmpeg_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = av_write(tmp_path / "song.m4a", sound(1), "aac")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert len(read(path)) >= RATE


@pytest.mark.parametrize("rates", [(44100, 48000), (8000, 44100), (192000, 44100), (44100, 44100)])
def test_resampling_in_pieces_equals_resampling_at_once(rates: tuple[int, int]) -> None:
    import soxr

    wave = sound(1.0, rate=rates[0])
    resampler = Resampler(*rates, channels=2)
    pieces = [resampler.push(wave[start : start + 1000]) for start in range(0, len(wave), 1000)]
    pieces.append(resampler.push(wave[:0], last=True))
    np.testing.assert_allclose(np.concatenate(pieces), soxr.resample(wave, *rates), atol=1e-4)


def sparse_rf64(path: Path, samples: int, end: np.ndarray) -> Path:
    """An RF64 of so many float32 stereo samples, silence (a hole on the disk) but for its end."""
    size = samples * 8
    header = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE"
    header += b"ds64" + struct.pack("<IQQQI", 28, size + 72, size, samples, 0)
    header += b"fmt " + struct.pack("<IHHIIHH", 16, 3, 2, RATE, RATE * 8, 8, 32) + b"data" + struct.pack("<I", 0xFFFFFFFF)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size - end.nbytes)
        file.seek(0, 2)
        file.write(end.astype("<f4").tobytes())
    return path


def test_the_end_of_an_rf64_above_4_gib_is_read(tmp_path: Path) -> None:
    samples, end = 5 * 2**30 // 8, sound(1)
    path = sparse_rf64(tmp_path / "long.wav", samples, end)
    reader = AudioReader(path, start=(samples - RATE) / RATE)
    assert reader.samples == RATE
    np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), end)
    assert AudioReader(path).samples == samples
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1000)
    with pytest.raises(AudioError, match="1000 of"):
        AudioReader(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "mp3"])
def test_a_part_is_what_reading_all_gives_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, sound(3), RATE)
    whole = read(path)
    for start, duration in ((0.5, 1.0), (1.7, 10.0), (2.999, 0.0001)):
        first = round(start * RATE)
        np.testing.assert_array_equal(read(path, start=start, duration=duration), whole[first : first + max(1, round(duration * RATE))])
    with pytest.raises(AudioError, match="ends at"):
        read(path, start=4)


@pytest.mark.parametrize("container, subtype", [("WAV", "GSM610"), ("WAV", "G721_32"), ("AU", "G721_32"), ("WAV", "ULAW")])
def test_codecs_that_cannot_be_sought_are_read_from_their_start(tmp_path: Path, container: str, subtype: str) -> None:
    path = tmp_path / "song"
    soundfile.write(path, sound(1, channels=1, rate=8000), 8000, subtype, format=container)
    whole = read(path)
    assert len(whole) >= 8000
    np.testing.assert_array_equal(read(path, start=0.5, duration=0.25), whole[4000:6000])
