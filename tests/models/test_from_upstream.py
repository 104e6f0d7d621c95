"""Published weights by the network's name: both ways, whatever trainers put around them, and clear refusals."""

import argparse
import collections
import copy
import pathlib
import sys
import types

import numpy as np
import pytest
import torch

from lobes.errors import UserError
from lobes.models import from_upstream, get_model, to_upstream
from lobes.models.mamba_tasnet import MambaMaskNet
from lobes.models.spmamba import SPMamba
from lobes.nnet.bimamba import SharedBiMamba

GRIDNET = {"num_sources": 3, "n_layers": 2, "emb_dim": 6, "n_heads": 3, "approx_qk_dim": 258}
MODELS = {  # network -> preset, its options, and what no shape shows
    "spmamba": ("spmamba_tiny", {**GRIDNET, "hop_length": 64, "emb_hs": 2, "d_state": 5, "d_conv": 3}, {"emb_hs": 2}),
    "tf_gridnet": ("tf_gridnet", {**GRIDNET, "emb_ks": 3, "lstm_hidden_units": 5}, {}),
    "mamba_tasnet": ("mamba_tasnet_tiny", {"num_sources": 3, "N": 10, "L": 11, "d_model": 18, "n_layers": 3}, {}),
    "dpmamba": (
        "dpmamba_tiny",
        {"N": 12, "L": 20, "K": 14, "n_layers": 3, "n_blocks": 2, "expand": 3, "skip_around_intra": True},
        {"K": 14, "skip_around_intra": True},
    ),
    "bsrnn": ("bsrnn", {"n_channels": 8, "n_layers": 2}, {"reflected_hop": True}),
}


@pytest.fixture(scope="module", params=MODELS)
def network(request):
    """Name, model and what no shape shows."""
    if request.param == "bsrnn":
        pytest.importorskip("lobes.models.convert.bsrnn_reference")
    preset, sizes, unseen = MODELS[request.param]
    torch.manual_seed(0)
    model = get_model(preset, **sizes).eval()
    for p in model.parameters():  # no two tensors are equal
        p.data += 0.1 * torch.randn_like(p)
    return request.param, model, unseen


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) and a[key].shape == b[key].shape for key in a)


def test_there_and_back(network):
    name, model, unseen = network
    published = to_upstream(model)
    loaded = from_upstream(name, published, **unseen)
    mix = torch.randn(2, 1203)
    with torch.no_grad():
        assert not loaded.training and torch.equal(loaded(mix), model(mix))
    assert same(to_upstream(loaded), published) and same(loaded.state_dict(), model.state_dict())


WRAPPED = {
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "distributed, averaged": lambda s: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in s.items()}},
    "each part distributed": lambda s: {k.replace(".", ".module.", 1): v for k, v in s.items()},
    "lightning, compiled": lambda s: {
        "state_dict": {f"model._orig_mod.{k}": v for k, v in s.items()} | {"loss.weight": torch.ones(1)},
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
    },
    "two copies": lambda s: {"ema": {k: 2 * v for k, v in s.items()}, "model_state_dict": s},
    "nested": lambda s: {"checkpoint": {"weights": s}},
}


@pytest.mark.parametrize("layout", WRAPPED)
def test_what_trainers_wrap_around_the_weights(network, layout):
    name, model, unseen = network
    published = to_upstream(model)
    assert same(to_upstream(from_upstream(name, WRAPPED[layout](published), **unseen)), published)


@pytest.mark.parametrize("fault", ["missing", "unknown", "wrong shape", "no tensor", "empty", "quantised", "complex"])
def test_weights_that_do_not_fit(network, fault):
    name, model, unseen = network
    weights = to_upstream(model)
    key = sorted(weights)[len(weights) // 2]
    changed = {"missing": {}, "unknown": {**weights, "more.weight": torch.ones(2)}, "no tensor": {**weights, key: 3}}
    changed["empty"] = {**weights, key: torch.ones(0)}
    changed["quantised"] = {**weights, key: weights[key].to(torch.int8)}
    changed["complex"] = {**weights, key: weights[key].to(torch.complex64)}
    changed["wrong shape"] = {**weights, key: torch.ones(7, 1, 1, 1, 1)}
    changed["missing"] = {k: v for k, v in weights.items() if k != key}
    with pytest.raises(UserError, match="more.weight" if fault == "unknown" else key.replace(".", r"\.")) as error:
        from_upstream(name, changed[fault], **unseen)
    assert "\n" not in str(error.value) and str(error.value).startswith("state dict: ")


def test_level_is_an_option_of_all(network):
    name, model, unseen = network
    weights, mix = to_upstream(model), torch.randn(1, 700)
    as_it_is = from_upstream(name, weights, level="none", **unseen)
    model.level = "none"
    with torch.no_grad():
        assert torch.equal(as_it_is(mix), model(mix))
        model.level = "item"
        assert not torch.equal(as_it_is(mix), model(mix))
    with pytest.raises(UserError, match="level: expected item or none, got 'unit'"):
        from_upstream(name, weights, level="unit", **unseen)


def test_another_network_is_named(network):
    name, model, _ = network
    for other in MODELS:
        if other != name:
            with pytest.raises(UserError, match=rf"found those of .*from_upstream\('{name}'"):
                from_upstream(other, to_upstream(model))


def test_names_and_options_are_checked():
    with pytest.raises(UserError, match="spmmamba: no such published network. Did you mean 'spmamba'"):
        from_upstream("spmmamba", {})
    with pytest.raises(UserError, match=r"unknown option hop_lenght. Did you mean 'hop_length'"):
        from_upstream("tf_gridnet", {}, hop_lenght=3)
    with pytest.raises(UserError, match="unknown option K. Known: sample_rate, level"):
        from_upstream("mamba_tasnet", {}, K=3)
    for nothing in ({}, {"a": 1}, {"state_dict": {}}):
        with pytest.raises(UserError, match="expected the weights of one Mamba-TasNet"):
            from_upstream("mamba_tasnet", nothing)
    two = to_upstream(get_model("mamba_tasnet_tiny", n_layers=1))
    with pytest.raises(UserError, match="found several, with keys under 'a.', 'b.'"):
        from_upstream("mamba_tasnet", {f"{side}.{key}": value for side in "ab" for key, value in two.items()})


@pytest.mark.parametrize("source", [None, [1], torch.nn.Linear(2, 2)])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(UserError, match=f"a checkpoint or a state dict, got {type(source).__name__}"):
        from_upstream("bsrnn", source)


@pytest.mark.parametrize("rate", ["8k", 0, -8000, 8000.5, True])
def test_a_sample_rate_is_a_number_of_hz(rate):
    with pytest.raises(UserError, match=f"sample_rate: expected a number of Hz, such as 8000, got {rate!r}"):
        from_upstream("mamba_tasnet", {}, sample_rate=rate)


def test_what_no_shape_of_dpmamba_shows():
    weights = to_upstream(get_model("dpmamba_tiny"))
    with pytest.raises(UserError, match="64 channels and 2 layers.*give K=<frames> and skip_around_intra="):
        from_upstream("dpmamba", weights, K=100)
    with pytest.raises(UserError, match="K: expected the frames of a chunk, at least 2, got 1"):
        from_upstream("dpmamba", weights, K=1, skip_around_intra=False)
    with pytest.raises(UserError, match="skip_around_intra: expected True or False, got 'no'"):
        from_upstream("dpmamba", weights, K=100, skip_around_intra="no")
    smallest = from_upstream("dpmamba", to_upstream(get_model("dpmamba_s", N=128)))  # the published XS
    assert smallest.masknet.K == 250 and not smallest.masknet.dual_mdl[0].skip_around_intra


@pytest.mark.parametrize("other", [{"L": 8}, {"d_state": 1}, {"d_conv": 1}, {"n_blocks": 2, "expand": 1}])
def test_dpmambas_of_other_sizes_are_not_taken_for_published_ones(other):
    weights = to_upstream(get_model("dpmamba_s", N=128, **other))
    with pytest.raises(UserError, match="no published DPMamba has the sizes of this one"):
        from_upstream("dpmamba", weights)


@pytest.mark.parametrize("strange", [torch.tensor(1.0), torch.ones(3), torch.ones(16, 8, 1)])
def test_shapes_that_give_no_sizes(strange):
    weights = to_upstream(get_model("mamba_tasnet_tiny", n_layers=1, N=8, d_model=8))
    for key in (
        "encoder.conv1d.weight",
        "masknet.mamba_net.layers.0.mixer.A_log",
        "masknet.bottleneck_conv1x1.conv.weight",
    ):
        with pytest.raises(UserError, match="expected the weights of (one|a) Mamba-TasNet"):
            from_upstream("mamba_tasnet", {**weights, key: strange})


def test_a_causal_mamba_tasnet_is_another_network():
    weights = to_upstream(get_model("mamba_tasnet_tiny", n_layers=1))
    with pytest.raises(UserError, match="mixer.A_b_log' is missing"):
        from_upstream("mamba_tasnet", {key: value for key, value in weights.items() if "_b" not in key})


def test_earlier_and_other_forms_have_no_published_one():
    earlier = get_model("mamba_tasnet_tiny", n_layers=1)
    earlier.masknet = MambaMaskNet(128, 64, 1)
    paths = get_model("dpmamba_tiny")
    paths.masknet.dual_mdl[1].inter_mdl = SharedBiMamba(64)
    linear = get_model("dpmamba_tiny", linear_layer_after_inter_intra=True)
    for model in (earlier, paths, linear, get_model("convtasnet_tiny"), get_model("mbs_net"), torch.nn.Linear(2, 2)):
        with pytest.raises(UserError, match=f"a {type(model).__name__} has no published form"):
            to_upstream(model)


def test_a_folder_with_a_file_for_each_part(tmp_path):
    model = get_model("mamba_tasnet_tiny", n_layers=1)
    published = to_upstream(model)
    for part in ("encoder", "masknet", "decoder"):
        state = {key.removeprefix(f"{part}."): v for key, v in published.items() if key.startswith(part)}
        torch.save({f"module.{key}": v for key, v in state.items()}, tmp_path / f"{part}.ckpt")
    assert same(to_upstream(from_upstream("mamba_tasnet", tmp_path)), published)
    (tmp_path / "masknet.ckpt").unlink()
    with pytest.raises(UserError, match=r"masknet.ckpt: expected a checkpoint file, found nothing"):
        from_upstream("mamba_tasnet", tmp_path)


def test_weights_in_fp64_and_in_half_precision(network):
    name, model, unseen = network
    published = to_upstream(model)
    double = {key: value.double() + 1e-12 for key, value in published.items()}
    assert same(to_upstream(from_upstream(name, double, **unseen)), double)
    half = from_upstream(name, {key: value.half() for key, value in published.items()}, **unseen)
    assert all(p.dtype == torch.float32 for p in half.parameters())


# ------------------------------------------------------------------ files
SMALL = {"n_layers": 1, "emb_dim": 4, "emb_ks": 4, "n_heads": 2, "approx_qk_dim": 129, "expand": 1}
EXTRAS = {  # what is saved with the weights
    "version": torch.__version__,  # an object, since PyTorch 1.10
    "namespace": argparse.Namespace(lr=1e-3, folder=pathlib.Path("a/b"), inner=argparse.Namespace(n=np.int64(3))),
    "simple namespace": types.SimpleNamespace(a=1),
    "numbers": {"score": np.float32(1.5), "flag": np.bool_(True), "count": np.int64(7), "half": np.float16(2)},
    "arrays": np.random.RandomState(0).get_state(),
    "paths": [pathlib.Path("/tmp/x"), pathlib.PurePosixPath("y"), pathlib.PureWindowsPath("C:/z")],
    "containers": [collections.defaultdict(list, {"loss": [1.0]}), collections.deque([1, 2], 3), frozenset({1})],
    "types": {"slice": slice(1, 2), "type": float},
    "tensor types": {"device": torch.device("cpu"), "dtype": torch.float16, "size": torch.Size([2, 3])},
}


def save(folder, extra, **more):
    model = SPMamba(**SMALL)
    torch.save({"state_dict": to_upstream(model), "hyper_parameters": extra, **more}, folder / "best_model.pth")
    return model


@pytest.mark.parametrize("extra", EXTRAS)
def test_plain_values_next_to_the_weights_are_read(extra, tmp_path):
    model = save(tmp_path, EXTRAS[extra])
    assert same(SPMamba.from_upstream(tmp_path / "best_model.pth").state_dict(), model.state_dict())


def test_what_the_caller_allows_stays_allowed(tmp_path):
    save(tmp_path, argparse.Namespace(a=1))
    with torch.serialization.safe_globals([argparse.Namespace]):
        SPMamba.from_upstream(tmp_path / "best_model.pth")
        assert argparse.Namespace in torch.serialization.get_safe_globals()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("kind", ["omegaconf.dictconfig.DictConfig", "my_project.config.Options"])
def test_what_could_run_code_is_refused_in_one_line(kind, tmp_path, monkeypatch):
    home, _, name = kind.rpartition(".")
    module = types.ModuleType(home)
    setattr(module, name, type(name, (), {"__module__": home, "__qualname__": name}))
    for end in range(1, home.count(".") + 2):
        monkeypatch.setitem(sys.modules, ".".join(home.split(".")[:end]), module)
    save(tmp_path, getattr(module, name)())
    with pytest.raises(UserError, match=rf"holds a {kind}, .* save the state_dict alone") as error:
        from_upstream("spmamba", tmp_path / "best_model.pth")
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_a_cut_file_is_refused_in_one_line(tmp_path):
    save(tmp_path, None)
    path = tmp_path / "best_model.pth"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match="damaged or no checkpoint of PyTorch") as error:
        from_upstream("spmamba", path)
    assert "\n" not in str(error.value)


def test_case_t2_80(tmp_path):
    """T2-80: the layout of the reference's audio_train.py, with its keys and, as in the case, with ours."""
    model = SPMamba(**SMALL)
    versions = {"torch_version": torch.__version__, "pytorch_lightning_version": "1.9.0"}
    for state in (to_upstream(model), copy.deepcopy(model.state_dict())):
        content = {"model_name": "TFGridNetMamba", "state_dict": state, "model_args": {"n_srcs": 2}}
        torch.save({**content, "infos": {"software_versions": versions}}, tmp_path / "best_model.pth")
        assert same(SPMamba.from_upstream(tmp_path / "best_model.pth").state_dict(), model.state_dict())
