#!/usr/bin/env python3
"""Train, validate and test an enhancement model on VoiceBank-DEMAND: one speaker in noise, at 16 kHz.

> python train.py hparams/mbs_net.yaml --data_folder /data/VoiceBank

Two objectives (`objective` in the YAML file): `compressed`, the losses of MP-SENet and SEMamba on compressed spectra,
and `published`, those of the open BSRNN. To both a metric discriminator can be added from an epoch on. The checkpoint
with the highest PESQ on two held-out speakers of the training set is tested. The same command resumes a stopped run.
"""

import sys
from functools import partial

from lobes.training.launch import announce

if __name__ == "__main__":
    announce()  # before the imports that take seconds

import numpy as np
from speechbrain.core import Stage
from voicebank_download import download as fetch
from voicebank_prepare import prepare_voicebank

from lobes.data.augmentation.chain import KEYS, augmentation_of
from lobes.data.augmentation.examples import StoredParts, mixer_of
from lobes.data.augmentation.parts import layers_of, summed
from lobes.data.datasets import epoch_clock, examples, read_rows
from lobes.data.manifest import SPLITS
from lobes.data.sample import check_sample
from lobes.data.seeding import item_rng
from lobes.data.shards.prepare import by_format
from lobes.errors import UserError, exit_on_user_error
from lobes.metrics.pcs import pcs_at_level
from lobes.nnet.level import item_level, to_unit_level
from lobes.nnet.power import to_power
from lobes.objectives.spectrum import compressed_spectrum_loss, magnitude, published_loss
from lobes.runs.main_process import on_main
from lobes.training.batches import to_device
from lobes.training.enhancement import EnhancementBrain
from lobes.training.launch import start

OBJECTIVES = ("compressed", "published")
DATA_OPTIONS = ("pcs_target", "training_signal_len", "seed")


class Enhancement(EnhancementBrain):
    """An enhancement model under losses between spectra, with a metric discriminator from an epoch on.

    B batch, T samples, L frames, F bins.
    """

    def fit(self, *args, **kwargs):
        """Train; the processes that compute PESQ end with it."""
        try:
            super().fit(*args, **kwargs)
        finally:
            self.hparams.metric_gan.close()

    def compute_forward(self, batch, stage):
        """Enhance the noisy speech [B,T]: estimates, and the spectra that they were made from."""
        batch = to_device(batch, self.device)
        noisy, lengths = batch.mix_sig
        return self.modules.separator(noisy, lengths, details=True)

    def separate(self, batch):
        """Estimates [B,T,1] in the evaluation precision."""
        with self.evaluation_ctx:
            return self.compute_forward(batch, Stage.TEST).estimates

    def compute_objectives(self, predictions, batch, stage):
        """The mean loss of the batch; its parts are counted in training, the scores in validation."""
        noisy, lengths = batch.mix_sig
        clean = batch.sources_sig.data[..., 0]  # [B,T]
        objective = self.compressed if self.hparams.objective == "compressed" else self.published
        loss, parts, spectra = objective(predictions, noisy, clean, lengths)
        if stage == Stage.TRAIN:
            loss, parts = self.add_metric(loss, parts, spectra, (clean, predictions.estimates[..., 0]))
            self.count_parts(parts)
        else:
            self.count_scores(predictions.estimates, batch)
        return loss.mean()

    def compressed(self, made, noisy, clean, lengths):
        """The losses of MP-SENet and SEMamba, at the level at which the noisy speech has unit rms."""
        stft, level = self.separator.stft, item_level(noisy, made.samples)
        wave, target_wave = (to_unit_level(x, level) for x in (made.estimates[..., 0], clean))
        spectrum = to_unit_level((made.spectra[:, 0] * made.level[:, :, None, None]).flatten(1), level)
        estimate = self.compress(spectrum.view_as(made.spectra[:, 0]))
        target, resynthesised = (self.compress(stft(x, made.samples)) for x in (target_wave, wave))  # [B,2,L,F]
        loss, parts = compressed_spectrum_loss(
            estimate, target, resynthesised, wave, target_wave, made.frames, lengths, self.hparams.loss_weights
        )
        return loss, parts, (magnitude(target), magnitude(estimate))

    def published(self, made, noisy, clean, lengths):
        """The losses of the open BSRNN, on spectra at the level of the recording."""
        estimate = made.spectra[:, 0] * made.level[:, :, None, None]
        target = self.separator.stft(clean, made.samples)  # [B,2,L,F]
        loss = published_loss(estimate, target, self.hparams.compress_power, made.frames)
        return loss, {"published": loss}, tuple(magnitude(self.compress(x)) for x in (target, estimate))

    def compress(self, spectrum):
        """Raise magnitudes of a spectrum [B,2,L,F] to the power of the losses, in fp32."""
        return to_power(spectrum.float(), self.hparams.compress_power, 1, self.hparams.compress_floor)

    def add_metric(self, loss, parts, spectra, waves):
        """Add what the discriminator thinks, from the epoch on where it is used; it learns when the step is done."""
        gan, weight = self.hparams.metric_gan, self.hparams.metric_weight
        self.to_learn = None
        if not gan.active(self.hparams.epoch_counter.current):
            return loss, parts
        metric = gan.score(*spectra)  # [B]
        self.to_learn = (spectra, waves)
        return loss + weight * metric, {**parts, "metric": metric}

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """The discriminator's step, when the gradients of the enhancer have gone through it."""
        if self.to_learn is not None:
            learnt = self.hparams.metric_gan.learn(*self.to_learn)
            self.count_parts({} if learnt is None else {"discriminator": learnt})


def dataio_prep(hparams):
    """Build the three datasets {id, mix_sig [T], sources_sig [T,1]}, and the clock that holds the epoch."""
    clock = epoch_clock()
    splits = {name: read_rows(hparams["save_folder"], name, hparams["data_folder"]) for name in SPLITS}
    return {name: dataset(hparams, rows, clock, name == "train") for name, rows in splits.items()}, clock


def dataset(hparams, rows, clock, training):
    """Turn manifest rows into pairs of noisy and clean speech; training takes a random stretch of each."""
    settings = {name: hparams[name] for name in DATA_OPTIONS}  # loader workers get no more: the rest may not pickle
    reader, by_id = StoredParts(1, hparams["sample_rate"]), {row["ID"]: row for row in rows}
    if not training:
        return examples(rows, partial(example, reader, by_id))
    keys = {name: hparams[name] for name in (*KEYS, "sample_rate")}
    changes = augmentation_of(keys), mixer_of(keys, rows, reader)
    return examples(rows, partial(training_example, settings, reader, by_id, clock, *changes))


def example(reader, rows, ID):
    """Noisy speech [T] and clean speech [T,1]."""
    return reader.example(rows[ID])


def training_example(settings, reader, rows, clock, augmentation, mixer, ID):
    """The same for training: noise and changes of both are drawn anew in every epoch, as is the stretch."""
    rngs = partial(item_rng, settings["seed"], int(clock), ID)
    if mixer is None and not augmentation.changes_sources:
        noisy, clean = reader.example(rows[ID])
    else:
        parts = mixer.remix(rows[ID], rngs("mixing")) if mixer else reader.parts(rows[ID])
        parts = augmentation.sources(parts, layers_of(1), rngs)
        noisy, clean = summed(parts), parts["s1"][:, None]
    target = pcs_at_level(clean[:, 0]) if settings["pcs_target"] else clean[:, 0]
    noisy, target = segment((noisy, target), settings["training_signal_len"], rngs())
    return augmentation.mixture(noisy, target, rngs), target[:, None]


def segment(signals, samples, rng):
    """Cut one random stretch out of all signals [T]; short ones are repeated, as all published recipes do."""
    total = len(signals[0])
    if total < samples:
        return tuple(np.resize(x, samples) for x in signals)
    start = int(rng.integers(total - samples + 1))
    return tuple(x[start : start + samples] for x in signals)


def prepare(data_folder, save_folder, download, **options):
    """Fetch what is missing, if that is wanted, and write the manifests."""
    if download:
        fetch(data_folder)
    prepare_voicebank(data_folder, save_folder, **options)


def main(argv):
    """Prepare, train, test."""
    hparams, run_opts = start(argv, __file__)
    if hparams["objective"] not in OBJECTIVES:
        raise UserError(f"objective: expected {' or '.join(OBJECTIVES)}, got {hparams['objective']!r}")
    options = ("download", "train_set", "valid_speakers", "resampled_folder", "check_files", "sample_rate", "skip_prep")
    folders = [hparams["data_folder"], hparams["save_folder"]]
    on_main(by_format(prepare, hparams), *folders, **{name: hparams[name] for name in options})
    on_main(check_sample, *folders, sample_checks=hparams["sample_checks"])
    datasets, clock = dataio_prep(hparams)
    brain = Enhancement(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    brain.fit_and_test(datasets, clock)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1:])
