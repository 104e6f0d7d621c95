"""SpeechBrain's own Checkpointer goes on from the newest checkpoint of our runs."""

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from lobes.data.datasets import examples
from lobes.models import get_model
from lobes.training.optim import build_optimizer

SIZES = "--N 16 --B 8 --H 8 --X 2 --R 1"


class Stopped(Exception):
    """In place of a kill."""


class StockBrain(sb.Brain):
    """A recipe of SpeechBrain's: its loop, its checkpointer."""

    losses = ()

    def compute_forward(self, batch, stage):
        return self.modules.separator(*batch.mix_sig)

    def compute_objectives(self, predictions, batch, stage):
        loss = (predictions - batch.sources_sig.data).square().mean()
        self.losses = (*self.losses, float(loss.detach()))
        return loss


def stock_brain(run, dataset):
    """One with the recoverables of such a recipe: network, epoch counter, optimizer, loader, and the Brain itself."""
    network, counter = get_model("convtasnet_tiny", N=16, B=8, H=8, X=2, R=1), EpochCounter(3)
    checkpointer = Checkpointer(run / "save", {"separator": network, "counter": counter})
    options = {"device": "cpu", "noprogressbar": True}
    adamw = lambda _: build_optimizer(brain.modules, torch.optim.AdamW)  # noqa: E731
    brain = StockBrain({"separator": network}, adamw, {"counter": counter}, options, checkpointer)
    return brain, brain.make_dataloader(dataset, sb.Stage.TRAIN, batch_size=1, shuffle=True)


@pytest.fixture
def stopped_run(train, learnable, tmp_path, monkeypatch):
    """stopped_run(batches): a run of four batches an epoch that ended without a word after so many.

    It has saved after each second batch. Returns its newest checkpoint.
    """

    def make(batches):
        done, fit_batch = [], sb.Brain.fit_batch

        def counted(brain, batch):
            if len(done) == batches:
                raise Stopped
            done.append(batch)
            return fit_batch(brain, batch)

        words = (
            "hparams/spmamba.yaml --preset convtasnet_tiny --device cpu --precision fp32 --num_workers 0 "
            "--batch_size 6 --noprogressbar --training_signal_len 800 --warmup_steps 0 --test_metrics [si_sdr] "
            f"--ckpt_interval_minutes 0 --ckpt_interval_steps 2 --N_epochs 3 {SIZES}"
        )
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr(sb.Brain, "fit_batch", counted)
            folders = ["--data_folder", learnable["custom"], "--output_folder", tmp_path / "run"]
            train("custom", *words.split(), *folders)
        return max((tmp_path / "run" / "save").glob("CKPT+*"), key=lambda path: path.stat().st_mtime_ns)

    return make


def noises(items):
    signals = torch.randn(items, 800, 2, generator=torch.Generator().manual_seed(0)).numpy()
    rows = [{"ID": str(number)} for number in range(items)]
    return examples(rows, lambda ID: (signals[int(ID)].sum(-1), signals[int(ID)]))


@pytest.mark.parametrize("batches, epoch, step", [(8, 2, 0), (6, 1, 2)])
def test_stock_checkpointer_goes_on_from_our_newest_checkpoint(batches, epoch, step, stopped_run, tmp_path):
    newest = stopped_run(batches)
    brain, loader = stock_brain(tmp_path / "run", noises(4))
    brain.on_fit_start()
    found = torch.load(newest / "separator.ckpt", weights_only=True)
    assert all(torch.equal(value, found[name]) for name, value in brain.modules.separator.state_dict().items())
    assert (brain.hparams.counter.current, brain.step, brain.optimizer_step) == (epoch, step, batches)
    assert {float(state["step"]) for state in brain.optimizer.state_dict()["state"].values()} == {float(batches)}
    brain.fit(brain.hparams.counter, loader)
    assert len(brain.losses) == 12 - batches  # three epochs of four, less what our run has trained
