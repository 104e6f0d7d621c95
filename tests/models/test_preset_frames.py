"""Window and hop of the presets in milliseconds, as published. The README's table shows them by their cost alone."""

import pytest

from lobes.models import get_model

# preset -> (window, hop) in ms, and what makes the network small without touching either
STFT = {
    "spmamba_8k": (32, 8, {"n_layers": 1, "emb_dim": 4, "n_heads": 2, "approx_qk_dim": 129}),
    "spmamba_16k": (32, 8, {"n_layers": 1, "emb_dim": 4, "n_heads": 2, "approx_qk_dim": 257}),
    "tf_gridnet": (32, 8, {"n_layers": 1, "emb_dim": 4, "lstm_hidden_units": 4, "n_heads": 2, "approx_qk_dim": 129}),
    "bsrnn": (32, 8, {"n_layers": 1, "n_channels": 4}),
    "bs_bimamba_abl3": (32, 8, {"n_layers": 1, "n_channels": 4}),
    "mbs_net": (32, 8, {"n_layers": 1, "n_channels": 4}),
}
# preset -> (window, hop) of the encoder in ms
ENCODER = {
    "convtasnet": (2, 1, {"R": 1, "X": 1, "B": 4, "H": 4}),
    "mamba_tasnet_m": (2, 1, {"n_layers": 1, "d_model": 8}),
}


@pytest.mark.parametrize("preset", STFT)
def test_stft(preset):
    window, hop, small = STFT[preset]
    model = get_model(preset, **small)
    per_ms = model.sample_rate / 1000
    assert (model.stft.n_fft / per_ms, model.stft.hop_length / per_ms) == (window, hop)


@pytest.mark.parametrize("preset", ENCODER)
def test_encoder(preset):
    window, hop, small = ENCODER[preset]
    model = get_model(preset, **small)
    per_ms = model.sample_rate / 1000
    assert (model.kernel_size / per_ms, model.stride / per_ms) == (window, hop)
