"""N11: where the memory does not suffice for a batch, one line says for which one and what to lower."""

import pytest
import torch
from resuming import Dropping, curve, live, weights

from lobes.errors import UserError, exit_on_user_error, is_out_of_memory

CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
CUDA = "CUDA out of memory. Tried to allocate 2.69 GiB. GPU 0 has a total capacity of 7.00 GiB."


class TooLarge(Dropping):
    """Asks for more memory than there is, in training, in evaluation or both."""

    error: BaseException
    in_training = True
    evaluations = 0  # that it still does

    def forward(self, mix, lengths=None):
        if self.training:
            if self.in_training:
                raise self.error
        elif self.evaluations == 0:
            raise self.error
        else:
            type(self).evaluations -= 1
        return super().forward(mix, lengths)


ERRORS = {"CPU": RuntimeError(CPU), "CUDA": torch.OutOfMemoryError(CUDA), "numpy": MemoryError("Unable to allocate")}


@pytest.mark.parametrize("name", ERRORS)
def test_N11_in_training(name, tmp_path):
    network = type("Network", (TooLarge,), {"error": ERRORS[name]})
    options = {"batch_size": 4, "training_signal_len": 300, "gradient_checkpointing": False, "precision": "fp32"}
    with pytest.raises(UserError) as stop:
        live(tmp_path / "run", network=network, epochs=1, **options)
    line = str(stop.value)
    assert line.startswith("out of memory in training, batch of 4 items, the longest of 0.04 s: ") and "\n" not in line
    assert "allocate" in line
    for way in ("lower batch_size", "--gradient_checkpointing true", "--precision bf16", "lower training_signal_len"):
        assert way.lower() in line.lower()


@pytest.mark.parametrize("stage, evaluations", [("validation", 1), ("the test", 3)])
def test_N11_in_evaluation(stage, evaluations, tmp_path):
    attributes = {"error": ERRORS["CUDA"], "in_training": False, "evaluations": evaluations}
    network = type("Network", (TooLarge,), attributes)
    with pytest.raises(UserError) as stop:
        live(tmp_path / "run", network=network, epochs=1, eval_precision="fp32")
    line = str(stop.value)
    assert line.startswith(f"out of memory in {stage}, batch of 1 item, the longest of 0.04 s: CUDA out of memory")
    assert line.endswith("Shorten the longest files, or give --eval_precision bf16.")


def test_N11_only_what_can_still_be_lowered_is_named(tmp_path):
    network = type("Network", (TooLarge,), {"error": ERRORS["CPU"]})
    options = {"batch_size": 1, "gradient_checkpointing": True, "precision": "bf16"}
    with pytest.raises(UserError, match="Choose a smaller preset.$"):
        live(tmp_path / "run", network=network, epochs=1, **options)


def test_N11_other_errors_stay_what_they_are(tmp_path):
    network = type("Network", (TooLarge,), {"error": RuntimeError("shapes differ")})
    with pytest.raises(RuntimeError, match="^shapes differ$"):
        live(tmp_path / "run", network=network, epochs=1)


class Once(Dropping):
    """Does not fit into memory in one training batch, the eighth of this process."""

    left = 8

    def forward(self, mix, lengths=None):
        type(self).left -= self.training
        if self.training and self.left == 0:
            raise torch.OutOfMemoryError(CUDA)
        return super().forward(mix, lengths)


def test_the_same_command_goes_on_after_it_as_if_nothing_had_been(tmp_path, capsys):
    """The exit code is 2, with one line; the next start takes the checkpoint of batch 6."""
    network = type("Network", (Once,), {"left": 8})
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        live(tmp_path / "stopped", network=network)
    assert end.value.code == 2 and "batch of 1 item, the longest of 0.04 s" in capsys.readouterr().err
    again, whole = live(tmp_path / "stopped", network=network), live(tmp_path / "whole")
    assert torch.equal(weights(again), weights(whole))
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


WORDS = [
    torch.OutOfMemoryError("HIP out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", WORDS, ids=str)
def test_other_words_for_it(error):
    assert is_out_of_memory(error)
