"""Training with a metric discriminator: the enhancer learns what the discriminator believes about PESQ.

The discriminator learns from the PESQ of the enhancer's own output, which other processes compute: while the enhancer's
next step runs, if that runs on a GPU. B batch, T samples, L frames, F bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import main_process_only
from torch import Tensor

from lobes.errors import UserError
from lobes.objectives.discriminator import MetricDiscriminator, discriminator_loss, generator_loss
from lobes.training.optim import average_over_ranks
from lobes.training.pesq_labels import PesqLabels


@register_checkpoint_hooks
class MetricGan:
    """A discriminator with its optimizer, its labels and the epoch from which it is used.

    Before that epoch nothing is computed. From then on each clip costs one PESQ.

    Arguments
    ---------
    opt_class : callable
        Makes the discriminator's optimizer from its parameters.
    first_epoch : int or None
        Epoch from which the discriminator is used; None: never.
    workers : int
        Processes for PESQ.
    sample_rate : int
        In Hz: 8000 or 16000.
    max_grad_norm : float
        Of the discriminator's gradient.

    Raises
    ------
    UserError
        If there is no process for PESQ.

    Example
    -------
    >>> gan = MetricGan(torch.optim.Adam, first_epoch=2, workers=1, sample_rate=16000)
    >>> gan.active(1), gan.active(2)
    (False, True)
    >>> gan.score(torch.rand(2, 63, 257), torch.rand(2, 63, 257)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        opt_class: Callable[[object], torch.optim.Optimizer],
        first_epoch: int | None,
        workers: int,
        sample_rate: int,
        max_grad_norm: float = 5.0,
    ) -> None:
        if first_epoch is not None and workers < 1:
            raise UserError(f"pesq_workers: expected at least 1 with a metric discriminator, got {workers}.")
        self.discriminator = MetricDiscriminator()
        self.optimizer = opt_class(self.discriminator.parameters())
        self.first_epoch, self.workers, self.sample_rate = first_epoch, workers, sample_rate
        self.max_grad_norm = max_grad_norm
        self.labels: PesqLabels | None = None
        self._asked: tuple[Tensor, Tensor] | None = None  # target and estimate whose PESQ is being computed

    def active(self, epoch: int) -> bool:
        """Whether the discriminator is used in an epoch (counted from 1)."""
        return self.first_epoch is not None and epoch >= self.first_epoch

    def score(self, target: Tensor, estimate: Tensor) -> Tensor:
        """The enhancer's loss [B]: how far each estimate is from a perfect score. Compressed magnitudes [B, L, F]."""
        self.discriminator.to(target.device).train()
        return generator_loss(self.discriminator, target.detach(), estimate)

    def learn(self, spectra: tuple[Tensor, Tensor], waves: tuple[Tensor, Tensor]) -> Tensor | None:
        """Ask for the PESQ of this batch, and take a step on the batch before, whose PESQ has been computed meanwhile.

        On a CPU the step waits for its own labels: processes that ran during the next step would take its cores.

        Arguments
        ---------
        spectra : tuple of Tensor
            Compressed magnitudes [B, L, F] of the targets and of the estimates.
        waves : tuple of Tensor
            Waveforms [B, T] of the same.

        Returns
        -------
        Tensor or None
            The discriminator's loss; None when there is nothing to learn from yet.
        """
        if self.labels is None:
            self.labels = PesqLabels(self.workers, self.sample_rate)
        loss = self._learn_asked()
        self._asked = (spectra[0].detach(), spectra[1].detach())
        self.labels.ask(waves[1], waves[0])
        return loss if has_cores_to_spare(waves[0].device) else self._learn_asked()

    def close(self) -> None:
        """End the processes; what was asked and not taken is dropped."""
        if self.labels is not None:
            self.labels.close()
        self.labels, self._asked = None, None

    def _learn_asked(self) -> Tensor | None:
        if self.labels is None or self._asked is None:
            return None
        asked, self._asked = self._asked, None
        return self._step(*asked, self.labels.collect())

    def _step(self, target: Tensor, estimate: Tensor, pesq: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = discriminator_loss(self.discriminator, target, estimate, pesq.to(target.device))
        loss.backward()
        parameters = list(self.discriminator.parameters())
        average_over_ranks(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        if math.isfinite(norm):
            self.optimizer.step()
        return loss.detach()

    @mark_as_saver
    @main_process_only
    def save(self, path: Path) -> None:
        """Write discriminator and optimizer to a checkpoint file."""
        state = {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, path)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Read them from a checkpoint file."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


def has_cores_to_spare(device: torch.device) -> bool:
    """Whether a training on this device leaves cores to other processes; on a CPU it computes with all of them."""
    return device.type != "cpu"
