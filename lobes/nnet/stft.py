"""STFT and its inverse for signals of any length, right up to the true end of a padded item.

Both run at least in fp32 under any autocast. B batch (any number of signals), T samples, L frames, F bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lobes.errors import UserError
from lobes.nnet.lengths import mask, zero_padding
from lobes.nnet.precision import at_least_fp32, no_autocast

ROUNDING = 1e-12  # share of a frame's loudest bin; fp32 samples alone leave at least 1e-10 in a bin that is not empty
WEAKEST = 1e-3  # sum of squared windows below which the inverse no longer divides by it


class STFT(nn.Module):
    """Short-time Fourier transform pair with a periodic Hann window and reflected ends.

    Frame l is centred at sample l * hop_length, as in `torch.stft(center=True)`: T samples give T // hop_length + 1
    frames. Each item is reflected at its own end, and only its own frames enter the inverse, so that padding never
    changes an item. Signals of at most half a window, which torch.stft refuses, are extended by zeros.

    The inverse divides the overlapping frames by the sum of their squared windows, as `torch.istft` does. With a hop
    close to half a window, the last samples of a signal can lie under the foot of the last window alone, where that sum
    is almost zero and the division amplifies every error without limit. Where the sum is below `WEAKEST` (1e-3; it is
    at least 0.5 between two frames), the inverse therefore divides by `WEAKEST`: such samples fade out, and an error of
    the last frame is amplified at most 32 times. At most the last 0.057 n_fft samples are concerned, and none where the
    hop is at most 0.44 n_fft. All other samples are exactly those of `torch.istft`.

    Arguments
    ---------
    n_fft : int
        Window and FFT size in samples, even.
    hop_length : int
        Samples from frame to frame, at most n_fft / 2.

    Raises
    ------
    UserError
        If n_fft is odd or below 4, or the hop is not between 1 and half a window.

    Example
    -------
    >>> stft = STFT(256, 64)
    >>> x = torch.rand(2, 1000)
    >>> spectrum = stft(x)
    >>> spectrum.shape
    torch.Size([2, 2, 16, 129])
    >>> torch.allclose(stft.inverse(spectrum, 1000), x, atol=1e-5)
    True
    """

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        if n_fft < 4 or n_fft % 2 or not 1 <= hop_length <= n_fft // 2:
            raise UserError(
                "STFT: expected an even n_fft >= 4 and 1 <= hop_length <= n_fft / 2, "
                f"got n_fft={n_fft}, hop_length={hop_length}; change n_fft or hop_length"
            )
        self.n_fft, self.hop_length = n_fft, hop_length

    def frames(self, samples: Tensor) -> Tensor:
        """Return the number of frames L of signals with so many samples.

        Example
        -------
        >>> STFT(256, 64).frames(torch.tensor([1, 1000]))
        tensor([ 3, 16])
        """
        return self._extended(samples) // self.hop_length + 1

    def forward(self, x: Tensor, samples: Tensor | None = None) -> Tensor:
        """Compute the spectra, in fp64 where the device has it.

        The rounding noise of an fp32 FFT is 2^-24 of the loudest bin. A model that normalises each bin by itself, as
        LN4D does, would raise it to the level of speech: it accounts for six sevenths of SPMamba's fp32 error with the
        weights of its golden test.

        Arguments
        ---------
        x : Tensor
            Signals [B, T], T >= 1.
        samples : Tensor or None
            Valid samples per signal, Long [B]; None: all.

        Returns
        -------
        Tensor
            Real and imaginary part [B, 2, L, F]; zeros in frames after an item's last one.
        """
        if torch.jit.is_tracing():
            raise UserError(
                "torch.jit.trace would keep the length of its example for all signals; export a network on spectra "
                "with torch.export.export, for one length at a time"
            )
        with no_autocast(x):
            x = zero_padding(at_least_fp32(x), samples)
            full = max(x.shape[1], self.n_fft // 2 + 1)  # a number: a tensor's value would be unknown to torch.compile
            x = F.pad(x, (0, full - x.shape[1]))
            extended = torch.tensor(full) if samples is None else self._extended(samples)
            parts = self.transform(reflect(x, extended, self.n_fft // 2))  # [B, 2, L, F]
            if samples is None:
                return parts
            valid = mask(self.frames(samples), parts.shape[2])
            return parts * valid[:, None, :, None]

    def transform(self, x: Tensor) -> Tensor:
        """Compute the spectra [B, 2, L, F] of the frames that lie wholly inside of signals `x` [B, T], T >= n_fft.

        Inside it is fp64 where the device has it, as in `forward`.

        Example
        -------
        >>> STFT(256, 64).transform(torch.rand(2, 256 + 3 * 64)).shape
        torch.Size([2, 2, 4, 129])
        """
        dtype, x = x.dtype, x if x.device.type == "mps" else x.double()
        sizes = (self.n_fft, self.hop_length)
        spectrum = torch.stft(x, *sizes, window=self._window(x), center=False, return_complex=True)  # [B, F, L]
        parts = torch.view_as_real(spectrum).permute(0, 3, 2, 1).to(dtype)  # [B, 2, L, F]
        return without_rounding(parts) if x.dtype == torch.float64 else parts

    def pieces(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what each frame of `parts` [B, 2, L, F] adds to the signals, and to the weight that divides them.

        Both are [B, L, n_fft], the weight with B = 1.
        """
        window = self._window(parts)
        # the imaginary parts of the first and last bin do not enter a real signal
        spectrum = torch.complex(parts[:, 0], parts[:, 1])  # [B, L, F]
        pieces = torch.fft.irfft(spectrum, self.n_fft) * window  # [B, L, n_fft]
        return pieces, window.square().expand(1, pieces.shape[1], self.n_fft)

    def inverse(self, parts: Tensor, total: int, samples: Tensor | None = None) -> Tensor:
        """Compute signals [B, T] of `total` samples from spectra [B, 2, L, F] (real and imaginary part).

        `samples` are valid samples per signal, Long [B]; None: all. After an item's end the signals are zero.
        """
        with no_autocast(parts):
            parts = at_least_fp32(parts)
            pieces, envelope = self.pieces(parts)
            if samples is not None:
                valid = mask(self.frames(samples), pieces.shape[1])[:, :, None]
                pieces, envelope = pieces * valid, envelope * valid
            start = self.n_fft // 2
            signal = self.overlap_add(pieces)[:, start : start + total]
            weight = self.overlap_add(envelope)[:, start : start + total]
            return zero_padding(signal / weight.clamp(min=WEAKEST), samples)  # [B, T]

    def _extended(self, samples: Tensor) -> Tensor:
        return samples.clamp(min=self.n_fft // 2 + 1)

    def _window(self, x: Tensor) -> Tensor:
        # computed at every call and no buffer, so that a model in fp64 has a window exact to fp64
        return torch.hann_window(self.n_fft, dtype=x.dtype, device=x.device)

    def overlap_add(self, pieces: Tensor) -> Tensor:
        """Add pieces [B, L, n_fft] at every hop: [B, (L - 1) * hop_length + n_fft]."""
        total = (pieces.shape[1] - 1) * self.hop_length + self.n_fft
        columns = pieces.transpose(1, 2)  # [B, n_fft, L]
        return F.fold(columns, (1, total), (1, self.n_fft), stride=(1, self.hop_length)).flatten(1)


def without_rounding(parts: Tensor) -> Tensor:
    """Set to zero what is only rounding noise of an fp64 transform: below `ROUNDING` times the loudest of its frame.

    A constant and a tone whose period divides the window have bins that are zero. What rounding leaves there depends on
    the order of the sums, so on the machine, and a norm over one band makes it as loud as speech.

    Example
    -------
    >>> without_rounding(torch.tensor([[[[76.8, 1e-14]], [[0.0, 1e-9]]]])).flatten()
    tensor([7.6800e+01, 0.0000e+00, 0.0000e+00, 1.0000e-09])
    """
    sizes = parts.detach().abs()  # [B, 2, L, F]
    return parts * (sizes > ROUNDING * sizes.amax((1, 3), keepdim=True))


def reflect(x: Tensor, samples: Tensor, margin: int) -> Tensor:
    """Reflect `margin` samples at the start and at each item's own end: [B, T] -> [B, T + 2 margin].

    `samples` are valid samples, all above `margin`: one number for all items, or Long [B].

    Example
    -------
    >>> reflect(torch.tensor([[1, 2, 3, 0]]), torch.tensor([3]), 2)
    tensor([[3, 2, 1, 2, 3, 2, 1, 1]])
    """
    if samples.dim() == 0:
        return F.pad(x[:, None], (margin, margin), mode="reflect")[:, 0]
    last = samples.to(x.device)[:, None] - 1  # [B, 1]
    position = torch.arange(-margin, x.shape[1] + margin, device=x.device).abs()[None]  # [1, T + 2 margin]
    position = torch.where(position > last, 2 * last - position, position).clamp(min=0)
    return torch.gather(x, 1, position)
