"""The safe step on a GPU that there is not, in every precision: what waits for the device is what is listed here."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
import torch
from fake_cuda import CUDA, a_gpu, placed
from speechbrain.dataio.batch import PaddedBatch

from lobes.models import get_model
from lobes.objectives.separation import separation_loss
from lobes.training.batches import to_device
from lobes.training.brain import SeparationBrain
from lobes.training.epoch_counts import EpochCounts
from lobes.training.metric_gan import MetricGan
from lobes.training.optim import build_optimizer
from lobes.training.progress import GroupMeter
from lobes.training.safe_step import SafeStepBrain

ALLOWED = {
    ("lobes/training/safe_step.py", "check_loss_isfinite"): "a step is taken or skipped on the CPU",
    ("lobes/training/safe_step.py", "_all_ranks_finite"): "a step is taken or skipped on the CPU",
    ("lobes/training/safe_step.py", "optimizers_step"): "the norm of the gradient, for the learning curve",
    ("speechbrain/core.py", "fit_batch"): "SpeechBrain hands the loss on as a number",
    ("lobes/training/brain.py", "count_scores"): "scores of a validation are added up on the CPU",
    ("lobes/training/brain.py", "count_parts"): "parts of a loss, for the learning curve",
    ("lobes/training/metric_gan.py", "_step"): "a step of the discriminator is taken or skipped on the CPU",
    ("lobes/training/pesq_labels.py", "ask"): "other processes compute the PESQ",
    ("lobes/objectives/discriminator.py", "discriminator_loss"): "clips without a PESQ are left out",
}
IN_A_STEP = 5  # of fp32 and bf16; GradScaler reads once more


class Separation(SafeStepBrain):
    """The method of the recipes for separation."""

    def compute_forward(self, batch, stage):
        return self.modules.separator(*to_device(batch, self.device).mix_sig)

    def compute_objectives(self, predictions, batch, stage):
        mix, lengths = batch.mix_sig
        return separation_loss(predictions, batch.sources_sig.data, lengths, mix).mean()


def batch_of(*samples: int) -> PaddedBatch:
    """Items of noise with two sources, as a loader makes them, on the CPU."""
    made = [{"id": str(n), "mix_sig": torch.randn(n), "sources_sig": torch.randn(n, 2)} for n in samples]
    return PaddedBatch(made)


def brain_on(mode, precision: str) -> Separation:
    """A Brain with its network and its optimizer on the GPU."""
    network = get_model("spmamba_tiny", n_layers=1)
    brain = Separation({"separator": network}, None, {}, {"device": "cpu", "precision": "fp32"})
    placed(brain.modules, mode)
    brain.device, brain.device_type = str(CUDA), "cuda"
    brain.optimizer = build_optimizer(brain.modules, lambda groups: torch.optim.AdamW(groups, lr=1e-3, fused=True))
    brain.optimizers_dict, brain.optimizer_step, brain.step = {"optimizer": brain.optimizer}, 0, 1
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    brain.training_ctx = torch.autocast("cuda", dtype, enabled=precision != "fp32")
    brain.scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")  # the device is that of the losses
    return brain


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step(precision, monkeypatch):
    mode = a_gpu(ALLOWED, monkeypatch)
    brain = brain_on(mode, precision)
    before = [weight.device for weight in brain.modules.parameters()]
    with mode:
        loss = brain.fit_batch(batch_of(800, 500))
    assert loss.device.type == "cpu" and set(before) == {CUDA}
    assert brain.counts.taken == 1
    assert len(mode.reads) <= IN_A_STEP + (precision == "fp16"), mode.reads
    assert {state["exp_avg"].device for state in brain.optimizer.state.values()} == {CUDA}


class Counting(SeparationBrain):
    """Without its start, which wants a run folder."""

    def __init__(self):
        self.meter, self.counts = GroupMeter(), EpochCounts()


def test_the_scores_of_a_validation_and_the_parts_of_a_loss(monkeypatch):
    brain = Counting()
    with a_gpu(ALLOWED, monkeypatch) as mode:
        batch = to_device(batch_of(800, 500), CUDA)
        brain.count_scores(torch.empty(2, 800, 2, device=CUDA), batch)
        brain.count_parts({"time": torch.ones(2, device=CUDA)})
    assert {place[1] for place in mode.reads} == {"count_scores", "count_parts"}
    assert brain.meter.mean("si_sdr") == 1.0  # what every reading gives


class Pool:
    """Processes for PESQ that there are not."""

    def __init__(self, *_):
        self.asked = Future()
        self.asked.set_result({"pesq": "2.5"})

    def submit(self, job):
        assert job.metrics == ("pesq",)
        return self.asked


def test_the_metric_discriminator_learns(monkeypatch):
    monkeypatch.setattr("lobes.training.pesq_labels.WorkerPool", Pool)
    mode = a_gpu(ALLOWED, monkeypatch)
    gan = MetricGan(lambda parameters: torch.optim.AdamW(parameters, lr=1e-3), 1, 1, 16000)
    placed(gan.discriminator, mode).to = lambda _: gan.discriminator  # it is there, and `to` swaps no fake weights
    gan.optimizer = torch.optim.AdamW(gan.discriminator.parameters(), lr=1e-3)
    with mode:
        spectra, waves = torch.empty(2, 2, 64, 64, device=CUDA).unbind(), torch.empty(2, 2, 1600, device=CUDA).unbind()
        assert gan.score(*spectra).device == CUDA
        assert gan.learn(spectra, waves) is None  # its labels come with the next step
        assert gan.learn(spectra, waves).device == CUDA
