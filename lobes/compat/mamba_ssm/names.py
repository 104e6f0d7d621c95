"""Which name of mamba_ssm and causal_conv1d, versions 1.2 to 2.3, is served by which object of Lobes.

A module that mamba_ssm has and this table lacks is not offered. Both import paths are here where they moved with
version 2: `Block` and the norms.
"""

from __future__ import annotations

PACKAGES = ("mamba_ssm", "causal_conv1d")
VERSIONS = "lobes.compat.mamba_ssm.versions"
SCAN = "lobes.compat.mamba_ssm.scan"
CONVOLUTION = "lobes.compat.mamba_ssm.convolution"
INNER = "lobes.compat.mamba_ssm.inner"
LAYER = "lobes.compat.mamba_ssm.layer"
UPDATE = "lobes.compat.mamba_ssm.state_update"
NORMS = "lobes.compat.mamba_ssm.norms"
BLOCK = "lobes.compat.mamba_ssm.block"
STACK = "lobes.compat.mamba_ssm.stack"
GENERATION = "lobes.compat.mamba_ssm.generation"
Served = dict[str, tuple[str, str]]  # public name -> file, and the name there


def _of(file: str, *names: str, **others: str) -> Served:
    """Names of a file as they are, and `others` by the names that they have there."""
    return {**{name: (file, name) for name in names}, **{name: (file, there) for name, there in others.items()}}


_SCAN = _of(SCAN, "selective_scan_fn")
_INNER = _of(INNER, "mamba_inner_fn")
_LAYER = _of(LAYER, Mamba="MambaLayer")
_CONVOLUTION = _of(CONVOLUTION, "causal_conv1d_fn", "causal_conv1d_update")
_UPDATE = _of(UPDATE, "selective_state_update")
_NORMS = _of(NORMS, "layer_norm_fn", "rms_norm_fn", RMSNorm="FusedRMSNorm")
_BLOCK = _of(BLOCK, Block="MixerBlock")
_MLP = _of(BLOCK, "GatedMLP")
_GENERATION = _of(GENERATION, "GenerationMixin")
_HUB = _of(GENERATION, "load_config_hf", "load_state_dict_hf")
_PARTS = {**_SCAN, **_INNER, **_CONVOLUTION, **_UPDATE, **_NORMS}
_REFERENCES = _of(SCAN, "selective_scan_ref") | _of(INNER, "mamba_inner_ref")

SERVED: dict[str, Served] = {
    "causal_conv1d": {**_of(VERSIONS, __version__="CAUSAL_CONV1D"), **_CONVOLUTION},
    "causal_conv1d.causal_conv1d_interface": {
        **_CONVOLUTION,
        **_of(CONVOLUTION, "causal_conv1d_ref", causal_conv1d_update_ref="causal_conv1d_update"),
    },
    "mamba_ssm": {**_of(VERSIONS, __version__="MAMBA_SSM"), **_SCAN, **_INNER, **_LAYER},
    "mamba_ssm.modules": {},
    "mamba_ssm.modules.mamba_simple": {**_LAYER, **_of(BLOCK, Block="FirstMixerBlock"), **_PARTS},
    "mamba_ssm.modules.block": {**_BLOCK, **_NORMS},
    "mamba_ssm.modules.mlp": _MLP,
    "mamba_ssm.models": {},
    "mamba_ssm.models.mixer_seq_simple": {
        **_of(STACK, "create_block", _init_weights="init_weights"),
        **_LAYER,
        **_BLOCK,
        **_MLP,
        **_NORMS,
        **_GENERATION,
        **_HUB,
    },
    "mamba_ssm.ops": {},
    "mamba_ssm.ops.selective_scan_interface": {
        **_SCAN,
        **_INNER,
        **_REFERENCES,
        **_of(CONVOLUTION, "causal_conv1d_fn"),
    },
    "mamba_ssm.ops.triton": {},
    "mamba_ssm.ops.triton.layernorm": _NORMS,
    "mamba_ssm.ops.triton.layer_norm": _NORMS,
    "mamba_ssm.ops.triton.selective_state_update": {
        **_UPDATE,
        **_of(UPDATE, selective_state_update_ref="selective_state_update"),
    },
    "mamba_ssm.utils": {},
    "mamba_ssm.utils.generation": {**_of(GENERATION, "InferenceParams"), **_GENERATION},
    "mamba_ssm.utils.hf": _HUB,
}
