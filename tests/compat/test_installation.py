"""Installing the stand-in: what is there afterwards, what is refused, and that nothing happens unasked."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch

from lobes.compat.mamba_ssm import install
from lobes.compat.mamba_ssm.names import SERVED
from lobes.errors import UserError
from lobes.scan import selective_scan
from lobes.scan.cuda.mamba_ssm_backend import MambaSSMBackend
from lobes.scan.registry import BACKENDS


def package(folder, name, text="", module="__init__"):
    """Write a module of a package."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / f"{module}.py").write_text(text)


# ------------------------------------------------------------------ what is there
def test_importing_lobes_puts_nothing_anywhere_and_stays_light():
    code = (
        "import sys, lobes, lobes.compat.mamba_ssm, lobes.compat.mamba_ssm.__main__\n"
        "print({'torch', 'numba', 'mamba_ssm', 'causal_conv1d'} & set(sys.modules), len(sys.meta_path))"
    )
    plain = "import sys; print(set(), len(sys.meta_path))"
    outputs = [subprocess.run([sys.executable, "-c", one], capture_output=True, check=True) for one in (code, plain)]
    assert outputs[0].stdout == outputs[1].stdout


def test_every_module_of_the_table_is_importable(stand_in):
    for name, served in SERVED.items():
        module = sys.modules[name]
        assert importlib.import_module(name) is module and find_spec(name) is not None
        assert served.keys() <= vars(module).keys()


def test_all_import_paths_of_both_versions(stand_in):
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update  # noqa: F401
    from mamba_ssm import Mamba, mamba_inner_fn, selective_scan_fn
    from mamba_ssm.models.mixer_seq_simple import _init_weights, create_block  # noqa: F401
    from mamba_ssm.modules.block import Block
    from mamba_ssm.modules.mamba_simple import Block as FirstBlock
    from mamba_ssm.modules.mamba_simple import Mamba as SameMamba
    from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn as same_inner
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn as same_scan
    from mamba_ssm.ops.selective_scan_interface import selective_scan_ref  # noqa: F401
    from mamba_ssm.ops.triton.layer_norm import RMSNorm, layer_norm_fn, rms_norm_fn  # noqa: F401
    from mamba_ssm.ops.triton.layernorm import RMSNorm as SameNorm

    assert (SameMamba, SameNorm, same_inner, same_scan) == (Mamba, RMSNorm, mamba_inner_fn, selective_scan_fn)
    assert issubclass(FirstBlock, Block)


def test_the_version_is_that_of_lobes(stand_in):
    import causal_conv1d
    import mamba_ssm

    assert mamba_ssm.__version__ == "2.3.2+lobes" and causal_conv1d.__version__.endswith("+lobes")


def test_a_second_call_changes_nothing(stand_in):
    before = list(sys.path), list(sys.meta_path), sys.modules["mamba_ssm"]
    install()
    assert (sys.path, sys.meta_path, sys.modules["mamba_ssm"]) == before


# ------------------------------------------------------------------ what is not offered
NOT_OFFERED = [
    ("from mamba_ssm import Mamba2", "mamba_ssm.Mamba2", "Mamba-2 and Mamba-3 need the package mamba-ssm"),
    ("import mamba_ssm.modules.mamba2", "mamba_ssm.modules.mamba2", "on a machine with CUDA"),
    ("from mamba_ssm.modules.mamba3 import Mamba3", "mamba_ssm.modules.mamba3", "or use mamba_ssm.Mamba"),
    ("from mamba_ssm.ops.triton.ssd_combined import x", "mamba_ssm.ops.triton.ssd_combined", "Mamba-2"),
    ("from mamba_ssm import MambaLMHeadModel", "mamba_ssm.MambaLMHeadModel", "docs/mamba_ssm.md"),
    ("from mamba_ssm.modules.mamba_simple import nothing", "mamba_ssm.modules.mamba_simple.nothing", "docs/"),
    ("from causal_conv1d import causal_conv1d_varlen_states", "causal_conv1d.causal_conv1d_varlen_states", "docs/"),
]


@pytest.mark.parametrize("statement, name, advice", NOT_OFFERED, ids=[row[0] for row in NOT_OFFERED])
def test_an_import_of_what_is_not_offered_is_one_line(stand_in, statement, name, advice):
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(statement)
    message = str(caught.value)
    assert isinstance(caught.value, UserError) and "\n" not in message
    assert message.startswith(f"{name} is not offered by lobes.compat.mamba_ssm") and advice in message


def test_an_attribute_that_is_not_offered_is_the_same_line(stand_in):
    import mamba_ssm

    assert not hasattr(mamba_ssm, "Mamba2")
    with pytest.raises(AttributeError, match="mamba_ssm.Mamba2 is not offered by lobes.compat.mamba_ssm.*CUDA"):
        _ = mamba_ssm.Mamba2


def test_names_of_language_models_exist_and_refuse_when_called(stand_in):
    from mamba_ssm.utils.generation import GenerationMixin
    from mamba_ssm.utils.hf import load_config_hf, load_state_dict_hf

    for call in (GenerationMixin().generate, load_config_hf, load_state_dict_hf):
        with pytest.raises(UserError, match="is not offered"):
            call("state-spaces/mamba-130m")


# ------------------------------------------------------------------ packages that are installed
@pytest.fixture
def real(clean, tmp_path, monkeypatch):
    """A mamba_ssm that is installed, with a kernel that gives fives."""
    scan = "def selective_scan_fn(u, *inputs, **options):\n    return u * 0 + 5, None"
    package(tmp_path, "mamba_ssm")
    package(tmp_path, "mamba_ssm/ops")
    package(tmp_path, "mamba_ssm/ops", scan, "selective_scan_interface")
    (tmp_path / "selective_scan_cuda.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "mamba_ssm", MambaSSMBackend())
    monkeypatch.delitem(sys.modules, "selective_scan_cuda", raising=False)
    yield tmp_path
    sys.modules.pop("selective_scan_cuda", None)


def test_an_installed_package_is_left_in_place(real):
    before = list(sys.path), list(sys.meta_path)
    with pytest.raises(UserError) as caught:
        install()
    message = str(caught.value)
    assert message.startswith(f"mamba_ssm is installed here ({real / 'mamba_ssm' / '__init__.py'})")
    assert "install(shadow=True)" in message and "--shadow" in message and "\n" not in message
    assert (sys.path, sys.meta_path) == before and "mamba_ssm" not in sys.modules


def test_an_installed_causal_conv1d_counts_as_well(clean, tmp_path, monkeypatch):
    package(tmp_path, "causal_conv1d")
    monkeypatch.syspath_prepend(tmp_path)
    if find_spec("mamba_ssm") is None:
        with pytest.raises(UserError, match="causal_conv1d is installed here"):
            install()


def test_on_request_it_is_shadowed_and_its_kernel_stays_the_scans_own(real, monkeypatch):
    install(shadow=True)
    from mamba_ssm import Mamba

    assert Mamba(8)(torch.rand(2, 5, 8)).shape == (2, 5, 8)
    backend = BACKENDS["mamba_ssm"]
    monkeypatch.setattr(backend, "refuses", lambda facts: None)  # on CPU tensors
    u, B = torch.ones(1, 4, 3), torch.ones(1, 4, 2)
    assert (selective_scan(u, u, -torch.ones(3, 2), B, B, backend="mamba_ssm") == 5).all()


def test_a_package_in_use_is_not_replaced(clean):
    sys.modules["mamba_ssm"] = ModuleType("mamba_ssm")
    for shadow in (False, True):
        with pytest.raises(UserError, match="mamba_ssm has been imported already .*before the first import"):
            install(shadow=shadow)
