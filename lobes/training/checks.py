"""What can be known to be wrong before any data are read: devices, precision, metrics, and folders to write to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lobes.errors import UserError

# What the Brain and its checkpoints read of every recipe; a file can leave keys of its base out.
READ = (
    "seed", "output_folder", "save_folder", "train_log", "data_folder", "sample_rate", "pretrained_separator",
    "pretrained_revision", "batch_size", "valid_batch_size", "num_workers", "warmup_steps", "lr_scheduler_interval",
    "patience", "test_metrics", "n_audio_to_save", "scoring_workers", "budget", "opt_class", "lr_scheduler",
    "epoch_counter", "modules", "checkpointer",
)  # fmt: skip


def refuse_unwritable(folder: str | Path, option: str) -> None:
    """Try to write into a folder, which may not exist yet, and leave no trace.

    Raises
    ------
    UserError
        With the reason of the operating system.

    Example
    -------
    >>> refuse_unwritable("/dev/null/run", "output_folder")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: output_folder: cannot write to /dev/null/run: Not a directory. Give another folder.
    """
    folder = Path(folder)
    made: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{option}: {folder} is a file, expected a folder. Give another one.")
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option}: cannot write to {folder}: {error.strerror}. Give another folder.") from error
    finally:
        for path in reversed(made):
            with suppress(OSError):  # somebody else may be using it already
                path.rmdir()


def check_settings(settings: Mapping[str, Any], run_opts: Any) -> None:
    """Check what depends on the machine and on other settings.

    Arguments
    ---------
    settings : mapping
        The plain keys of the resolved recipe.
    run_opts : speechbrain.utils.run_opts.RunOptions
        Device and the like.

    Raises
    ------
    UserError
        For a device or a precision that there is not here, a metric or recogniser that there is not, or a key that is
        missing.
    """
    from speechbrain.utils.distributed import infer_device

    from lobes.config.device import check_device
    from lobes.data.augmentation.chain import check_augmentation
    from lobes.evaluation.recognisers import POCKETSPHINX, check_recogniser
    from lobes.metrics.utterance import check_metrics
    from lobes.training.epoch_log import check_train_logger

    if missing := [key for key in READ if key not in settings]:
        raise UserError(f"the recipe has no {', '.join(missing)}: a training needs that. Was it left out or renamed?")
    if run_opts.device is not None:
        check_device(run_opts.device)
    device = run_opts.device or infer_device()
    half = [key for key in ("precision", "eval_precision") if settings.get(key, run_opts[key]) == "fp16"]
    half += ["auto_mix_prec"] if run_opts.auto_mix_prec else []
    if half and device == "cpu":
        raise UserError(f"{half[0]}: fp16 needs a GPU. On a CPU use --precision bf16 or fp32.")
    if run_opts.data_parallel_backend and not device.startswith("cuda"):
        raise UserError("--data_parallel_backend: needs GPUs, and PyTorch finds none here. Leave it out.")
    if settings.get("ckpt_interval_minutes", 0) > 0 and run_opts.ckpt_interval_steps > 0:
        raise UserError("--ckpt_interval_steps: give --ckpt_interval_minutes 0 with it; only one of them may be set.")
    check_augmentation(settings)
    check_train_logger(settings.get("train_logger"))
    check_metrics(settings.get("test_metrics", []))
    if "wer" in settings.get("test_metrics", []):
        check_recogniser(settings.get("recogniser", POCKETSPHINX))


def check_objects(hparams: Mapping[str, Any]) -> None:
    """Try the optimizer and its schedule on one number: many of their arguments are looked at only when they are made.

    Arguments
    ---------
    hparams : mapping
        The recipe with its objects made.

    Raises
    ------
    UserError
        If `opt_class` or `lr_scheduler` does not take its arguments.

    Example
    -------
    >>> import functools, torch
    >>> check_objects({"opt_class": functools.partial(torch.optim.AdamW, lr="fast")})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: opt_class: AdamW refuses its arguments: '<=' not supported between instances of 'float' ...
    """
    import torch
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    with _explained(hparams, "opt_class"):
        optimizer = hparams["opt_class"]([weight])
        optimizer.step()
    if hparams["lr_scheduler"] is not None:
        with _explained(hparams, "lr_scheduler"):
            schedule = hparams["lr_scheduler"](optimizer)
            optimizer.step()  # in this order, or PyTorch warns
            schedule.step(*([1.0] if isinstance(schedule, ReduceLROnPlateau) else []))


@contextmanager
def _explained(hparams: Mapping[str, Any], key: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        name = getattr(getattr(hparams[key], "func", hparams[key]), "__name__", str(hparams[key]))
        raise UserError(f"{key}: {name} refuses its arguments: {' '.join(str(error).split())}.") from error
