"""Checkpoints under faults: kills at every point, damage of every file, a full disk, a wrong clock, hostile files."""

import hashlib
import itertools
import logging
import math
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
import yaml
from speechbrain.utils.checkpoints import Checkpointer

from lobes.data.files import write_whole
from lobes.errors import UserError
from lobes.runs.checkpointer import SafeCheckpointer
from lobes.runs.checkpoints import SUM, fault_of, newest, order_of, read_meta, write_meta
from lobes.runs.starts import newest_progress
from lobes.training.budget import Budget

FILES = (
    "CKPT.yaml", "separator.ckpt", "optimizer.ckpt", "counter.ckpt", "budget.ckpt", "brain.ckpt",
    "dataloader-TRAIN.ckpt",
)  # fmt: skip
CUT = [("CKPT.yaml", "half"), ("separator.ckpt", "half"), ("optimizer.ckpt", "half")]  # of the other texts nobody knows


class Note:
    """A recoverable of a few bytes of text."""

    number = 0

    def save(self, path):
        write_whole(path, f"number: {self.number}\n")

    def load(self, path):
        self.number = int(Path(path).read_text().split()[1])


class Training:
    """Six objects that hold one number, so that a mixture of two checkpoints shows."""

    def __init__(self, save, checkpointer=SafeCheckpointer):
        self.network, self.budget = torch.nn.Linear(3, 2), Budget(99)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self.notes = {"counter": Note(), "brain": Note(), "dataloader-TRAIN": Note()}
        self.checkpoints = checkpointer(save, {"separator": self.network})
        self.checkpoints.add_recoverable("optimizer", self.optimizer)
        for name, item in {"budget": self.budget, **self.notes}.items():
            self.checkpoints.add_recoverable(
                name, item, lambda item, path, end_of_epoch: item.load(path), lambda item, path: item.save(path)
            )

    def save(self, number, end_of_epoch=True, keep=False, **meta):
        for parameter in self.network.parameters():
            parameter.data.fill_(number)
        self.optimizer.param_groups[0]["lr"] = float(number)
        self.budget.steps = number
        for note in self.notes.values():
            note.number = number
        write = self.checkpoints.save_and_keep_only if keep else self.checkpoints.save_checkpoint
        return write(meta, end_of_epoch)

    def recover(self, **keys):
        """The number that all objects hold after a recovery."""
        self.checkpoints.recover_if_possible(**keys)
        return self.number

    @property
    def number(self):
        weights = {value for parameter in self.network.parameters() for value in parameter.flatten().tolist()}
        others = {self.budget.steps, *(note.number for note in self.notes.values())}
        [number] = weights | {self.optimizer.param_groups[0]["lr"]} | others
        return number


@pytest.fixture
def save(tmp_path):
    """A run's folder `save` with the checkpoints 1 and 2."""
    training = Training(tmp_path / "save")
    training.save(1)
    training.save(2)
    return tmp_path / "save"


def newest_folder(save):
    return max(save.glob("CKPT+*"), key=lambda path: read_meta(path)["step"])


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(path, way):
    content = path.read_bytes()
    if way == "missing":
        path.unlink()
    elif way == "one bit":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    else:
        path.write_bytes(content[: len(content) // 2] if way == "half" else b"")


# ---- kills


def in_a_process(function):
    """The exit code of a copy of this process that calls a function: negative if it was killed."""
    child = os.fork()
    if not child:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(point):
    """Kill this process at the n-th place where a file or folder is opened, half written, synced, renamed, removed."""
    passed = itertools.count(1)

    def pass_one(*_):
        if next(passed) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event, args):
        if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or (event == "open" and args[1] in ("w", "wb")):
            pass_one()

    def write_bytes(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            pass_one()
            file.write(content[len(content) // 2 :])

    def torch_save(state, path, save=torch.save):
        from io import BytesIO

        save(state, content := BytesIO())
        write_bytes(path, content.getvalue())

    sync = os.fsync
    os.fsync = lambda handle: (pass_one(), sync(handle))
    Path.write_bytes, torch.save = write_bytes, torch_save
    sys.addaudithook(watch)


@pytest.mark.parametrize("end_of_epoch", [True, False])
def test_F04_to_F11_a_kill_at_any_point_of_a_save_and_of_a_deletion(end_of_epoch, tmp_path):
    """At each point stock SpeechBrain and ours find one whole checkpoint, and the next save leaves nothing behind."""
    base, save = tmp_path / "base", tmp_path / "save"
    Training(base).save(1)
    outcomes = []
    for point in itertools.count(1):
        shutil.rmtree(save, ignore_errors=True)
        shutil.copytree(base, save)

        def life(point=point):
            training = Training(save)
            kill_at(point)
            training.save(2, end_of_epoch, keep=True)

        code = in_a_process(life)
        assert not [fault for path in save.glob("CKPT*") if (fault := fault_of(path))]
        outcomes.append(Training(save, Checkpointer).recover())  # as a kill has left it
        assert newest_progress(save).steps == outcomes[-1]
        training = Training(save)
        assert training.recover() == outcomes[-1]
        training.save(3, keep=True)
        assert [path.name[:4] for path in save.iterdir()] == ["CKPT"] and Training(save).recover() == 3
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(outcomes) > 35 and outcomes == sorted(outcomes) and set(outcomes) == {1, 2}


def test_an_exception_in_a_save_leaves_no_trace(save):
    training, before = Training(save), bytes_of(save)
    training.checkpoints.custom_save_hooks["brain"] = lambda item, path: {}["a bug"]
    with pytest.raises(KeyError):
        training.save(3)
    assert bytes_of(save) == before and [path.name[:4] for path in save.iterdir()] == ["CKPT", "CKPT"]


# ---- damage


@pytest.mark.parametrize("way", ["empty", "half", "missing", "one bit"])
@pytest.mark.parametrize("file", FILES)
def test_F12_damage_of_any_file_is_found_and_the_older_one_used(file, way, save, caplog):
    path = newest_folder(save)
    damage(path / file, way)
    damaged = bytes_of(path)
    assert newest_progress(save).steps == 1
    assert Training(save).recover() == 1 and not path.exists()
    assert bytes_of(save / f"BAD+{path.name}") == damaged
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    [left] = save.glob("CKPT+*")
    assert file in line and path.name in line and f"{left.name} of step 1 is used instead" in line
    assert Training(save, Checkpointer).recover() == 1
    caplog.clear()
    assert Training(save).recover() == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]  # said once


def test_F12_one_bit_anywhere_in_the_meta_file_is_found(save):
    path = newest_folder(save) / "CKPT.yaml"
    content = path.read_bytes()
    places = random.Random(0).sample(range(8 * len(content)), 100)
    for place in [*range(8), 8 * content.index(b"\n") + 1, 8 * content.index(b"files"), *places]:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert fault_of(path.parent), place
    for length in range(0, len(content), 9):
        path.write_bytes(content[:length])
        assert fault_of(path.parent), length


def test_F12_the_best_checkpoint_is_verified_too(tmp_path):
    training = Training(tmp_path)
    for number, score in ((1, 5.0), (2, 9.0), (3, 7.0)):
        training.save(number, si_sdri=score)
    best = next(path for path in tmp_path.glob("CKPT+*") if read_meta(path)["step"] == 2)
    damage(best / "budget.ckpt", "one bit")
    assert Training(tmp_path).recover(max_key="si_sdri") == 3
    assert (tmp_path / f"BAD+{best.name}").is_dir()


def test_a_damaged_best_is_not_kept_in_place_of_a_good_one(tmp_path):
    training = Training(tmp_path)
    for number, score in ((1, 5.0), (2, 9.0)):
        training.save(number, si_sdri=score)
    damage(newest_folder(tmp_path) / "separator.ckpt", "one bit")
    training = Training(tmp_path)
    training.save(3, si_sdri=1.0)
    training.checkpoints.delete_checkpoints(max_keys=["si_sdri"])
    assert sorted(read_meta(path)["step"] for path in tmp_path.glob("CKPT+*")) == [1, 3]
    assert [read_meta(path)["step"] for path in tmp_path.glob("BAD+*")] == [2]


def test_a_checkpoint_that_a_training_replaces_while_it_is_read_is_no_error(save, monkeypatch):
    reader, training = Training(save), Training(save)
    reader.checkpoints.only_reads = True
    hook = "_call_load_hooks"  # of SpeechBrain
    load, loaded = getattr(reader.checkpoints, hook), []

    def replaced_first(checkpoint):
        if not loaded:
            training.save(3, keep=True)
        loaded.append(checkpoint)
        load(checkpoint)

    monkeypatch.setattr(reader.checkpoints, hook, replaced_first)
    assert reader.recover() == 3 and len(loaded) == 2


def test_next_to_a_training_nothing_is_renamed_or_removed(save, caplog):
    damage(newest_folder(save) / "brain.ckpt", "half")
    (save / "PARTIAL+CKPT+x").mkdir()
    before, training = sorted(save.rglob("*")), Training(save)
    training.checkpoints.only_reads = True
    assert training.recover() == 1 and sorted(save.rglob("*")) == before
    assert "left where they are" in caplog.text


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("way", ["empty", "missing", "one bit"])
def test_F13_all_checkpoints_damaged_ends_in_one_line_and_changes_nothing(file, way, save):
    for path in save.glob("CKPT+*"):
        damage(path / file, way)
    before, training = bytes_of(save), Training(save)
    for parameter in training.network.parameters():
        parameter.data.fill_(7.0)
    for call in (training.checkpoints.recover_if_possible, lambda: newest(save)):
        with pytest.raises(UserError, match=f"(?s)^(?!.*\n).*no checkpoint can be used.*{file}"):
            call()
    assert bytes_of(save) == before
    assert {*training.network.weight.flatten().tolist()} == {7.0} and training.budget.steps == 0


def test_F13_no_checkpoint_folder_is_a_start_and_an_empty_one_is_not(tmp_path):
    training = Training(tmp_path)
    assert training.checkpoints.recover_if_possible() is None and newest(tmp_path) is None
    (tmp_path / "CKPT+1").mkdir()
    with pytest.raises(UserError, match="CKPT.yaml is missing"):
        training.checkpoints.recover_if_possible()


# ---- a full disk


def test_F14_a_full_disk_leaves_the_older_checkpoint_and_the_next_start_works(tmp_path, caplog):
    save = tmp_path / "save"
    Training(save).save(1)
    Training(save).save(1)
    before = bytes_of(save)

    resource = pytest.importorskip("resource")

    def life():
        training = Training(save)
        training.checkpoints.add_recoverable("large", torch.nn.Linear(100, 100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        assert training.save(2, end_of_epoch=False, keep=True) is None
        [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert "no checkpoint could be written" in line and "tries again" in line and "\n" not in line
        assert bytes_of(save) == before
        with pytest.raises(UserError, match="could be written at the end of the epoch.*the same command"):
            training.save(2, keep=True)
        training.checkpoints.recoverables.pop("large")
        training.checkpoints.recoverables["text"] = Note()
        training.checkpoints.custom_save_hooks["text"] = lambda item, path: write_whole(path, "x" * 30_000)
        assert training.save(2, end_of_epoch=False) is None

    assert in_a_process(life) == 0
    assert bytes_of(save) == before and len(list(save.iterdir())) == 2
    training = Training(save)
    assert training.recover() == 1
    training.save(2, keep=True)
    assert Training(save).recover() == 2 and len(list(save.iterdir())) == 1


# ---- order


@pytest.mark.parametrize("scores", list(itertools.permutations([-7.0, -5.0, math.nan])))
def test_F15_a_score_that_is_no_number_is_never_the_best(scores, tmp_path):
    training = Training(tmp_path)
    for number, score in enumerate(scores, start=1):
        training.save(number, keep=False, si_sdri=score)
        training.checkpoints.delete_checkpoints(max_keys=["si_sdri"])
    assert Training(tmp_path).recover(max_key="si_sdri") == scores.index(-5.0) + 1
    assert Training(tmp_path).recover() == 3


@pytest.mark.parametrize("key, best", [("max_key", 2), ("min_key", 3)])
def test_F15_for_the_highest_and_the_lowest(key, best, tmp_path):
    training = Training(tmp_path)
    for number, score in enumerate([math.nan, 9.0, 1.0, math.inf, -math.inf, "high"], start=1):
        training.save(number, score=score)
    training.save(7)  # without
    assert Training(tmp_path).recover(**{key: "score"}) == best


def test_F21_the_newest_is_that_of_the_most_steps(tmp_path, monkeypatch):
    training = Training(tmp_path)
    training.save(16)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 1e9)
        training.save(32, keep=True)
    assert Training(tmp_path).recover() == 32 and newest_progress(tmp_path).steps == 32
    assert [read_meta(path)["unixtime"] for path in tmp_path.glob("CKPT+*")] == [1e9]


def test_F21_at_one_step_the_end_of_the_epoch_is_newer_and_old_files_count_by_their_budget(tmp_path):
    training = Training(tmp_path)
    ended, within = training.save(8), training.save(8, end_of_epoch=False)
    assert order_of(ended.path, ended.meta) > order_of(within.path, within.meta)
    assert order_of(within.path, {"epoch": 2} | within.meta) > order_of(ended.path, {"epoch": 1} | ended.meta)
    assert order_of(within.path, {"batch": 2} | within.meta) > order_of(within.path, {"batch": 1} | within.meta)
    old = {key: value for key, value in within.meta.items() if key != "step"}
    assert order_of(within.path, old) == order_of(within.path, within.meta)


# ---- SpeechBrain's own, and earlier versions


def test_stock_speechbrain_loads_our_newest_checkpoint(save):
    (save / "PARTIAL+CKPT+later").mkdir()
    assert Training(save, Checkpointer).recover() == 2
    training = Training(save, Checkpointer)
    training.save(3, keep=True)
    assert Training(save, Checkpointer).recover() == 3


def test_a_checkpoint_without_sums_loads_with_one_note(tmp_path, caplog):
    Training(tmp_path, Checkpointer).save(4)
    training = Training(tmp_path)
    assert training.recover() == training.recover() == 4
    assert [record.levelname for record in caplog.records if "no checksums" in record.message] == ["WARNING"]


@pytest.mark.parametrize("file, way", [*itertools.product(FILES, ["empty", "missing"]), *CUT])
def test_of_a_checkpoint_without_sums_a_cut_off_write_is_found(file, way, tmp_path):
    training = Training(tmp_path, Checkpointer)
    training.save(4)
    training.save(5)
    damage(max(tmp_path.glob("CKPT+*")) / file, way)
    assert Training(tmp_path).recover() == 4


@pytest.mark.parametrize("name", [".DS_Store", "@eaDir/", "separator.ckpt~", "._separator.ckpt", "Thumbs.db"])
def test_F12_what_others_leave_in_a_checkpoint_without_sums_is_no_damage(name, tmp_path):
    Training(tmp_path, Checkpointer).save(4)
    [folder] = tmp_path.glob("CKPT+*")
    (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    assert Training(tmp_path).recover() == 4


def test_of_a_link_to_a_checkpoint_the_link_is_deleted_and_what_it_leads_to_stays(tmp_path, caplog):
    training = Training(tmp_path / "save")
    training.save(1)
    [old] = (tmp_path / "save").iterdir()
    old.rename(tmp_path / "elsewhere")
    old.symlink_to(tmp_path / "elsewhere")
    training.save(2, keep=True)
    assert [read_meta(path)["step"] for path in (tmp_path / "save").iterdir()] == [2]
    assert read_meta(tmp_path / "elsewhere")["step"] == 1 and "could not" not in caplog.text


def test_of_a_checkpoint_without_sums_pytorchs_own_sums_find_one_bit(tmp_path):
    training = Training(tmp_path, Checkpointer)
    training.save(4)
    [path] = tmp_path.glob("CKPT+*")
    content = (path / "separator.ckpt").read_bytes()
    (path / "separator.ckpt").write_bytes(content.replace(struct.pack("<f", 4.0), struct.pack("<f", 4.5), 1))
    assert fault_of(path) == "separator.ckpt is damaged"


def test_a_new_object_is_missing_from_older_checkpoints_unless_it_is_optional(save):
    training = Training(save)
    training.checkpoints.add_recoverable("new", torch.nn.Linear(1, 1), optional_load=True)
    assert training.recover() == 2
    training.checkpoints.add_recoverable("new", torch.nn.Linear(1, 1))
    with pytest.raises(UserError, match="new.ckpt is missing"):
        training.checkpoints.recover_if_possible()


def test_numbers_of_other_libraries_do_not_enter_the_meta_file(tmp_path):
    saved = Training(tmp_path).save(1, si_sdri=torch.tensor(2.5))
    assert saved.meta["si_sdri"] == 2.5 == yaml.safe_load((saved.path / "CKPT.yaml").read_text())["si_sdri"]


def test_a_name_that_is_taken_is_not_overwritten(tmp_path):
    training = Training(tmp_path)
    paths = [training.checkpoints.save_checkpoint(name="best").path.name for _ in range(3)]
    assert paths == ["CKPT+best", "CKPT+best+01", "CKPT+best+02"]


# ---- hostile files


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("summed", [True, False])
def test_S02r_a_pickle_that_would_run_code_is_one_line(summed, tmp_path):
    save, canary = tmp_path / "save", tmp_path / "canary"
    saved = Training(save, SafeCheckpointer if summed else Checkpointer).save(1)
    torch.save({"weight": Evil(canary)}, saved.path / "separator.ckpt")
    if summed:
        write_meta(saved.path, saved.meta)
    with pytest.raises(UserError, match="separator.ckpt: cannot be loaded") as error:
        Training(save).checkpoints.recover_if_possible()
    assert not canary.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.mkdir ['{}']", "!!python/name:os.mkdir", "[" * 500])
def test_S02m_python_in_a_meta_file_is_one_line(text, save, tmp_path):
    for path in save.glob("CKPT+*"):
        (path / "CKPT.yaml").write_text(text.format(tmp_path / "canary"))
    with pytest.raises(UserError, match="CKPT.yaml cannot be read") as error:
        Training(save).checkpoints.recover_if_possible()
    assert not (tmp_path / "canary").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("sums", [3, {3: {}}, {"../x": {"bytes": 1, "sha256": ""}}, {"brain.ckpt": {"bytes": 1}}])
def test_S02m_sums_of_another_form_are_damage(sums, save):
    [first, second] = sorted(save.glob("CKPT+*"))
    rest = yaml.safe_dump({**read_meta(second), "files": sums}).encode()
    (second / "CKPT.yaml").write_bytes(f"{SUM}{hashlib.sha256(rest).hexdigest()}\n".encode() + rest)
    assert fault_of(second) == "CKPT.yaml is not as it was written (sha256 differs)"
    assert Training(save).recover() == read_meta(first)["step"]


def test_weights_of_another_shape_are_one_line(save):
    training = Training(save)
    training.checkpoints.recoverables["separator"] = torch.nn.Linear(5, 2)
    with pytest.raises(UserError, match=r"separator.ckpt: cannot be loaded \(Error\(s\) in loading state_dict"):
        training.checkpoints.recover_if_possible()


# ---- several processes

RANKS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch.distributed as dist
from lobes.errors import UserError
from test_checkpointer import Training, damage, newest_folder
from pathlib import Path
dist.init_process_group("gloo")
rank, save = dist.get_rank(), Path(sys.argv[2])
training = Training(save)
assert training.save(1, keep=True).meta["step"] == 1 and training.save(2).meta["step"] == 2
def fail(item, path):
    raise OSError(28, "No space left on device", str(path))
training.checkpoints.custom_save_hooks["brain"] = fail
assert training.save(3, end_of_epoch=False, keep=True) is None
try:
    training.save(3)
    raise SystemExit("the error did not come to all")
except UserError as error:
    assert "No space left" in str(error)
if rank == 0:
    damage(newest_folder(save) / "counter.ckpt", "half")
dist.barrier()
training = Training(save)
assert training.recover() == 1, training.number
training.save(4, keep=True)
dist.barrier()
assert [path.name[:4] for path in sorted(save.iterdir())] == ["BAD+", "CKPT"]
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_all_ranks_load_the_same_checkpoint_and_hear_of_an_error(tmp_path):
    here = Path(__file__).parent
    with socket.socket() as free_port:
        free_port.bind(("127.0.0.1", 0))
        port = free_port.getsockname()[1]
    variables = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", RANKS, str(here), str(tmp_path / "save")]
    environments = [{**variables, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    ranks = [subprocess.Popen(command, cwd=here.parents[1], env=environment) for environment in environments]
    assert [rank.wait(240) for rank in ranks] == [0, 0]
