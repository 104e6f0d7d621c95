#!/usr/bin/env python3
"""The results of gpu_day.py as Markdown tables, for docs/scan.md, docs/gpu.md and recipes/PolSESS/RESULTS.md.

> python scripts/gpu_day_tables.py DAY            # show them
> python scripts/gpu_day_tables.py DAY --write    # put them into the three documents

Parts that have not run are left out. Results of a dry run are shown, and never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_day_rows import FAILED, PARTS, PartFile, Row, path_of

from lobes.data import arguments
from lobes.errors import UserError, exit_on_user_error
from lobes.reports.tables import as_markdown, replace_section

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("forward", "forward+backward")
IMPLEMENTATIONS = ("triton", "mamba_ssm", "bridge")
SHORT = 129  # steps; shapes up to it have the higher target
TARGETS = {True: 2.0, False: 1.0}  # times as fast as mamba_ssm, forward with backward on the device: short, others
EXP_PER_CLOCK = 16  # of a multiprocessor
# Where the sections of a document come from.
PLACES = {
    "docs/scan.md": ("gpu-scan", (0, 1, 2, 3)),
    "docs/gpu.md": ("gpu-steps", (4,)),
    "recipes/PolSESS/RESULTS.md": ("gpu-trainings", (5,)),
}
Parts = Mapping[int, dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> None:
    """Show the tables, and write them if asked."""
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("day", type=Path, help="folder with part_0.json and so on")
    parser.add_argument("--write", action="store_true", help="into the documents")
    options = parser.parse_args(argv)
    parts = read(options.day)
    print("\n\n".join(section(parts, [number]) for number in parts))
    if options.write:
        if dry(parts):
            raise UserError(f"{options.day}: comes from a dry run on a CPU, which says nothing about a GPU.")
        for name, (mark, numbers) in PLACES.items():
            if text := section(parts, numbers):
                replace_section(ROOT / name, mark, text)
                print(f"written to {name}")


def read(day: Path) -> dict[int, dict[str, Any]]:
    """The files of the parts that have run, by number."""
    known = {number: PartFile(path_of(day, number)) for number in range(len(PARTS))}
    found = {number: file.content for number, file in known.items() if file.content}
    if not found:
        raise UserError(f"{day}: no part_0.json or other part in it. Give the folder that gpu_day.py wrote to.")
    return found


def dry(parts: Parts) -> bool:
    """Whether any part comes from a CPU."""
    return any(content["dry"] for content in parts.values())


def section(parts: Parts, numbers: Sequence[int]) -> str:
    """The tables of some parts with where they come from."""
    texts = []
    for number in numbers:
        if number not in parts:
            continue
        content = parts[number]
        good = {label: row for label, row in content["rows"].items() if FAILED not in row}
        failed = [f"Failed: {label}: {row[FAILED]}" for label, row in content["rows"].items() if FAILED in row]
        origin = f"`{content['command']}`, commit {content['commit']}; {content['machine']}."
        texts += [*([DRY_NOTE] if content["dry"] else []), origin, OF_PART[number](good, parts), *failed]
    return "\n\n".join(text for text in texts if text)


DRY_NOTE = "**A dry run on a CPU:** what was timed says nothing about a GPU."


# ------------------------------------------------------------------ parts 0 to 3, for docs/scan.md
def device_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """The copy rate and the errors."""
    lines = []
    if "copy" in rows:
        lines.append(f"Copy rate, read and written: {rows['copy']['terabytes_per_second']:g} TB/s.")
    if "sanitizer" in rows:
        lines.append(f"Memory of a small call: {rows['sanitizer']['checker']}, no error.")
    right = {label.split()[1]: row for label, row in rows.items() if label.startswith("right ")}
    kinds = list(next(iter(right.values()))["errors"]) if right else []
    cells = [[label, *(f"{row['errors'][kind]:.0e}" for kind in kinds)] for label, row in right.items()]
    note = "Largest error of output, last state and gradients against fp64, as a share of the largest value:"
    return "\n\n".join([" ".join(lines), *([note, as_markdown(["shape", *kinds], cells)] if cells else [])]).strip()


def scan_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """The times of both kernels with the target."""
    left_out = rows.get("mamba_ssm", {}).get("left_out")
    note = f"mamba_ssm was left out: {left_out}" if left_out else ""
    columns = ("Lobes", "mamba_ssm", "mamba_ssm through our backend")
    header = ["(B, D, L, N)", *(f"{name}, ms" for name in columns), "times mamba_ssm", "target", "on the wall"]
    header += ["TB/s", "share of exp2", "MB"]
    cells = [scan_row(label, row, parts) for label, row in rows.items() if "triton" in row]
    return "\n\n".join(text for text in (note, as_markdown(header, cells) if cells else "", SCAN_NOTE) if text)


SCAN_NOTE = (
    "Times are forward / forward with backward on the device, medians. The target, forward with backward: 1.0 times "
    f"mamba_ssm, 2.0 for up to {SHORT} steps. TB/s counts what forward with backward must read and write; the share of "
    "exp2 is the time that one exponential for each state and step takes at full rate, over that of forward."
)


def scan_row(label: str, row: Row, parts: Parts) -> list[str]:
    """The cells of a shape."""
    known = [name for name in IMPLEMENTATIONS if name in row]
    times = {name: [device_ms(row[name][kind]) for kind in KINDS] for name in known}
    cells = [" / ".join(f"{value:.3f}" for value in times[name]) if name in times else "-" for name in IMPLEMENTATIONS]
    ours, megabytes = times["triton"], row["triton"].get("megabytes")
    return [
        f"{label} ({', '.join(map(str, row['shape']))})",
        *cells,
        *against(row, times),
        f"{bytes_of(row['shape']) / ours[1] / 1e9:.2f}",
        exp_share(row["shape"], ours[0], parts),
        "-" if megabytes is None else f"{megabytes:.0f}",
    ]


def against(row: Row, times: Mapping[str, Sequence[float]]) -> list[str]:
    """How many times as fast as mamba_ssm: forward with backward on the device, with the target, and on the wall."""
    target = TARGETS[row["shape"][2] <= SHORT]
    if "mamba_ssm" not in times:
        return ["-", f"{target:.1f}", "-"]
    ratio = times["mamba_ssm"][1] / times["triton"][1]
    other, ours = (row[name][KINDS[1]]["wall_ms"] for name in ("mamba_ssm", "triton"))
    return [f"{ratio:.2f}", f"{target:.1f}: {'met' if ratio >= target else 'missed'}", f"{other / ours:.2f}"]


def device_ms(times: Mapping[str, Any]) -> float:
    """The time on the device; where no graph could be captured, that on the wall."""
    return float(times["device_ms"] or times["wall_ms"])


def bytes_of(shape: Sequence[int]) -> float:
    """What forward with backward must read and write of rows, saved states and sums of maps, in bytes.

    Example
    -------
    >>> bytes_of((1, 1, 1, 16))  # with 8 steps between saved states
    68.0
    """
    from lobes.scan.cuda.plan import chunk_steps

    batch, channels, steps, states = shape
    return batch * channels * steps * (44 + states / 2 + 8 * states / chunk_steps(states))


def exp_share(shape: Sequence[int], milliseconds: float, parts: Parts) -> str:
    """How much of the forward pass the exponentials would take at full rate; unknown where part 0 has not run."""
    facts = parts.get(0, {}).get("rows", {}).get("facts", {})
    clock = facts.get("nvidia-smi", {}).get("clocks.max.sm", "")
    if not clock.isdigit() or "multiprocessors" not in facts:
        return "-"
    batch, channels, steps, states = shape
    rate = EXP_PER_CLOCK * facts["multiprocessors"] * float(clock) * 1e3  # in a millisecond
    return f"{batch * channels * steps * states / rate / milliseconds:.0%}"


def tuning_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """The constants that were found."""
    row = rows.get("together")
    if row is None:
        return "No constants yet: part 2 has not come to its end."
    words = [", ".join(f"{key}={value}" for key, value in choice.items()) for choice in row["choices"]]
    verdict = "worth writing" if row["keep"] else "not worth writing"
    return f"Constants: {'; '.join(words)}. {row['gain']} times as fast as now over all shapes: {verdict}."


def tests_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """The counts of tests."""
    cells = [[f"`{name}`", ", ".join(f"{n} {end}" for end, n in row["tests"].items())] for name, row in rows.items()]
    return as_markdown(["tests", "ended"], cells) if cells else ""


# ------------------------------------------------------------------ part 4, for docs/gpu.md
def steps_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """Seconds and memory of a step, one line for each preset."""
    presets = dict.fromkeys(row["preset"] for row in rows.values())
    cells = []
    for preset in presets:
        both = [rows.get(f"{preset} {how}") for how in ("bf16", "fp32")]
        known = [f"{r['step_seconds'] * 1e3:.0f} ms, {r['megabytes'] / 1024:.2f} GB" if r else "-" for r in both]
        cells.append([f"`{preset}`", *known])
    seconds = next(iter(rows.values()))["seconds"] if rows else 4
    note = f"A training step, batch 1, {seconds:g} s of audio; the memory is the most that PyTorch's tensors took."
    return f"{note}\n\n{as_markdown(['preset', 'bf16', 'fp32'], cells)}" if cells else ""


# ------------------------------------------------------------------ part 5, for RESULTS.md
def trainings_text(rows: Mapping[str, Row], parts: Parts) -> str:
    """The scores of the trained networks."""
    trained = [row for row in rows.values() if "preset" in row]
    header = ["task", "network", "steps", "minutes", "SI-SDR", "SI-SDRi", "PESQ", "STOI"]
    cells = [
        [row["task"], row["preset"], f"{row['steps']:,}", f"{row['training_seconds'] / 60:.1f}", *map(shown, scores)]
        for row in trained
        for scores in [[row[name] for name in ("si_sdr", "si_sdri", "pesq", "stoi")]]
    ]
    note = "Trainings on a GPU on the corpora of real speech of `realdata.py`, seed 1: means over the variants."
    return f"{note}\n\n{as_markdown(header, cells)}" if cells else ""


def shown(value: float | None) -> str:
    """A score in two digits."""
    return "-" if value is None else f"{value:.2f}"


OF_PART: dict[int, Callable[[Mapping[str, Row], Parts], str]] = {
    0: device_text,
    1: scan_text,
    2: tuning_text,
    3: tests_text,
    4: steps_text,
    5: trainings_text,
}


if __name__ == "__main__":
    with exit_on_user_error():
        main()
