"""`lobes export --onnx`: files, metadata, int8, and a process that has no PyTorch."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lobes.cli import app
from lobes.errors import UserError
from lobes.inference.export import export_pretrained
from lobes.inference.separator import Separator
from lobes.runs.names import EXPORTED
from lobes.runs.weights import check_sums, sha256

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from lobes.onnx import export as onnx_export  # noqa: E402
from lobes.onnx import run as runner  # noqa: E402

CAUSAL = """!new:lobes.models.conv_tasnet.CausalConvTasNet
        {num_sources: !ref <num_spks>, N: 16, B: 8, H: 8, X: 2, R: 1}"""


def test_the_command_writes_checks_and_says_it(make_run, tmp_path):
    run, out = make_run(CAUSAL), tmp_path / "out"
    done = CliRunner().invoke(app, ["export", str(run), str(out), "--onnx", "--int8"], catch_exceptions=False)
    said = done.stdout.splitlines()[1:]
    assert [line.split(":")[0] for line in said] == ["model.onnx", "model.int8.onnx", "stream.onnx", "stream.int8.onnx"]
    assert re.fullmatch(r"model.onnx: largest error \d\.\de-\d\d of the peak, real-time factor \d+\.\d+", said[0])
    assert re.fullmatch(r"stream.int8.onnx: SI-SDR \d+\.\d dB against stream.onnx, \d\.\d\d of its size", said[3])
    graphs = {line.split(":")[0] for line in said}
    assert {path.name for path in out.iterdir()} == {*EXPORTED, *graphs}
    facts = runner.OnnxStream(out / "stream.onnx").facts
    assert facts["weights_sha256"] == sha256(out / "masknet.ckpt")
    assert (facts["opset"], facts["latency"], facts["sample_rate"], facts["hop"]) == ("18", "16", "8000", "8")
    check_sums(out)
    (out / "stream.onnx").unlink()  # a copy from the hub lacks it
    mix = torch.randn(1, 900)
    expected = Separator.from_hparams(out).separate_batch(mix).numpy()
    assert np.allclose(runner.OnnxSeparator(out / "model.onnx")(mix.numpy()), expected, atol=1e-5)
    export_pretrained(run, out)  # an earlier export with graphs is replaced
    assert {path.name for path in out.iterdir()} == set(EXPORTED)


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "speechbrain", "onnx"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
from lobes.onnx.run import OnnxSeparator, OnnxStream

x = np.load(sys.argv[1] + "/x.npy")
stream = OnnxStream(sys.argv[1] + "/stream.onnx")
parts = [stream.feed(x[i : i + 8]) for i in range(0, len(x), 8)] + [stream.flush()]
np.savez(sys.argv[1] + "/y.npz", whole=OnnxSeparator(sys.argv[1] + "/model.onnx")(x), stream=np.concatenate(parts))
"""


def test_graphs_run_where_there_is_no_pytorch(make_run, tmp_path):
    out = export_pretrained(make_run(CAUSAL), tmp_path / "out", add=onnx_export.Graphs())
    x = torch.randn(1203, generator=torch.Generator().manual_seed(3))
    np.save(out / "x.npy", x.numpy())
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(out)], check=True)
    y, separator = np.load(out / "y.npz"), Separator.from_hparams(out)
    stream = separator.stream()
    assert np.allclose(y["whole"], separator.separate_batch(x)[0].numpy(), atol=1e-5)
    assert np.allclose(y["stream"], torch.cat([stream.feed(x), stream.flush()], 1)[0].numpy(), atol=1e-5)


def test_a_missing_package_is_one_line_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'^onnx is missing, which --onnx needs: pip install "path/to/clone\[onnx\]"$'):
        onnx_export.Graphs()


def test_int8_alone_is_refused(run, tmp_path):
    done = CliRunner().invoke(app, ["export", str(run), str(tmp_path / "out"), "--int8"])
    assert isinstance(done.exception, UserError) and "give both" in str(done.exception)


def test_a_graph_that_differs_is_not_exported(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "LARGEST", 1e-12)
    monkeypatch.setattr(onnx_export, "compare_whole", lambda *_: (1e-11, 0.1))
    with pytest.raises(RuntimeError, match=r"model.onnx differs from the network by 1.0e-11 of the peak"):
        export_pretrained(run, tmp_path / "out", add=onnx_export.Graphs())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_nan_is_no_parity(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "compare_whole", lambda *_: (float("nan"), 0.1))
    with pytest.raises(RuntimeError, match="differs from the network by nan"):
        export_pretrained(run, tmp_path / "out", add=onnx_export.Graphs())
