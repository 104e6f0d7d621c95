"""A classifier of spectrograms in Vim's manner: patches, and one projection for both directions, by functions."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

try:
    from causal_conv1d import causal_conv1d_fn
except ImportError:
    causal_conv1d_fn = None
from mamba_ssm.modules.mamba_simple import Mamba
from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn, selective_scan_fn

try:
    from mamba_ssm.ops.triton.layernorm import RMSNorm, rms_norm_fn
except ImportError:
    RMSNorm, rms_norm_fn = None, None
try:
    from mamba_ssm.modules.mamba2 import Mamba2
except ImportError:
    Mamba2 = None
from mamba_ssm.utils.generation import GenerationMixin
from mamba_ssm.utils.hf import load_config_hf, load_state_dict_hf  # noqa: F401


class BothDirections(Mamba):
    """Mamba with a second convolution, selection and A for the way back; the projections in and out are shared."""

    def __init__(self, d_model, fused=True, **kwargs):
        super().__init__(d_model, **kwargs)
        self.fused = fused
        self.A_b_log = nn.Parameter(self.A_log.detach().clone())
        self.A_b_log._no_weight_decay = True
        self.conv1d_b = nn.Conv1d(self.d_inner, self.d_inner, self.d_conv, groups=self.d_inner, padding=self.d_conv - 1)
        self.x_proj_b = nn.Linear(self.d_inner, self.dt_rank + 2 * self.d_state, bias=False)
        self.dt_proj_b = nn.Linear(self.dt_rank, self.d_inner)
        self.D_b = nn.Parameter(torch.ones(self.d_inner))

    def forward(self, hidden_states, inference_params=None):
        batch, length, _ = hidden_states.shape
        xz = (self.in_proj.weight @ hidden_states.reshape(batch * length, -1).t()).view(-1, batch, length)
        xz = xz.transpose(0, 1)  # [B, 2 D, L]
        ahead = self.one(xz, self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D)
        back = self.one(xz.flip(-1), self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b)
        return (ahead + back.flip(1)) / 2

    def one(self, xz, conv, x_proj, dt_proj, A_log, D):
        A, bias = -torch.exp(A_log.float()), dt_proj.bias.float()
        if self.fused:
            weights = (conv.weight, conv.bias, x_proj.weight, dt_proj.weight, self.out_proj.weight, self.out_proj.bias)
            return mamba_inner_fn(xz, *weights, A, None, None, D.float(), delta_bias=bias, delta_softplus=True)
        length = xz.shape[-1]
        x, z = xz.chunk(2, dim=1)
        x = causal_conv1d_fn(x, conv.weight.squeeze(1), conv.bias, activation=self.activation)
        selected = x_proj(x.transpose(1, 2).reshape(-1, self.d_inner))
        dt, B, C = selected.split([self.dt_rank, self.d_state, self.d_state], -1)
        dt = (dt_proj.weight @ dt.t()).view(self.d_inner, -1, length).transpose(0, 1)
        B, C = (maps.view(-1, length, self.d_state).transpose(1, 2).contiguous() for maps in (B, C))
        y = selective_scan_fn(x, dt, A, B, C, D.float(), z=z, delta_bias=bias, delta_softplus=True)
        return self.out_proj(y.transpose(1, 2))


class Patches(nn.Module, GenerationMixin):
    """Spectrograms [B, 1, T, F] to logits [B, classes]; the class token stands in the middle."""

    def __init__(self, channels=32, layers=4, patch=8, largest=64, classes=10):
        super().__init__()
        self.embed = nn.Conv2d(1, channels, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.place = nn.Parameter(0.02 * torch.randn(1, largest + 1, channels))
        mixer = partial(BothDirections, d_state=16)
        self.mixers = nn.ModuleList([mixer(channels, fused=i % 2 == 0, layer_idx=i) for i in range(layers)])
        self.norms = nn.ModuleList([RMSNorm(channels) for _ in range(layers + 1)])
        self.head = nn.Linear(channels, classes)
        for mixer in self.mixers:
            nn.init.kaiming_uniform_(mixer.out_proj.weight, a=math.sqrt(5 * layers))

    def forward(self, spectrograms):
        x = self.embed(spectrograms).flatten(2).transpose(1, 2)
        middle = x.shape[1] // 2
        x = torch.cat([x[:, :middle], self.token.expand(len(x), -1, -1), x[:, middle:]], 1)
        x, residual = x + self.place[:, : x.shape[1]], None
        for mixer, norm in zip(self.mixers, self.norms[:-1], strict=True):
            how = {"eps": norm.eps, "prenorm": True, "residual_in_fp32": True}
            x, residual = rms_norm_fn(x, norm.weight, norm.bias, residual=residual, **how)
            x = mixer(x)
        last = self.norms[-1]
        x = rms_norm_fn(
            x, last.weight, last.bias, eps=last.eps, residual=residual, prenorm=False, residual_in_fp32=True
        )
        return self.head(x[:, middle])


def loss_of(logits, labels):
    return F.cross_entropy(logits, labels)
