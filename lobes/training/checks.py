"""What can be known to be wrong before any data are read: devices, precision, metrics, and folders to write to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lobes.errors import UserError


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
        For a device or a precision that there is not here, or a metric that there is not.
    """
    from speechbrain.utils.distributed import infer_device

    from lobes.config.device import check_device
    from lobes.metrics.utterance import check_metrics

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
    check_metrics(settings.get("test_metrics", []))
