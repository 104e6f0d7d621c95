"""Band-split RNN for enhancement. B batch, L frames, F bins, K bands, D channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.models.base.band_mask import BandMaskModel
from lobes.nnet.band_split import SMALLEST
from lobes.nnet.banded import BandNorm, cumulative_norm, frame_norm, global_norm, joint_norm
from lobes.nnet.bilstm import BiLSTM
from lobes.nnet.lengths import derived
from lobes.nnet.memory import Memory
from lobes.nnet.mixers import Directions, chosen_direction, chosen_mixer, chosen_width, make_mixers
from lobes.nnet.precision import at_least_fp32, no_autocast
from lobes.nnet.reflected_stft import ReflectedSTFT
from lobes.nnet.slices import in_slices

NORMS = {"joint": 1e-5, "local": SMALLEST}  # norms of the layers -> epsilon of the norms in the band split
EPS = 1e-5  # of the layers' own norms
EXPANSION = 2  # numbers that a mixer makes of one, at least
Normalise = Callable[..., Tensor]  # of x [B, L, K, D], frames and epsilon; a cumulative one also of a memory


class BSRNN(BandMaskModel):
    """BSRNN (Yu et al. 2023, arXiv:2212.00406) as in its open implementation: 2,963,024 parameters by default.

    First all layers over time, forward only, then all layers across bands, in both directions; then a complex mask of
    three taps for each bin. Spectra equal those of github.com/sungwon23/BSRNN with the same weights, which
    `lobes.models.from_upstream` and `to_upstream` convert. That code calls the network causal, but its norms see all
    frames and its masks the next one; `causal=True`, which needs `norms="local"`, makes it causal.

    Arguments
    ---------
    n_channels : int
        Channels D of a band; LSTMs have 2 D.
    n_layers : int
        Layers of each kind.
    expansion : int or sequence of int
        Hidden size of the mask decoder divided by D: one for all bands, or one for each.
    causal : bool
        Norms over past frames, masks on frames l-2 to l.
    norms : str
        "joint": each layer normalises over all bands, frames and channels of an item together, as published. "local":
        a layer over time normalises each band alone, a layer across bands each frame alone, and the band split does
        not feel the level: another network, with weights of the same shapes.
    start : str
        Of the weights. "published": Xavier and orthogonal matrices everywhere and zero biases, so that an untrained
        model gives noise. "passthrough": the decoder starts near a mask of one and LSTMs as PyTorch does, so that
        an untrained model roughly passes the mixture through, which helps short trainings.
    reflected_hop : bool
        In evaluation mode, reflect one hop at both ends before the STFT and cut it off after the inverse, as the
        published score was computed; see `lobes.nnet.reflected_stft.ReflectedSTFT`.
    mixer, direction, mixer_width, mixer_heads
        As in `lobes.nnet.mixers`, with 2 D inner channels by default. BSRNN's own is lstm, forward in time.
    **bands
        As in `lobes.models.base.band_model.BandModel`.

    Raises
    ------
    UserError
        For sizes and options that do not fit together.

    Example
    -------
    >>> BSRNN(n_channels=16, n_layers=1)(torch.rand(2, 3000)).shape
    torch.Size([2, 3000, 1])
    """

    def __init__(
        self,
        n_channels: int = 64,
        n_layers: int = 5,
        expansion: int | Sequence[int] = 4,
        causal: bool = False,
        norms: str = "joint",
        start: str = "published",
        reflected_hop: bool = False,
        mixer: str | None = None,
        direction: str | None = None,
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
        **bands: Any,
    ) -> None:
        if "as_published" in bands:  # the name of `start` in folders of earlier versions
            start = "published" if bands.pop("as_published") else "passthrough"
        _check(norms, causal, reflected_hop)
        name, side = chosen_mixer(mixer, "lstm", causal), chosen_direction(direction, "forward", causal)
        sizes = (name, mixer_width, mixer_heads)

        def layers() -> list[nn.Module]:
            over_time = [TimeLSTM(n_channels, norms, causal, start, side, *sizes) for _ in range(n_layers)]
            return [*over_time, *(BandLSTM(n_channels, norms, start, *sizes) for _ in range(n_layers))]

        super().__init__(n_channels, layers, expansion, start, causal=causal, **bands)
        self.mixer, self.direction = name, side
        if reflected_hop:
            self.stft = ReflectedSTFT(self.stft.n_fft, self.stft.hop_length)
        self.use_norms(norms)

    def use_norms(self, norms: str) -> None:
        """Give all layers new norms, "joint" or "local", and the band split the epsilon that goes with them."""
        self.norms = norms
        for layer in self.layers:
            if isinstance(layer, ResidualLSTM):
                layer.use_norm(norms)
        for module in self.split.modules():
            if isinstance(module, BandNorm):
                module.eps = NORMS[norms]


def _check(norms: str, causal: bool, reflected_hop: bool) -> None:
    if norms not in NORMS:
        raise UserError(f"norms: expected {' or '.join(NORMS)}, got {norms!r}")
    if causal and (norms == "joint" or reflected_hop):
        raise UserError(
            "BSRNN: a causal model needs norms that see no later frame and no reflected hop; set norms: local and "
            "reflected_hop: false, as the preset bsrnn_local_norms does"
        )


class ChannelNorm(nn.Module):
    """Normalise [B, L, K, D] by a function of `lobes.nnet.banded`, then scale and shift each channel; at least fp32.

    Example
    -------
    >>> ChannelNorm(8, joint_norm)(torch.rand(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(self, n_channels: int, normalise: Normalise) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.normalise = normalise

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Normalise `x` [B, L, K, D] with `frames` valid frames per item (Long [B]); with a `memory`, a chunk."""
        chunk = () if memory is None else (memory, self)
        with no_autocast(x):
            return self.normalise(at_least_fp32(x), frames, EPS, *chunk) * self.weight + self.bias


class ResidualLSTM(nn.Module):
    """x + Linear(LSTM(norm(x))), the layer of BSRNN with 2 D units in each direction; subclasses choose the axis.

    Another mixer takes the LSTM's place. The norm's name, `joint` or `local`, is a part of its keys in a state dict, so
    that weights trained with one kind do not fit a network of the other. `local` is the function that computes the
    local one.
    """

    def __init__(
        self,
        n_channels: int,
        side: str,
        norms: str,
        local: Normalise,
        start: str,
        mixer: str,
        mixer_width: int | None,
        mixer_heads: int | None,
    ) -> None:
        super().__init__()
        self.local = local
        self.norm = nn.ModuleDict()
        width = chosen_width(mixer_width, 2 * n_channels)
        self.lstm = BiLSTM(n_channels, width, side == "both") if mixer == "lstm" else None
        self.mixer = None
        if mixer != "lstm":
            self.mixer = Directions(make_mixers(mixer, n_channels, side, width, heads=mixer_heads), n_channels)
        self.linear = nn.Linear(self.sequence.outputs, n_channels)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if start == "published" and self.lstm is not None:
            start_as_published(self.lstm)
        self.use_norm(norms)

    @property
    def sequence(self) -> BiLSTM | Directions:
        """The LSTM, or the other mixer."""
        found = self.mixer if self.lstm is None else self.lstm
        assert found is not None
        return found

    def use_norm(self, norms: str) -> None:
        """Take a new norm, "joint" or "local"."""
        normalise = joint_norm if norms == "joint" else self.local
        self.norm = nn.ModuleDict({norms: ChannelNorm(self.linear.out_features, normalise)})

    def in_slices(self, layer: Callable[[Tensor], Tensor], x: Tensor, dim: int) -> Tensor:
        """Apply a layer a few positions at a time, unless it is an LSTM, whose steps are quick with many sequences."""
        return layer(x) if self.mixer is None else in_slices(layer, x, dim, expansion=EXPANSION)

    def normalised(self, x: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        """Apply the norm to `x` [B, L, K, D] with `frames` valid frames per item (Long [B])."""
        (norm,) = self.norm.values()
        return norm(x, frames, memory)


class TimeLSTM(ResidualLSTM):
    """The layer over the frames of each band; its local norm is over frames and channels of each band.

    Example
    -------
    >>> TimeLSTM(8)(torch.rand(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(
        self,
        n_channels: int,
        norms: str = "joint",
        causal: bool = False,
        start: str = "published",
        side: str = "forward",
        mixer: str = "lstm",
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        local = cumulative_norm if causal else global_norm
        super().__init__(n_channels, side, norms, local, start, mixer, mixer_width, mixer_heads)
        self.forward_only = side == "forward"

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, K, D] with `frames` valid frames per item (Long [B]); with a `memory`, over a chunk."""
        y = self.normalised(x, frames, memory)
        if memory is not None:  # its state is that of all bands
            return x + self._along(y, frames, memory)
        return x + self.in_slices(lambda part: self._along(part, frames), y, dim=2)

    def _along(self, x: Tensor, frames: Tensor | None, memory: Memory | None = None) -> Tensor:
        # padding comes last: who runs forward only meets it when all is done
        steps, bands = None, x.shape[2]
        if frames is not None and not self.forward_only:
            steps = derived(frames, lambda n: n.repeat_interleave(bands))  # [B K]
        y = self.linear(self.sequence(x.transpose(1, 2).flatten(0, 1), steps, memory))  # [B K, L, D]
        return y.unflatten(0, (-1, bands)).transpose(1, 2)


class BandLSTM(ResidualLSTM):
    """The layer across the bands of each frame, in both directions; its local norm is over all values of a frame.

    Example
    -------
    >>> BandLSTM(8)(torch.rand(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(
        self,
        n_channels: int,
        norms: str = "joint",
        start: str = "published",
        mixer: str = "lstm",
        mixer_width: int | None = None,
        mixer_heads: int | None = None,
    ) -> None:
        super().__init__(n_channels, "both", norms, frame_norm, start, mixer, mixer_width, mixer_heads)

    def forward(self, x: Tensor, frames: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Run over `x` [B, L, K, D] with `frames` valid frames per item (Long [B]); frames do not mix: no memory."""
        return x + self.in_slices(self._across, self.normalised(x, frames), dim=1)

    def _across(self, x: Tensor) -> Tensor:
        return self.linear(self.sequence(x.flatten(0, 1))).unflatten(0, x.shape[:2])  # [B L, K, D] inside


def start_as_published(lstm: nn.LSTM) -> None:
    """Xavier's weights for the inputs, orthogonal ones for the recurrence, each on the whole stacked matrix; no biases.

    Example
    -------
    >>> start_as_published(lstm := nn.LSTM(4, 8))
    >>> torch.allclose(lstm.weight_hh_l0.T @ lstm.weight_hh_l0, torch.eye(8), atol=1e-5)
    True
    """
    for name, values in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(values)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(values)
        else:
            nn.init.zeros_(values)
