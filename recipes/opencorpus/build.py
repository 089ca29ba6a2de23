"""Builds the open training corpus: `python -m recipes.opencorpus.build CORPUS OUT`.

What exists in OUT is kept, so an interrupted build goes on where it stopped. Ends with OUT/sources.json: minutes a stem,
licence and credit of every source, which a model card is made from.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from recipes.opencorpus.bands import build_bands
from recipes.opencorpus.catalogue import SOURCES
from recipes.opencorpus.composed import build_composed
from recipes.opencorpus.games import build_games
from recipes.opencorpus.recorded import build_recorded
from recipes.opencorpus.sampled import build_sampled
from recipes.opencorpus.singing import build_singing
from recipes.opencorpus.sinsy import build_sinsy
from recipes.opencorpus.spoken import SPEAKERS, build_spoken
from recipes.opencorpus.syllables import build_syllables
from recipes.opencorpus.transposed import build_transposed
from separate.errors import SeparateError

PARTS = ("recorded", "games", "transposed", "singing", "spoken", "syllables", "sinsy", "bands", "sampled", "composed")


def summarise(train: Path) -> list[dict[str, object]]:
    """One row a source under `train` that this corpus built: name, licence, licence_class, credit, songs and minutes by stem."""
    rows: list[dict[str, object]] = []
    for folder in sorted(path for path in train.iterdir() if path.is_dir() and not path.name.startswith(".")):
        songs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/song.json")) if not path.parent.name.startswith(".")]
        if not songs:
            logging.info("%s: no song in it has a song.json; left out of sources.json", folder)
            continue
        minutes: dict[str, float] = {}
        for song in songs:
            for stem, amount in song["minutes"].items():
                minutes[stem] = round(minutes.get(stem, 0.0) + amount, 2)
        first = {key: songs[0][key] for key in ("name", "licence", "licence_class", "credit")}
        rows.append({**first, "songs": len(songs), "minutes": minutes})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.opencorpus.build", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder with everything_is_free/, voices/, groove_midi/, ...")
    parser.add_argument("out", type=Path, help="folder for the songs")
    parser.add_argument("--no-share-alike", action="store_true", help="leave out share-alike and GPL sources")
    parser.add_argument("--only", choices=PARTS, help="build one part")
    parser.add_argument("--takes", type=int, default=1, help="renderings of each voice recording")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for part in [options.only] if options.only else PARTS:
            build(part, options.corpus, options.out, not options.no_share_alike, options.takes, options.seed)
    except (OSError, SeparateError) as error:  # a source or a program is missing
        parser.error(str(error))
    (options.out / "sources.json").write_text(json.dumps(summarise(options.out / "train"), indent=2))


def build(part: str, corpus: Path, out: Path, share_alike: bool, takes: int, seed: int) -> None:
    """One of PARTS. Raises FileNotFoundError where a source or a program is missing, AudioError where a source cannot be read."""
    train = out / "train"
    match part:
        case "recorded":
            build_recorded(corpus, out)
        case "games":
            build_games(train)
        case "transposed":
            build_transposed(corpus, train)
        case "singing":
            build_singing(corpus, train, recorded_voices(share_alike), takes, seed)
        case "spoken":
            build_spoken(train, seed)
        case "syllables":
            build_syllables(train, seed)
        case "sinsy":
            build_sinsy(train, seed)
        case "bands":
            build_bands(corpus, train, seed)
        case "sampled":
            build_sampled(corpus, train, seed)
        case "composed":
            build_composed(corpus, train, seed)


def recorded_voices(share_alike: bool) -> list[str]:
    """The voices that sing in the corpus; those of programs and announcements are not among them."""
    voices = [name for name, source in SOURCES.items() if name.startswith("voices_") and (share_alike or source.licence_class == "open")]
    return [voice for voice in (name.removeprefix("voices_") for name in voices) if voice not in (*SPEAKERS, "chu_lo", "sinsy")]


if __name__ == "__main__":
    main()
