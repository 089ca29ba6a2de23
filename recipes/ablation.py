"""Trains and scores the settings of a comparison: `python -m recipes.ablation RECIPE SONGS OUT [NAME=VALUE ...] [--trainer.OPTION ...]`.

RECIPE: a folder with base.yaml, which all settings share, and comparison.yaml, which lists them and their seeds. SONGS: folders `train`
and `valid`. OUT gets a folder a run (checkpoint, model, scores) and table.md; what is there already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from recipes.export import export_run
from separate.scoring import PROTOCOLS

Rows = list[dict[str, str]]
COLUMNS = [name for name in PROTOCOLS if name != "SI-SDR"]


def train(recipe: Path, setting: dict[str, Any], seed: int, songs: Path, run: Path, arguments: list[str]) -> None:
    """One run, in a process of its own, unless its model is there; the seconds it took go to run/seconds."""
    if (run / "model" / "card.json").exists():
        return
    shutil.rmtree(run, ignore_errors=True)  # what an interrupted run left
    options = {"trainer.default_root_dir": run, "data.init_args.root": songs, "data.init_args.seed": seed, "seed_everything": seed}
    command = [sys.executable, "-W", "ignore", "-m", "recipes.train", "fit"]
    for name in ["base.yaml", *setting["configs"]]:
        command += ["--config", str(recipe / name)]
    for name, value in {**options, **setting.get("options", {})}.items():
        command += [f"--{name}", str(value)]
    began = time.perf_counter()
    subprocess.run([*command, *arguments], check=True)
    (run / "seconds").write_text(f"{time.perf_counter() - began:.0f}\n")
    (checkpoint,) = run.rglob("last.ckpt")
    notes: dict[str, object] = {
        "name": run.name,
        "description": f"one run of {recipe.name}, for comparison only",
        "licence": "not for distribution",
    }
    export_run(checkpoint, next(run.rglob("config.yaml")), notes, run / "model")


def score(songs: Path, run: Path, jobs: int) -> Rows:
    """A run's scores on the validation songs."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "recipes.score",
        songs / "valid",
        run / "scores",
        "--model",
        run / "model",
        "--jobs",
        jobs,
        "--fast",  # as the recipes' tables, which are older than the second pass
    ]
    subprocess.run(list(map(str, command)), check=True)
    with (run / "scores" / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def table(scores: dict[tuple[str, int], Rows], seconds: dict[tuple[str, int], float]) -> str:
    """Markdown: by track and stem a line a setting, dB as mean over seeds and, with several, half the range between them."""
    groups: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for (setting, _), rows in scores.items():
        for row in rows:
            groups[row["track"], row["stem"]][setting][row["protocol"]].append(float(row["score"]))
    lines = [f"| track | stem | setting | {' | '.join(COLUMNS)} |", f"|---|---|---|{'---|' * len(COLUMNS)}"]
    for (track, stem), settings in sorted(groups.items()):
        for setting, found in settings.items():
            lines.append(f"| {track} | {stem} | {setting} | " + " | ".join(spread(found[name]) for name in COLUMNS) + " |")
    stems = sorted({row["stem"] for rows in scores.values() for row in rows})
    columns = [(stem, protocol) for stem in stems for protocol in ("global SDR", "museval SDR")]
    lines += ["", "Mean over tracks:", "", f"| setting | seed | minutes | {' | '.join(' '.join(column) for column in columns)} |"]
    lines += [f"|---|---|---|{'---|' * len(columns)}"]
    for (setting, seed), rows in scores.items():
        values = [[float(row["score"]) for row in rows if (row["stem"], row["protocol"]) == column] for column in columns]
        known = [[value for value in column if math.isfinite(value)] for column in values]
        cells = " | ".join(f"{sum(column) / len(column):.2f}" if column else "-" for column in known)
        lines.append(f"| {setting} | {seed} | {seconds[setting, seed] / 60:.1f} | {cells} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Mean, and half the range where there are several values; a dash where there is none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "-"
    return f"{sum(known) / len(known):.2f}" + (f" ± {(max(known) - min(known)) / 2:.2f}" if len(known) > 1 else "")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.ablation", description=__doc__)
    for name in ("recipe", "songs", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help="fill {NAME} in comparison.yaml")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    given = sys.argv[1:] if arguments is None else arguments
    end = next((place for place, argument in enumerate(given) if re.match(r"--\w+\.", argument)), len(given))
    options, rest = parser.parse_args(given[:end]), given[end:]
    text = (options.recipe / "comparison.yaml").read_text()
    for value in options.values:
        name, equals, filled = value.partition("=")
        if not equals or f"{{{name}}}" not in text:
            parser.error(f"{value}: comparison.yaml asks for no such NAME=VALUE")
        text = text.replace(f"{{{name}}}", json.dumps(filled, ensure_ascii=False)[1:-1])  # quoted, as YAML does it too
    if missing := re.search(r'"\{(\w+)\}"', text):
        parser.error(f"comparison.yaml asks for {missing[1]}=VALUE")
    settings = yaml.safe_load(text)
    runs = [(name, seed) for name in settings for seed in settings[name]["seeds"]]

    def train_and_score(name: str, seed: int) -> Rows:
        run = options.out / f"{name}-{seed}"
        train(options.recipe, settings[name], seed, options.songs, run, rest)
        return score(options.songs, run, jobs=max(1, 2 // options.jobs))

    scores, seconds = {}, {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for (name, seed), rows in zip(runs, pool.map(lambda run: train_and_score(*run), runs), strict=True):
            scores[name, seed] = rows
            seconds[name, seed] = float((options.out / f"{name}-{seed}" / "seconds").read_text())
            (options.out / "table.md").write_text(table(scores, seconds))
    print(table(scores, seconds))


if __name__ == "__main__":
    main()
