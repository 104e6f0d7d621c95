#!/usr/bin/env python3
"""Kill trainings at random moments, give the same command again, and compare what they end with bit by bit.

> python scripts/campaign.py
> python scripts/campaign.py --kills 20 --only "dropout, 2 workers" --page ""

Each configuration trains once undisturbed. Then it trains again, killed by SIGKILL up to twelve times a run: in a
start, a batch, a save, a validation or the test, or some milliseconds later. All lives but one in ten are forked from
this process, which saves the imports; that one is a process of its own, under torchrun where there are two ranks.
A start is lost when it ends neither well nor by our kill. Where an end differs, the undisturbed run is repeated, since
only what repeats itself can be compared.

The seed decides the moments. Runs that are done are kept in the JSON file: after an interruption the same command on
the same commit goes on. The tables go into a section of the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaign_lives import preload
from campaign_runs import Campaign, Configuration
from campaign_table import section, verdict

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 5.0  # of a kill, with its share of all other work, on two cores with nothing else to do
ITEMS = {"train": 10, "val": 2, "test": 2}
# Dynamic mixing and speed changes are on in the recipe file.
COMMON = {
    "task": "SB", "device": "cpu", "N_epochs": 4, "training_signal_len": 2000, "warmup_steps": 5,
    "ckpt_interval_minutes": 0, "ckpt_interval_steps": 3, "test_metrics": "[si_sdr]", "n_audio_to_save": 0,
    "distributed_backend": "gloo",
}  # fmt: skip
DROPOUT = {"preset": "sepformer_tiny", "dropout": 0.2, "N": 16, "d_ffn": 32, "K": 50}
CONFIGURATIONS = {
    "dropout, 0 workers": Configuration(DROPOUT, share=25),
    "dropout, 2 workers": Configuration({**DROPOUT, "num_workers": 2}, share=20),
    "dropout, accumulation 4": Configuration({**DROPOUT, "grad_accumulation_factor": 4}, share=15),
    "dropout, bf16": Configuration({**DROPOUT, "precision": "bf16"}, share=15),
    "spmamba, bf16, 2 workers": Configuration({"precision": "bf16", "num_workers": 2}, share=10),
    "dropout, two ranks": Configuration(DROPOUT, share=15, ranks=2),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where no start was lost and nothing differs, else 1."""
    given = parse(arguments)
    shares = shares_of({name: CONFIGURATIONS[name].share for name in given.only or CONFIGURATIONS}, given.kills)
    print(f"{given.kills} kills: about {given.kills * SECONDS / 60:.0f} minutes on two idle cores", flush=True)
    preload()
    folder = given.work.resolve()
    head = {**origin(arguments), "seed": given.seed, "kills": given.kills, "fresh": given.fresh}
    known = known_result(given.output, head)
    if not known:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    options = {**COMMON, "data_folder": make_data(folder)}
    campaign = Campaign(folder, options, known or {**head, "references": {}, "runs": []}, given.output)
    for name, kills in shares.items():
        campaign.reach(name, CONFIGURATIONS[name], kills)
    if given.page:
        from lobes.reports.tables import replace_section

        replace_section(Path(given.page), "campaign", section(campaign.result))
    print(verdict(campaign.result))
    return 0 if campaign.holds() else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kills", type=int, default=200, help="in all (default: 200)")
    add("--seed", type=int, default=1234)
    add("--only", action="append", choices=list(CONFIGURATIONS), help="this configuration; may be given several times")
    add("--fresh", type=int, default=10, help="one life of so many is a process of its own; 0: none")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results" / "campaign.json")
    add("--work", type=Path, default=ROOT / "results" / "campaign", help="run folders; what is there is removed")
    add("--page", default=str(ROOT / "docs" / "checkpoints.md"), help="gets the tables; empty: none")
    return parser.parse_args(arguments)


def shares_of(weights: dict[str, int], kills: int) -> dict[str, int]:
    """Divide the kills by weights; the first configurations get what rounding leaves.

    Example
    -------
    >>> shares_of({"a": 25, "b": 25, "c": 25}, 20)
    {'a': 7, 'b': 7, 'c': 6}
    """
    total = sum(weights.values())
    shares = {name: kills * weight // total for name, weight in weights.items()}
    for name in list(shares)[: kills - sum(shares.values())]:
        shares[name] += 1
    return shares


def origin(arguments: Sequence[str] | None) -> dict[str, Any]:
    """The command, the commit and the machine."""
    from lobes.runs.provenance import commit, machine

    words = sys.argv[1:] if arguments is None else arguments
    return {
        "command": shlex.join(["python", "scripts/campaign.py", *words]),
        "commit": commit(),
        "machine": machine(),
    }


def known_result(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """What the same command on the same commit has found so far; with a plus behind it code has changed."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = all(known.get(key) == value for key, value in head.items())
    return known if same and not head["commit"].endswith("+") else {}


def make_data(folder: Path) -> str:
    """A corpus of a few mixtures of one second."""
    from lobes.polsess.corpus import make_corpus

    if not (folder / "corpus" / "mini").is_dir():
        os.environ["TQDM_DISABLE"] = "1"
        make_corpus(folder / "corpus", "mini", counts=ITEMS, seconds=1.0, seed=1, progress=False)
    return str(folder / "corpus" / "mini")


if __name__ == "__main__":
    sys.exit(main())
