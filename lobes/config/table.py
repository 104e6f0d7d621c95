"""What is known about options by their names: ranges, kinds where the default is null, and names of other projects."""

from __future__ import annotations

from collections.abc import Iterable

from lobes.config.kinds import Kind
from lobes.errors import did_you_mean

_COUNT = Kind(int, low=1)
_COUNT_OR_NULL = Kind(int, low=1, null=True)
_FROM_ZERO = Kind(int, low=0)
_POSITIVE = Kind(float, above=0)
_PRECISION = Kind(str, choices=("fp32", "bf16", "fp16"))
_FOLDER = Kind(str, low=1)

KNOWN = {
    "seed": Kind(int, low=0, high=2**32 - 1),
    "output_folder": _FOLDER,
    "save_folder": _FOLDER,
    "train_log": _FOLDER,
    "experiment_name": _FOLDER,
    "preset": _FOLDER,
    "train_logger": Kind(str, choices=("tensorboard", "wandb"), null=True),
    # data
    "data_folder": _FOLDER,
    "data_format": Kind(str, choices=("files", "shards")),
    "shard_folder": Kind(str, low=1, null=True),
    "task_description": Kind(str),
    "sample_rate": Kind(int, low=1000, high=768_000),
    "num_spks": _COUNT,
    "check_files": Kind(str, choices=("all", "first", "none")),
    "sample_checks": Kind(list, items=Kind(str, choices=("sum", "silence"))),
    "training_signal_len": _COUNT,
    "verify_sum": Kind(float, low=0, null=True),
    "max_train_items": _COUNT_OR_NULL,
    "variants": Kind(list, null=True, items=Kind(str)),
    "curriculum": Kind(list, null=True),
    # augmentation
    "mixing_levels": Kind(list, items=Kind(float)),
    "mixing_snr": Kind(list, items=Kind(float)),
    "speed_changes": Kind(list, null=True, items=Kind(float, low=0.1, high=10)),
    "max_shift": _FROM_ZERO,
    "rooms": Kind(str, low=1, null=True),
    "noise_snr": Kind(list, items=Kind(float)),
    "band_limits": Kind(list, null=True, items=_POSITIVE),
    "codecs": Kind(list, null=True, items=Kind(str, choices=("mp3", "opus", "vorbis", "gsm", "ulaw", "alaw"))),
    "augment_share": Kind(float, low=0, high=1),
    "train_set": Kind(str, null=True),
    "valid_speakers": Kind(list, items=Kind(str)),
    # training
    "N_epochs": _COUNT,
    "max_steps": _COUNT_OR_NULL,
    "max_minutes": Kind(float, above=0, null=True),
    "batch_size": _COUNT,
    "valid_batch_size": _COUNT,
    "grad_accumulation_factor": _COUNT,
    "num_workers": _FROM_ZERO,
    "pretrained_separator": Kind(str, low=1, null=True),
    "pretrained_revision": Kind(str, low=1, null=True),
    "precision": _PRECISION,
    "eval_precision": _PRECISION,
    "lr": _POSITIVE,
    "weight_decay": Kind(float, low=0),
    "max_grad_norm": Kind(float),
    "warmup_steps": _FROM_ZERO,
    "lr_scheduler_interval": Kind(str, choices=("epoch", "step")),
    "patience": _COUNT_OR_NULL,
    "nonfinite_patience": _FROM_ZERO,
    "ckpt_interval_minutes": Kind(float, low=0),
    "lr_step_epochs": _COUNT,
    "lr_factor": _POSITIVE,
    "betas": Kind(list, items=Kind(float, low=0, high=0.999_999_999)),
    "dropout": Kind(float, low=0, high=1),
    # objectives
    "clamp_db": _POSITIVE,
    "loss": Kind(str, choices=("si_snr", "snr", "sdr")),
    "level_weight": Kind(float, low=0),
    "spectral_weight": Kind(float, low=0),
    "consistency_weight": Kind(float, low=0),
    "objective": Kind(str, choices=("compressed", "published")),
    "loss_weights": Kind(
        dict, null=True, choices=("magnitude", "phase", "complex", "time", "consistency"), items=Kind(float, low=0)
    ),
    "compress_power": Kind(float, above=0, high=1),
    "compress_floor": Kind(float, low=0),
    "metric_start": _COUNT_OR_NULL,
    "metric_weight": Kind(float, low=0),
    "metric_lr": _POSITIVE,
    "pesq_workers": _FROM_ZERO,
    # validation and test
    "test_metrics": Kind(list, items=Kind(str)),
    "recogniser": Kind(str, low=1),
    "n_audio_to_save": _FROM_ZERO,
    "scoring_workers": _FROM_ZERO,
    # networks
    "expansion": _COUNT_OR_NULL,
    "mixer": Kind(str, low=1, null=True),
    "direction": Kind(str, low=1, null=True),
    "mixer_width": _COUNT_OR_NULL,
    "mixer_heads": _COUNT_OR_NULL,
    "min_frames": _COUNT,
    # how SpeechBrain runs
    "debug_batches": _COUNT,
    "optimizer_step_limit": _COUNT_OR_NULL,
}

# Objects without which there is no training; the others may be null.
NEEDED = ("modules", "opt_class", "budget", "epoch_counter", "checkpointer")

# What ends in one of these is text, whatever its default.
PLACES = ("_folder", "_file", "_path", "_dir", "_name")

_MIXING = "--dynamic_mixing true draws partners from the training set."
# Names of SpeechBrain and of other projects: the option here, or a sentence.
ELSEWHERE = {
    "clip_grad_norm": "max_grad_norm",
    "threshold_byloss": "clamp_db",
    "threshold": "clamp_db",
    "limit_training_signal_len": "training_signal_len",
    "save_audio": "n_audio_to_save",
    "skip_prepare": "skip_prep",
    "number_of_epochs": "N_epochs",
    "epochs": "N_epochs",
    "learning_rate": "lr",
    "num_speakers": "num_spks",
    "num_sources": "num_spks",
    "use_speedperturb": "speed_changes",
    "train_data": "data_folder",
    "valid_data": "data_folder",
    "test_data": "data_folder",
    "accumulate_grad_batches": "grad_accumulation_factor",
    "base_folder_dm": _MIXING,
    "use_wham_noise": "--dynamic_mixing true takes the noise of other mixtures; --noise_folder adds more.",
    "use_rand_shift": "max_shift",
    "dataloader_opts": "Set batch_size, valid_batch_size and num_workers.",
    "optimizer": "The optimizer is opt_class, in a YAML file.",
    "model": "The network is chosen by --preset; its sizes are options.",
    "loss": "objective",
    "jit": "TorchScript does not take these networks; try --compile.",
    "log_config": "Every run writes log.txt.",
}


def hint_for(name: str, known: Iterable[str]) -> str:
    """Say what an unknown option is called here; failing that, name the nearest known one.

    `name` may be dotted, as other projects write nested options: then its last part counts.

    Example
    -------
    >>> hint_for("threshold_byloss", ["lr", "clamp_db"])
    " Did you mean 'clamp_db'?"
    >>> hint_for("model.n_layer", ["n_layers"])
    " Did you mean 'n_layers'?"
    """
    known, last = list(known), name.rpartition(".")[2]
    ours = ELSEWHERE.get(last, "")
    if " " in ours:
        return f" {ours}"
    return f" Did you mean {ours!r}?" if ours in known else did_you_mean(last, known)
