#!/usr/bin/env python3
"""Train, validate and test a separator on PolSESS: speech in Polish, in real-life noise.

> python train.py hparams/spmamba.yaml --data_folder /data/PolSESS_C --task ES

Tasks: ES one speaker enhanced, EB both enhanced, SB both separated. The input's variant (which of scene, event and
reverb stay in the mixture; MM-IPC) is drawn anew for each example in training and fixed by the ID in valid and test.
The same command resumes a stopped run; a finished one is only tested again.
"""

import sys
from functools import partial

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

from polsess_prepare import prepare_polsess
from speechbrain.core import Stage

from lobes.data.audio import read_mono
from lobes.data.augmentation.chain import KEYS, augmentation_of
from lobes.data.datasets import epoch_clock, examples, read_rows
from lobes.data.manifest import SPLITS
from lobes.data.sample import check_sample
from lobes.data.seeding import item_rng
from lobes.data.shards.prepare import by_format
from lobes.errors import exit_on_user_error
from lobes.objectives.separation import OPTIONS, separation_loss
from lobes.polsess.curriculum import check_curriculum, variants_at
from lobes.polsess.fixed import FixedVariants, heard
from lobes.polsess.layout import LIMITED
from lobes.polsess.manifest import TYPES
from lobes.polsess.mmipc import draw_variant, render, render_parts
from lobes.polsess.remix import Remixer, layers_of
from lobes.polsess.variants import ALL_VARIANTS, all_parts, check_variants, compatible, in_improvement_mean
from lobes.runs.main_process import on_main
from lobes.training.batches import to_device
from lobes.training.brain import SeparationBrain
from lobes.training.launch import start

DATA_OPTIONS = ("task", "sample_rate", "seed", "curriculum", "training_signal_len")


class Separation(SeparationBrain):
    """A separator under the clamped negative of `loss` with the best permutation. B batch, T samples, S sources."""

    group_by = "variant"  # all means are unweighted means over the variants

    def compute_forward(self, batch, stage):
        """Estimate the sources [B,T,S] of the mixtures [B,T]."""
        batch = to_device(batch, self.device)
        mix, lengths = batch.mix_sig
        return self.modules.separator(mix, lengths)

    def compute_objectives(self, predictions, batch, stage):
        """The mean loss of the batch in dB, lower is better; validation also counts SI-SDR and its gain."""
        mix, lengths = batch.mix_sig
        targets, _ = batch.sources_sig
        if stage != Stage.TRAIN:
            self.count_scores(predictions, batch)
        options = {name: getattr(self.hparams, name) for name in OPTIONS}
        return separation_loss(predictions, targets, lengths, mix, **options).mean()

    def improves(self, batch):
        """Whether each item's improvement means something: in ES and EB, variant C is the target itself."""
        return [in_improvement_mean(self.hparams.task, variant) for variant in batch.variant]


def dataio_prep(hparams):
    """Build the three datasets {id, mix_sig [T], sources_sig [T,S], variant}, and the clock that holds the epoch."""
    clock = epoch_clock()
    rows = {split: read_rows(hparams["save_folder"], split, hparams["data_folder"], TYPES) for split in SPLITS}
    if hparams["variants"]:
        rows["train"] = [row for row in rows["train"] if compatible(row["has_reverb"], hparams["variants"])]
    settings = {name: hparams[name] for name in DATA_OPTIONS}  # loader workers get no more: the rest may not pickle
    makers = {split: partial(fixed_example, settings, by_id(rows[split])) for split in ("valid", "test")}
    makers["train"] = partial(training_example, settings, by_id(rows["train"]), clock, *draws(hparams, rows["train"]))
    known = {split: [heard(row, hparams["task"]) for row in rows[split]] for split in SPLITS}
    return {split: examples(known[split], make, ("variant",)) for split, make in makers.items()}, clock


def by_id(rows):
    """The rows of a manifest by their ID."""
    return {row["ID"]: row for row in rows}


def draws(hparams, rows):
    """What training draws from: variants where no curriculum names them, other rows' layers or None, augmentation."""
    usual = hparams["variants"] or [name for name in ALL_VARIANTS if in_improvement_mean(hparams["task"], name)]
    remixer, rate = None, hparams["sample_rate"]
    if hparams["dynamic_mixing"]:
        remixer = Remixer(rows, read_mono, rate, ssr_db=tuple(hparams["mixing_levels"]))
    known = {name: hparams[name] for name in KEYS if name != "mixing_snr"}
    return usual, remixer, augmentation_of({**known, "sample_rate": rate})


def fixed_example(settings, rows, ID):
    """Valid and test, as `lobes evaluate` makes them: the variant follows from the ID."""
    layout = FixedVariants(settings["task"])
    mix, sources, conditions, _ = layout.item(rows[ID], lambda path: read_mono(path, settings["sample_rate"]))
    return mix, sources, conditions[layout.group_by]


def training_example(settings, rows, clock, usual, remixer, augmentation, ID):
    """Training: variant, remix, augmentation and cut are drawn anew in every epoch, seeded by (seed, epoch, ID)."""
    task, seed, samples = (settings[name] for name in ("task", "seed", "training_signal_len"))
    row, epoch = rows[ID], int(clock)
    indoor, rng = row["has_reverb"], item_rng(seed, epoch, ID)
    variant = draw_variant(rng, indoor, variants_at(settings["curriculum"], epoch) or usual)

    def rngs(stage):  # speeds are drawn between variant and cut, as in runs of earlier versions
        return rng if stage == "speed" else item_rng(seed, epoch, ID, stage)

    if remixer is None and not augmentation.changes_sources:
        mix, sources = render(task, variant, indoor, reader(row, settings))
    else:
        parts = remixer.remix(row, rng) if remixer else stored_parts(row, settings)
        mix, sources = render_parts(task, variant, augmentation.sources(parts, layers_of(indoor), rngs))
    start = int(rng.integers(max(1, len(mix) - samples + 1)))
    cut = slice(start, start + samples)
    return augmentation.mixture(mix[cut], sources[cut].sum(1), rngs), sources[cut], variant


def reader(row, settings):
    """Read a part of an example by its name."""
    return lambda part: read_mono(row[f"{part}_wav"], settings["sample_rate"])


def stored_parts(row, settings):
    """Read all stored parts of an example."""
    return {name: reader(row, settings)(name) for name in all_parts(row["has_reverb"])}


def check(settings):
    """Refuse variants that there are not, before anything is done."""
    if settings["variants"] is not None:
        check_variants(settings["variants"])
    if settings["curriculum"] is not None:
        check_curriculum(settings["curriculum"])


def main(argv):
    """Prepare, train, test."""
    hparams, run_opts = start(argv, __file__, check)
    options = ("seed", "drop_same_speaker", "verify_sum", "check_files", "sample_rate", "skip_prep")
    most = hparams["max_train_items"] and {"train": hparams["max_train_items"]}
    folders = [hparams["data_folder"], hparams["save_folder"]]
    given = {name: hparams[name] for name in options}
    on_main(by_format(prepare_polsess, hparams), *folders, max_samples=most, **given)
    checks = {name: hparams[name] for name in ("sample_checks", "verify_sum")}
    on_main(check_sample, *folders, limited_parts=LIMITED, **checks)
    datasets, clock = dataio_prep(hparams)
    brain = Separation(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit_and_test(datasets, clock)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
