"""Stands in for train.py: writes what a run leaves, in no time. Copied by the tests of demo.py and realdata.py."""

import csv
import json
import math
import struct
import sys
import wave
from pathlib import Path


def main(hparams, options):
    """Write all files of a finished run; seed 666 fails."""
    out = Path(options["--output_folder"])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "starts.txt").open("a") as file:
        file.write(json.dumps(options) + "\n")
    if options["--seed"] == "666":
        sys.exit(1)
    gain = 1.5 if "spmamba" in options["--preset"] else 2.5
    facts = {"steps": 40, "seconds": 12.0, "commit": "c0ffee", "machine": "a fast one"}
    (out / "train_time.json").write_text(json.dumps(facts))
    (out / "summary.json").write_text(json.dumps(summary(gain, options["--task"])))
    write(out / "learning_curve.csv", [curve_row(step, gain * step / 40) for step in (20, 40)])
    scores = {"si_sdr": 4.0, "si_sdri": gain, "sdr": "", "sdri": "", "pesq": "", "stoi": "", "status": "ok"}
    write(out / "per_utterance.csv", [{"id": f"item{n}", "variant": "SER", **scores} for n in range(4)])
    for item in range(4):
        for name, level in (("mix", 9000), ("s1", 6000), ("s1_hat", 5000)):
            tone(out / "audio" / f"item{item}" / f"{name}.wav", 0.1 * (item + 1), level)


def summary(gain, task):
    """As lobes.evaluation.summary.summarise: variant C has no improvement in ES."""
    one = {"n": 2, "si_sdr": 3.0 + gain, "si_sdri": gain, "sdri": gain, "pesq": 1.5, "stoi": 0.7}
    one |= {"pesq_in": 1.25, "stoi_in": 0.725}
    nothing = dict.fromkeys(("si_sdri", "sdri", "pesq_in", "stoi_in"))
    clean = one if task == "SB" else {**one, "si_sdr": 20.0, "pesq": 4.0, **nothing}
    up = {"pesq": {"improved": 0.9}, "stoi": {"improved": 0.4}}
    return {"groups": {"SER": one, "SE": one, "C": clean}, "mean": one, "improved_share": 0.75, "against_input": up}


def curve_row(step, score):
    """A row of learning_curve.csv."""
    return {"step": step, "seconds": 0.3 * step, "epoch": 1, "train_loss": -score, "valid_si_sdri": score, "lr": 0.1}


def write(path, rows):
    """Write dicts as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def tone(path, frequency, level):
    """Write half a second of a sine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [int(level * math.sin(frequency * t)) for t in range(4000)]
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))


if __name__ == "__main__":
    words = [word for word in sys.argv[2:] if word != "--noprogressbar"]
    main(sys.argv[1], dict(zip(words[::2], words[1::2], strict=True)))
