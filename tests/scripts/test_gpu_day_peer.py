"""The sources of mamba_ssm's kernel are narrowed to what is measured; without them it is left out with a reason."""

from __future__ import annotations

import tarfile

import pytest

from lobes.errors import UserError

# Lines of the kind that those files have.
CPP = """
    if (ITYPE == at::ScalarType::Half) {
        using input_t = at::Half;
    } else if (ITYPE == at::ScalarType::BFloat16) {
        using input_t = at::BFloat16;
    }
       using weight_t = float;
        using weight_t = c10::complex<float>;
"""
CU = """template void scan_fwd_cuda<float, float>(Params &params, cudaStream_t stream);
template void scan_fwd_cuda<float, complex_t>(Params &params, cudaStream_t stream);"""
CUH = "scan_fwd_launch<32, 16, input_t, weight_t>(params); scan_fwd_launch<64, 16, input_t, weight_t>(params);"


@pytest.fixture
def peer(load):
    return load("gpu_day_peer")


def test_types_and_sizes_that_are_not_measured_are_left_out(peer):
    assert peer.narrow("selective_scan.cpp", CPP).count("= float;") == 4 and "Half;" not in peer.narrow("a.cpp", CPP)
    assert "complex" not in peer.narrow("selective_scan_fwd_fp32.cu", CU) and "<float, float>" in peer.narrow(
        "a.cu", CU
    )
    assert peer.narrow("selective_scan_fwd_kernel.cuh", CUH).count("<128, 16,") == 1
    switch = peer.narrow("static_switch.h", "anything")
    assert switch.count("constexpr bool fixed_") == 5 and "fixed_kIsEvenLen = false;" in switch


def test_no_measured_shape_fills_the_blocks_of_the_other_kernel(load):
    """Else the narrowed kernel would be another one than that which mamba_ssm runs."""
    load("gpu_day_rows")
    for _, _, steps, _ in load("scan").SHAPES.values():
        block = next(
            (items for most, items in ((128, 128), (256, 256), (512, 512), (1024, 1024)) if steps <= most), 2048
        )
        assert steps % block and not 512 < steps <= 1024


def test_a_source_distribution_is_unpacked_and_copied(peer, tmp_path):
    folder = tmp_path / "mamba_ssm-2" / "csrc" / "selective_scan"
    folder.mkdir(parents=True)
    for name in (*peer.SOURCES, "static_switch.h", "selective_scan_fwd_kernel.cuh", "selective_scan_bwd_bf16_real.cu"):
        (folder / name).write_text("using input_t = at::Half;")
    archive = tmp_path / "mamba_ssm-2.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "mamba_ssm-2", "mamba_ssm-2")
    copied = peer.narrowed(peer.unpacked(archive, tmp_path / "build"), tmp_path / "narrowed")
    names = {path.name for path in copied.iterdir()}
    assert names == {*peer.SOURCES, "static_switch.h", "selective_scan_fwd_kernel.cuh"}
    assert (copied / "selective_scan.cpp").read_text() == "using input_t = float;"
    with pytest.raises(UserError, match="no selective_scan.cpp in it"):
        peer.unpacked(tmp_path / "build" / "none", tmp_path)


def test_the_toolkit_is_where_the_headers_are(peer, tmp_path, monkeypatch):
    """`nvcc` on PATH may be a script: the folder above it has no headers then."""
    script, headers = tmp_path / "local" / "bin" / "nvcc", tmp_path / "cuda" / "include" / "cuda_runtime.h"
    for file in (script, headers):
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(peer.shutil, "which", lambda name: str(script))
    monkeypatch.setattr(peer, "USUAL", tmp_path / "cuda")
    assert peer.toolkit() == tmp_path / "cuda"
    (tmp_path / "local" / "include").mkdir()
    (tmp_path / "local" / "include" / headers.name).touch()
    assert peer.toolkit() == tmp_path / "local"


def test_without_package_and_sources_there_is_a_reason(peer, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="mamba_ssm is not installed .* give --peer FILE"):
        peer.peer(None, tmp_path)
    monkeypatch.setattr(peer.shutil, "which", lambda name: None)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    with pytest.raises(UserError, match="nvcc, which builds the kernel of mamba_ssm, is not found"):
        peer.peer(tmp_path, tmp_path)
