"""Models on the Hugging Face hub: download one, and say which of the many things it was that went wrong.

The hub's libraries answer an unknown name, a missing permission and a machine without a network with a dozen classes
that change from version to version: they are recognised by their names here, so that any version will do.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lobes.errors import UserError
from lobes.runs import names

COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = ["*.yaml", "*.ckpt", names.SUMS]
# What a training left next to the weights: twice their size, and of no use without it
UNUSED = [f"{name}*.ckpt" for name in ("optimizer", "lr_scheduler", "scaler", "dataloader", "counter", "brain")]
NO_COPY = "there is no whole copy of a model of that name on this machine"
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
# No answer came: classes of httpx, requests, urllib3 and of Python itself.
UNREACHABLE = {"TransportError", "ConnectionError", "Timeout", "TimeoutError", "gaierror", "URLError", "SSLError"}
logger = logging.getLogger(__name__)
ON_DISK = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


def download(hub_id: str, savedir: str | None = None, fetch_config: Any = None) -> Path:
    """Return the local folder of a model of the hub; what is not there yet is downloaded.

    A name stands for whatever its owner puts there next: without the hash of a commit as `revision`, the log says which
    commit came, so that it can be pinned.

    Arguments
    ---------
    hub_id : str
        `owner/name`.
    savedir : str, optional
        Where the model is put; the hub's cache by default.
    fetch_config : speechbrain.utils.fetching.FetchConfig, optional
        `revision`, `allow_network` and `token` are honoured.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If the hub cannot be asked, or gives no such model; see `explain`.
    """
    try:
        import huggingface_hub
        from speechbrain.utils.fetching import FetchConfig
    except ImportError as error:
        raise UserError(
            f"{hub_id}: to look for it on the Hugging Face hub the package huggingface_hub is needed, which cannot be "
            f"imported ({error}): pip install huggingface_hub"
        ) from error
    config = fetch_config or FetchConfig()
    try:
        folder = huggingface_hub.snapshot_download(
            hub_id,
            revision=config.revision,
            token=config.token,
            local_files_only=not config.allow_network,
            local_dir=savedir,
            allow_patterns=FILES,
            ignore_patterns=UNUSED,
        )
    except Exception as error:  # network, rights, no such model: a dozen kinds in three libraries
        reason = explain(error, allow_network=config.allow_network, revision=config.revision)
        reason = reason or f"the Hugging Face hub gave none ({line_of(error)})."
        raise UserError(f"{hub_id}: {reason}") from error
    if not COMMIT.fullmatch(config.revision or ""):
        logger.warning("%s: %s", hub_id, _which(Path(folder)))
    return Path(folder)


def _which(folder: Path) -> str:
    """The commit that a downloaded folder holds, in words."""
    commit = folder.name if folder.parent.name == "snapshots" else ""
    notes = (
        folder / ".cache" / "huggingface" / "download" / f"{names.HYPERPARAMS}.metadata"
    )  # in a folder of the user's
    if not commit and notes.is_file():
        commit = notes.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    if not COMMIT.fullmatch(commit):
        return "the newest state of the model. Pin one: --revision COMMIT, as its page on the hub lists them"
    return f"this is commit {commit}. To get it again whatever is put there: --revision {commit}"


def is_here(hub_id: str, revision: str, savedir: str | None, files: Sequence[str]) -> bool:
    """Whether files of a model lie on this machine, in the hub's cache or in a folder of the user's.

    Example
    -------
    >>> is_here("owner/name", "0" * 40, None, ["a.yaml"])
    False
    """
    if savedir is not None:
        return all((Path(savedir) / file).is_file() for file in files)
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # `download` says so
        return False
    return all(isinstance(try_to_load_from_cache(hub_id, file, revision=revision), str) for file in files)


def size_of(hub_id: str, revision: str) -> str:
    """How large the download of a model is, as the hub says; nothing if it cannot be asked."""
    try:
        from huggingface_hub import model_info

        files = model_info(hub_id, revision=revision, files_metadata=True, timeout=10).siblings or []
    except Exception:  # network, rights, no such model: `download` says which
        return ""
    total = sum(file.size or 0 for file in files if _is_wanted(file.rfilename))
    return f"{total / 1e6:.0f} MB" if total else ""


def _is_wanted(file: str) -> bool:
    return any(fnmatch(file, one) for one in FILES) and not any(fnmatch(file, one) for one in UNUSED)


def revision_of(revision: str | None) -> Any:
    """SpeechBrain's settings of a download with a revision; None for None.

    Example
    -------
    >>> revision_of("main").revision
    'main'
    """
    if revision is None:
        return None
    from speechbrain.utils.fetching import FetchConfig

    return FetchConfig(revision=revision)


def explain(error: BaseException, allow_network: bool = True, revision: str | None = None) -> str:
    """Say what went wrong at the hub and what to do, as the second half of a sentence; nothing if it was not the hub.

    Arguments
    ---------
    error : BaseException
        What a library of the hub raised.
    allow_network : bool
        Whether the caller let it use the network.
    revision : str, optional
        The revision that was asked for.

    Returns
    -------
    str

    Example
    -------
    >>> explain(ConnectionError("no route to host")).split(";")[0]
    'the Hugging Face hub cannot be reached (ConnectionError: no route to host)'
    """
    chain = list(_chain(error))
    kinds = {kind.__name__ for link in chain for kind in type(link).__mro__}
    said = next((link for link in chain if _status(link)), error)
    answer = _answer(kinds, _status(said), line_of(said), revision)
    if answer:
        return answer
    if isinstance(error, OSError) and error.errno in ON_DISK:
        return f"the model of the Hugging Face hub cannot be written here ({error}). Free space or give another folder."
    return _unasked(kinds, chain[-1], allow_network)


def _answer(kinds: set[str], status: int, line: str, revision: str | None) -> str:
    """What the hub said, as far as it said anything."""
    if "GatedRepoError" in kinds:
        return (
            f"the hub gives that model only to those whom its owners let in: ask for access on its page, then {LOG_IN}."
        )
    if "RevisionNotFoundError" in kinds:
        return f"the Hugging Face hub has a model of that name, but no revision {revision!r} of it."
    if "EntryNotFoundError" in kinds and "LocalEntryNotFoundError" not in kinds:
        return f"the hub's model of that name is of another kind: it lacks a file that is wanted ({line})."
    if "RepositoryNotFoundError" in kinds or status == 404:
        return (
            "the Hugging Face hub knows no model of that name, or it is private. Check the spelling of the folder or "
            f"of the hub id; for a private model {LOG_IN}."
        )
    if status in (401, 403) or "LocalTokenNotFoundError" in kinds:
        return f"the Hugging Face hub gives no permission ({line}): {LOG_IN} of an account that may read it."
    if "HFValidationError" in kinds:
        return f"it is no valid hub id either ({line})."
    return f"the Hugging Face hub answered with an error ({line}). Try again later." if status else ""


def _unasked(kinds: set[str], cause: BaseException, allow_network: bool) -> str:
    """Why the hub was not asked; nothing if it was."""
    if not allow_network:
        return f"{NO_COPY}; allow_network=False forbids to ask the Hugging Face hub. Allow it once, or give a folder."
    if "OfflineModeIsEnabled" in kinds or (offline() and "LocalEntryNotFoundError" in kinds):
        return (
            f"{NO_COPY}; HF_HUB_OFFLINE forbids to ask the Hugging Face hub. Where there is a network, unset it (and "
            "TRANSFORMERS_OFFLINE); else give a folder."
        )
    if kinds & UNREACHABLE:  # what lies at the bottom says more than what wraps it
        line = line_of(cause)
        return f"the Hugging Face hub cannot be reached ({line}); {NO_COPY}. Check the network, or give a folder."
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that caused it, the outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int:
    """The status of the answer that an error holds; 0 if it holds none."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else 0


def offline() -> bool:
    """Whether the environment forbids the network, as the hub's library has read it; also without that library."""
    try:
        from huggingface_hub import constants
    except ImportError:  # `download` says so
        return True
    return bool(constants.HF_HUB_OFFLINE)


def line_of(error: BaseException) -> str:
    """An error's kind and the first line of its message, whole.

    Example
    -------
    >>> line_of(ValueError("one\\ntwo"))
    'ValueError: one'
    """
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
