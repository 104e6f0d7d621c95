"""Fuzz targets: the files of an exported model, which gives the same output or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from fuzz_changes import EVIL, STRANGE, Rng, change_bytes, change_text

from lobes.config import load, resolve
from lobes.errors import UserError
from lobes.inference import Separator, export_pretrained
from lobes.inference.loading import load_folder

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"preset": "convtasnet_tiny", "task": "SB"}
META = "end-of-epoch: true\nsi_sdr: 1.0\nunixtime: 0\n"


class Case(NamedTuple):
    """One changed file of a model's folder, with its sums or without."""

    name: str
    data: bytes
    sums: bool
    what: str


class Target:
    """An export with its YAML file changed."""

    name = "exports"
    sums_share = 0.3  # with SHA256SUMS every change is refused there

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "model"
        make_export(self.folder)
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}
        self.mix = torch.randn(1, 800, generator=torch.Generator().manual_seed(0))
        self.expected = self._output()

    def change(self, rng: Rng) -> Case:
        """The YAML file, changed by letters or by bytes."""
        old = self.files["hyperparams.yaml"]
        if rng.random() < 0.2:
            data, what = change_bytes(rng, old, range(len(old)))
        else:
            text, what = change_text(rng, old.decode(), (*EVIL, *EVIL, *STRANGE))
            data = text.encode("utf-8", "surrogatepass")
        return Case("hyperparams.yaml", data, rng.random() < self.sums_share, what[:200])

    def write(self, case: Case) -> None:
        """Put the folder together with one file changed."""
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)
        if not case.sums:
            (self.folder / "SHA256SUMS").unlink()
        (self.folder / case.name).write_bytes(case.data)

    def run(self, case: Case) -> str:
        """Load the model: what is wrong with it, or nothing. Without sums a number may be another one."""
        self.write(case)
        output = self._output()
        return "another output, though there are sums" if case.sums and not torch.equal(output, self.expected) else ""

    def command(self, case: Case) -> list[str]:
        """The same on the command line."""
        self.write(case)
        return ["lobes", "separate", str(self.folder), str(ROOT / "README.md"), "-o", str(self.folder.parent / "out")]

    def _output(self) -> torch.Tensor:
        model = Separator.from_hparams(str(self.folder), run_opts={"device": "cpu"})
        return model.separate_batch(self.mix)


class Weights(Target):
    """An export with its weights, or its sums, cut or changed."""

    name = "weights"
    sums_share = 0.5

    def change(self, rng: Rng) -> Case:
        """A file of the folder, changed by bytes."""
        name = str(rng.choice(["masknet.ckpt", "masknet.ckpt", "masknet.ckpt", "SHA256SUMS"]))
        old = self.files[name]
        ends = [*range(200), *range(len(old) - 3000, len(old))] if name == "masknet.ckpt" else range(len(old))
        data, what = change_bytes(rng, old, list(ends))
        return Case(name, data, name == "SHA256SUMS" or rng.random() < self.sums_share, f"{name}: {what}")


RAN: list[object] = []


def canary(*arguments: object, **named: object) -> None:
    """What hostile files call."""
    RAN.append((arguments, named))


CALL = "fuzz_models.canary"
HOSTILE = (
    f"!apply:{CALL} [1]", f"!new:{CALL} [1]", f"!applyref:{CALL} [1]", f"!name:{CALL}", f"!!python/name:{CALL}",
    f"!!python/object/apply:{CALL} [1]", f"(!!python/object/apply:{CALL} [1])", f"!tuple (!apply:{CALL} [1])",
    f"!<!apply:{CALL}> [1]", f"!%61pply:{CALL} [1]", f"[&a !apply:{CALL} [1], *a]", f"{{? !new:{CALL} : 1}}",
    f"!apply:builtins.exec ['import fuzz_models; {CALL}(1)']", "!apply:getattr [!ref <masknet>, __class__]",
    "!ref <masknet.__class__>", "!module:fuzz_models", "!include:/etc/hostname", "!copy <masknet.forward>",
)  # fmt: skip
HARMLESS = ("# a remark", "", "remark: text", "number: 3", "list: [1, 2.5, null]", "pair: (1, 2)",
            "twice: !ref <num_spks>", "text: '#1: a'", "same: !copy <num_spks>", "mapping: {a: {b: 1}}")  # fmt: skip


class Checker(Target):
    """An export whose YAML file wants to run something, or has a line more: the one is refused, the other loaded."""

    name = "checker"
    sums_share = 0.0

    def change(self, rng: Rng) -> Case:
        """The YAML file with something hostile in it, or a line that changes nothing."""
        lines = self.files["hyperparams.yaml"].decode().splitlines(keepends=True)
        if rng.random() < 0.2:
            places = [n for n, line in enumerate(lines) if line[:1].isalpha()]
            at, line = int(rng.choice([*places, len(lines)])), str(rng.choice(HARMLESS))
            text = "".join([*lines[:at], line + "\n", *lines[at:]])
            return Case("hyperparams.yaml", text.encode(), False, f"good: {line!r} before line {at + 1}")
        text, what = change_text(rng, "".join(lines), HOSTILE)
        if rng.random() < 0.5:
            text, more = change_text(rng, text, HOSTILE)
            what = f"{what}, {more}"
        return Case("hyperparams.yaml", text.encode("utf-8", "surrogatepass"), False, what[:300])

    def run(self, case: Case) -> str:
        """Load the model: whether anything has run, or a good file was refused."""
        self.write(case)
        RAN.clear()
        try:
            load_folder(self.folder, "hyperparams.yaml", None, ())
        except UserError as error:
            if RAN or case.what.startswith("good"):
                return f"it ran {RAN}" if RAN else f"refused: {error}"
            raise
        return f"it ran {RAN}" if RAN else ""


def make_export(folder: Path) -> Path:
    """A model that was never trained, exported as `lobes export` does."""
    run = folder.parent / "run"
    save = run / "save" / "CKPT+2025-01-01+00-00-00+00"
    save.mkdir(parents=True, exist_ok=True)
    options = {**SMALL, "data_folder": str(folder.parent), "output_folder": str(run)}
    text = resolve(ROOT / "recipes" / "PolSESS" / "hparams" / "spmamba_tiny.yaml", options)
    (run / "hyperparams.yaml").write_text(text, encoding="utf-8")
    (save / "CKPT.yaml").write_text(META, encoding="utf-8")
    torch.save(load(text)["modules"]["separator"].state_dict(), save / "separator.ckpt")
    return export_pretrained(run, folder)
