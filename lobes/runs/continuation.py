"""Whether a command may start or go on in a run folder, and what it changes there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from lobes.errors import UserError
from lobes.runs import names
from lobes.runs.callables import TRAINING as CALLABLES
from lobes.runs.folder import read_hyperparams
from lobes.runs.safe_yaml import allow, wishes_of
from lobes.runs.starts import Progress, Start, last_start, newest_progress, plain, recipe_of, tag_of
from lobes.runs.yaml_nodes import read_text

ANOTHER = "so the folder is not continued. Give another --output_folder."
STRANGE = f"Neither Lobes nor this recipe names that, {ANOTHER}"
# Keys that change no number of the training, at any depth: places, processes, checks, the test, words on the card.
FREE = {
    "output_folder", "train_log", "experiment_name", "task_description", "limits", "num_workers", "scoring_workers",
    "pesq_workers", "workers", "noprogressbar", "ckpt_interval_minutes", "nonfinite_patience", "gradient_checkpointing",
    "skip_prep", "download", "check_files", "verify_sum", "sample_checks", "valid_batch_size", "eval_precision",
    "test_metrics", "recogniser", "n_audio_to_save", "train_logger", "shard_folder",
}  # fmt: skip
# Keys with which a run may go on though its numbers change. All that is in neither set makes another run.
TRAINING = {
    "N_epochs", "max_steps", "max_minutes", "patience", "budget", "epoch_counter", "batch_size",
    "grad_accumulation_factor", "precision", "max_grad_norm", "lr", "weight_decay", "betas", "fused", "warmup_steps",
    "lr_scheduler", "lr_scheduler_interval", "lr_step_epochs", "lr_factor",
}  # fmt: skip
# Keys that files of earlier versions lack, and the value that says what was done there.
ADDED = {
    "level": "item", "dropout": 0.0, "level_weight": 0.0, "loss": "si_snr", "spectral_weight": 0.0,
    "consistency_weight": 0.0, "dynamic_mixing": False, "mixing_levels": [-5.0, 5.0], "mixing_snr": [0.0, 15.0],
    "max_shift": 0, "noise_snr": [0.0, 20.0], "augment_share": 1.0, "data_format": "files",
}  # fmt: skip
# Classes that files of earlier versions name, and those that take their place and their arguments.
RENAMED = {
    f"!new:speechbrain.lobes.models.dual_path.{old}": f"!new:lobes.exported.{new}"
    for old, new in (("SBRNNBlock", "RNNBlock"), ("SBTransformerBlock", "TransformerBlock"))
}
MADE = "# command: "  # begins a line at the top of every training's hyperparams.yaml
ABSENT = "absent"
SHOWN, LONGEST = 3, 200  # values in a message, letters of a value


class Difference(NamedTuple):
    """A key, as its path in the file, whose value differs."""

    path: tuple[Any, ...]
    old: Any
    new: Any


def admit(text: str, script: str | Path, argv: Sequence[str] = (), test_only: bool = False) -> Start:
    """Compare a command with what its run folder holds; nothing is written.

    Arguments
    ---------
    text : str
        The resolved recipe file of the command.
    script : str or Path
        The recipe's train.py.
    argv : sequence of str
        The command line: what was typed is never ignored without a word.
    test_only : bool
        Whether the command only tests.

    Returns
    -------
    Start

    Raises
    ------
    UserError
        If there is nothing to test, if the folder holds something else than a run, or a run of another recipe, network,
        data set, loss or seed, or if an option could have no effect because nothing is left to train.

    Example
    -------
    >>> import tempfile
    >>> text = f"output_folder: {tempfile.mkdtemp()}/run\\nsave_folder: x\\nlr: 0.1\\n"
    >>> admit(text, "recipes/custom/train.py").step
    0
    """
    tree = YAML().load(text)
    folder, save = Path(tree["output_folder"]), Path(tree["save_folder"])
    _refuse_strangers(folder, save, Path(script))
    if test_only and not any(save.glob(names.CHECKPOINTS)):
        raise UserError(
            f"nothing to test: no checkpoint in {save}. Train first, or give the output_folder of a trained run."
        )
    if not _trained(folder, save):
        return Start(text)
    before, top = read_hyperparams(folder)
    last = last_start(folder)
    _refuse_other_recipe(folder, last, recipe_of(script))
    try:
        comparable = _comparable(before, last.get("cwd", ""))
    except (KeyError, TypeError, ValueError) as error:  # no text as a folder, say
        raise UserError(f"{folder / names.HYPERPARAMS}: no file of a training ({error}), {ANOTHER}") from error
    found = [one for one in differences(comparable, _comparable(tree)) if not _is_as_before(one)]
    _refuse_other_run(folder, [one for one in found if not (_is_free(one) or _is_of_training(one))])
    of_training = [one for one in found if not _is_free(one)]
    progress = newest_progress(save)
    trains = not test_only and _is_left(tree, progress)
    if not trains:
        typed = {word[2:].partition("=")[0] for word in argv if word.startswith("--")} if test_only else None
        _refuse_without_effect(folder, progress, [one for one in of_training if typed is None or one.path[0] in typed])
        _refuse_unknown_callables(folder, tree, of_training)
        text, found = _put_back(tree, of_training), [one for one in found if _is_free(one)]
    header = "" if trains else "".join(f"# {line}\n" for line in top)
    return Start(text, progress.steps, trains, header, {key: (old, new) for key, old, new in _named(found)})


def differences(old: Any, new: Any, path: tuple[Any, ...] = ()) -> Iterator[Difference]:
    """The keys, at any depth, whose values differ in two YAML trees; a tag is part of a value.

    Example
    -------
    >>> [one.path for one in differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2}})]
    [('b', 'd')]
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping) and _class(old) == _class(new):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif plain(old) != plain(new):
        yield Difference(path, old, new)


def _class(node: Any) -> str:
    """A mapping's tag, by today's name."""
    return RENAMED.get(tag_of(node), tag_of(node))


def _refuse_strangers(folder: Path, save: Path, script: Path) -> None:
    """Nothing is written into a folder with files of a run's names that no training of ours wrote."""
    path = folder / names.HYPERPARAMS
    if path.is_file() and any(line.startswith(MADE) for line in _first_lines(path)):
        return
    ours = (names.HYPERPARAMS, script.name, names.CURVE, *names.FINISHED)
    found = [*(folder / name for name in ours if (folder / name).exists()), *save.glob(names.CHECKPOINTS)]
    if found:
        raise UserError(
            f"output_folder {folder} is no run's, since it has no {names.HYPERPARAMS} of a training, and "
            f"{', '.join(map(str, found[:SHOWN]))} would be replaced. Give another --output_folder."
        )


def _trained(folder: Path, save: Path) -> bool:
    """Whether there is something to lose: a start that failed before its first checkpoint leaves nothing."""
    return any(save.glob(names.CHECKPOINTS)) or any((folder / name).is_file() for name in names.FINISHED)


def _refuse_unknown_callables(folder: Path, tree: Any, found: list[Difference]) -> None:
    """Values that come from the folder may name what Lobes and this recipe name, and nothing else."""
    path, named = folder / names.HYPERPARAMS, set(_tags(tree))
    known = {kind: more | {tag.removeprefix(kind) for tag in named} for kind, more in CALLABLES.items()}
    text = read_text(path)
    places = [[str(key) for key in one.path] for one in found]
    wishes = [wish for keys in places for wish in wishes_of(path, text, known, keys, resolved=True)]
    allow(wishes, trust=False, advice=STRANGE)


def _tags(node: Any) -> Iterator[str]:
    yield tag_of(node)
    below = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in below:
        yield from _tags(child)


def _refuse_other_recipe(folder: Path, last: Mapping[str, Any], recipe: str) -> None:
    if last.get("recipe", recipe) != recipe:
        raise UserError(
            f"{folder} holds a run of recipes/{last['recipe']}, this is the train.py of recipes/{recipe}. "
            "Give another --output_folder."
        )


def _refuse_other_run(folder: Path, found: list[Difference]) -> None:
    if found:
        moved = ""
        if any(one.path[0] == "data_folder" for one in found):
            moved = f" If the same data has moved, write its new place into {folder / names.HYPERPARAMS} first."
        raise UserError(
            f"{folder} holds a run of other settings ({_in_words(found)}), which a run cannot change on its way. "
            f"Give another --output_folder, or the values that are there.{moved}"
        )


def _refuse_without_effect(folder: Path, progress: Progress, found: list[Difference]) -> None:
    if found:
        raise UserError(
            f"{folder} holds a run of {progress.steps} steps and this command trains no more, so that it cannot change "
            f"{_in_words(found)}. Leave these as they were, or train on: more N_epochs, max_steps, max_minutes or "
            "patience, and no --test_only."
        )


def _is_left(tree: Mapping[str, Any], progress: Progress) -> bool:
    """Whether something is left to train."""
    minutes = progress.seconds / 60.0
    counts = {"N_epochs": progress.epochs, "max_steps": progress.steps, "max_minutes": minutes}
    counts["patience"] = progress.epochs_without
    return all(tree.get(key) is None or count < tree[key] for key, count in counts.items())


def _is_as_before(one: Difference) -> bool:
    """Whether a key that an earlier version did not know changes nothing: it is not set, or says what was done."""
    return one.old is ABSENT and (one.new is None or ADDED.get(one.path[-1]) == one.new)


def _is_free(one: Difference) -> bool:
    return one.path[0] in FREE or one.path[-1] in FREE


def _is_of_training(one: Difference) -> bool:
    return one.path[0] in TRAINING or (one.path[0] == "opt_class" and one.path[-1] in TRAINING)


def _comparable(tree: Mapping[str, Any], cwd: str = "") -> dict[str, Any]:
    """A file's keys as they are compared: folders by where they are, checkpoints by what they keep."""
    same = dict(tree)
    same["save_folder"] = os.path.relpath(tree["save_folder"], tree["output_folder"])
    if tree.get("data_folder"):
        here = cwd if os.path.isdir(cwd) else ""  # a run may have come from another machine
        same["data_folder"] = os.path.realpath(os.path.join(here, str(tree["data_folder"])))
    if isinstance(same.get("checkpointer"), Mapping):
        same["checkpointer"] = sorted(same["checkpointer"].get("recoverables", ()))
    return same


def _named(found: list[Difference]) -> Iterator[tuple[str, Any, Any]]:
    """The keys of a command line among differences; those inside of objects only where nothing else differs."""
    options = [one for one in found if len(one.path) == 1 and not tag_of(one.new) and one.path[0] != "num_sources"]
    return ((".".join(map(str, one.path)), one.old, one.new) for one in options or found)


def _in_words(found: list[Difference]) -> str:
    words = [f"{key}: {_shown(old)} there, {_shown(new)} now" for key, old, new in _named(found)]
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more


def _put_back(tree: Any, found: list[Difference]) -> str:
    """The text of a tree with the old values of some keys."""
    for path, old, _ in found:
        node = tree
        for key in path[:-1]:
            node = node[key]
        if old is ABSENT:
            del node[path[-1]]
        else:
            node[path[-1]] = old
    out, writer = StringIO(), YAML()
    writer.width = 1000
    writer.dump(tree, out)
    return out.getvalue()


def _shown(value: Any) -> str:
    text = tag_of(value) or ("null" if value is None else str(value).strip())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _first_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[:10]
