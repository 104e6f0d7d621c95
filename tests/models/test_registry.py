"""The registry: every preset builds, counts are those of its file, mistakes are named."""

import shutil

import pytest
import torch

from lobes import config
from lobes.config import read_preset
from lobes.errors import UserError
from lobes.models import get_model, list_models
from lobes.models.registry import preset_meta

PARAMETERS = {
    "bs_bimamba_abl1": 4_306_832,
    "bs_bimamba_abl1_attention": 4_570_512,
    "bs_bimamba_abl1_attention_small": 1_889_744,
    "bs_bimamba_abl1_published": 4_308_880,
    "bs_bimamba_abl1_small": 1_790_288,
    "bs_bimamba_abl2": 4_905_360,
    "bs_bimamba_abl2_attention": 5_169_040,
    "bs_bimamba_abl2_attention_small": 2_740_192,
    "bs_bimamba_abl2_published": 4_909_456,
    "bs_bimamba_abl2_small": 2_585_152,
    "bs_bimamba_abl3": 4_098_192,
    "bs_bimamba_abl3_published": 4_102_288,
    "bs_bimamba_abl3_small": 1_967_952,
    "bsrnn": 2_963_024,
    "bsrnn_causal": 2_963_024,
    "bsrnn_local_norms": 2_963_024,
    "mbs_net": 2_349_447,
    "mbs_net_causal": 2_347_399,
    "mbs_net_causal_small": 309_143,
    "mbs_net_dual": 7_264_523,
    "convtasnet": 3_445_808,
    "convtasnet_tiny": 236_312,
    "spmamba_16k": 6_141_826,
    "spmamba_8k": 6_094_498,
    "spmamba_causal": 878_608,
    "spmamba_causal_small": 114_772,
    "spmamba_local": 1_156_368,
    "spmamba_local_mini": 190_906,
    "spmamba_small": 1_156_368,
    "spmamba_mini": 190_906,
    "spmamba_tiny": 88_906,
    "bsrnn_8k": 2_831_388,
    "bsrnn_8k_tiny": 276_140,
    "convtasnet_causal": 6_582_832,
    "convtasnet_cumulative": 6_582_832,
    "dpmamba_m": 15_869_441,
    "dpmamba_s": 8_136_193,
    "dpmamba_tiny": 97_153,
    "dprnn": 14_617_089,
    "dprnn_tiny": 227_457,
    "dptnet": 2_812_545,
    "mamba_tasnet_m": 15_647_488,
    "mamba_tasnet_s": 7_926_528,
    "mamba_tasnet_tiny": 98_368,
    "resepformer": 7_955_201,
    "sepformer": 25_679_361,
    "sepformer_tiny": 161_409,
    "skim": 14_506_753,
    "tf_gridnet": 14_521_042,
    "tf_gridnet_mini": 239_034,
}
ENHANCEMENT = ("bs_bimamba", "bsrnn", "mbs_net")


def test_every_preset_is_counted_here():
    assert list_models() == sorted(PARAMETERS)


@pytest.mark.parametrize("preset", PARAMETERS)
def test_parameters_are_as_stated_in_the_file(preset):
    model = get_model(preset)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[preset]
    meta = preset_meta(preset)
    assert meta["parameters"] == PARAMETERS[preset] and meta["num_sources"] == model.num_sources
    facts = {"source", "receptive_field", "compared", "parameters", "num_sources"}
    assert set(meta) - {"published", "claimed", "latency_ms"} == facts
    enhances = preset.startswith(ENHANCEMENT) and "8k" not in preset
    assert model.sample_rate == (16000 if enhances or "16k" in preset else 8000)
    assert model.num_sources == (1 if enhances else 2) and model.causal is ("latency_ms" in meta)


@pytest.mark.parametrize("preset", ["spmamba_tiny", "convtasnet_tiny", "bsrnn", "mbs_net"])
@pytest.mark.parametrize("num_sources", [1, 3])
def test_sources_are_passed_down(preset, num_sources):
    with torch.no_grad():
        assert get_model(preset, num_sources=num_sources)(torch.randn(2, 1000)).shape == (2, 1000, num_sources)


def test_overrides():
    model = get_model("spmamba_small", n_layers=1, gradient_checkpointing=True, sample_rate=16000)
    assert (len(model.blocks), model.gradient_checkpointing, model.sample_rate) == (1, True, 16000)


@pytest.mark.parametrize("preset", PARAMETERS)
def test_each_option_of_a_preset_reaches_the_network(preset):
    """Under its own name, where the network is ours; SpeechBrain's blocks have names of their own."""
    options, parts, *_ = read_preset(preset)
    trees = repr(parts)
    for name in options:
        assert f"<{name}>" in trees, f"{name} changes nothing"
        assert "masknet" in parts or parts["separator"][name].value == f"<{name}>"


@pytest.mark.parametrize("ablation", [2, 3])
@pytest.mark.parametrize("form", ["", "_published"])
def test_ablations_differ_only_in_what_they_ablate(ablation, form):
    first, other = (read_preset(f"bs_bimamba_abl{number}{form}").options for number in (1, ablation))
    assert {key for key in first if first[key] != other[key]} == {"ablation"} and first.keys() == other.keys()


@pytest.mark.parametrize("ablation", [1, 2])
@pytest.mark.parametrize("size", ["", "_small"])
def test_attention_is_all_that_is_added(ablation, size):
    one, other = (read_preset(f"bs_bimamba_abl{ablation}{form}{size}").options for form in ("", "_attention"))
    assert {key: other[key] for key in one if one[key] != other[key]} == {"n_heads": 4} and one.keys() == other.keys()


def test_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="spmamba_smal.*Did you mean 'spmamba_small'"):
        get_model("spmamba_smal")


@pytest.mark.parametrize("preset", ["../models/spmamba_tiny", "", "/etc/hosts"])
def test_a_preset_is_a_name_and_not_a_path(preset):
    with pytest.raises(UserError, match="unknown model"):
        get_model(preset)


@pytest.mark.parametrize("name", ["n_layer", "separator", "emb_dims"])
def test_unknown_override_names_the_nearest(name):
    with pytest.raises(UserError, match=f"unknown option {name}"):
        get_model("spmamba_tiny", **{name: 1})


def test_presets_are_found_inside_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "lobes"
    shutil.copytree(config.models_folder().parent, package / "hparams_shared")
    monkeypatch.setattr(config.presets, "_PACKAGE", package)
    assert config.models_folder() == package / "hparams_shared" / "models"
    assert list_models() == sorted(PARAMETERS) and read_preset("convtasnet_tiny").options["P"] == 3


def test_missing_presets_are_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(config.presets, "_PACKAGE", tmp_path / "lobes")
    with pytest.raises(UserError, match="reinstall"):
        list_models()
