"""`lobes profile`: counts, lengths that are measured or skipped, streams, the page, the chart, the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from lobes import cli
from lobes.errors import UserError
from lobes.evaluation import profile
from lobes.evaluation.costs import CostLimits, Profile, measure_lengths, streamed, too_much
from lobes.inference import Separator, measuring
from lobes.inference.measuring import measured, open_model
from lobes.inference.network import network_of
from lobes.models import get_model
from lobes.models.bsrnn import BSRNN
from lobes.reports import costs
from lobes.runs.watched import wait_within

WHERE = {"command": "lobes profile x", "commit": "abc", "machine": "a processor"}


def row(seconds, rtf, over=10.0, threads=1):
    return {
        "seconds": seconds,
        "threads": threads,
        "rtf": rtf,
        "cpu_rtf": rtf,
        "peak_mb": 500.0 + over,
        "over_mb": over,
    }


def whole(seconds):
    return 1, seconds


def in_chunks(seconds):
    return (1, seconds) if seconds <= 10 else (int(seconds // 10), 10.0)


# ------------------------------------------------------------------ another project's model
class Theirs(nn.Module):
    """A model under the contract of `package.module:factory`: [T] to [S,T]."""

    sample_rate, num_sources = 8000, 2

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.conv, self.looks = nn.Conv1d(1, 2, 3, padding=1, bias=False), looks

    def forward(self, mix):
        if self.looks and mix.max() > 1e9:
            return mix
        return self.conv(mix[None])


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Modules `counted` and `looking`, whose `make` gives such a model."""
    code = "from test_profile_parts import Theirs\ndef make():\n    return Theirs({})\n"
    for name, looks in (("counted", False), ("looking", True)):
        (tmp_path / f"{name}.py").write_text(code.format(looks), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_profile_parts", sys.modules[__name__])


def test_code_of_others_is_counted_where_it_needs_no_values(factory):
    found = profile(network_of(open_model("counted:make")))
    assert found.macs["convolution"] == found.total == 8000 * 2 * 3 and found.parameters == 6
    assert found.num_sources == 2 and found.latency_ms is None and found.rows == []
    looking = profile(network_of(open_model("looking:make")))
    assert looking.macs is None and "its code needs values" in looking.uncounted and looking.parameters == 6
    assert "Operations: not counted, its code needs values" in costs.as_page(looking, WHERE)


def test_a_separator_of_speechbrain_costs_what_its_network_here_costs():
    model = get_model("sepformer_tiny")
    parts = {name: getattr(model, name) for name in ("encoder", "masknet", "decoder")}
    separator = Separator(parts, {"num_spks": 2, "sample_rate": 8000}, {"device": "cpu"})
    theirs, ours = profile(network_of(separator)), profile(model)
    assert (theirs.macs, theirs.parameters, theirs.num_sources) == (ours.macs, ours.parameters, 2)
    assert ours.parameters == 161_409


# ------------------------------------------------------------------ lengths
def test_lengths_are_measured_from_the_shortest_for_each_number_of_threads():
    asked = []

    def measure(seconds, threads):
        asked.append((threads, seconds))
        return row(seconds, 0.1, threads=threads)

    found = profile(get_model("convtasnet_tiny"), measure, seconds=[10, 1], threads=[1, 2])
    assert asked == [(1, 1), (1, 10), (2, 1), (2, 10)]
    assert [one["threads"] for one in found.rows] == [1, 1, 2, 2]


def test_time_is_expected_to_grow_as_it_grew():
    quadratic = [row(1, 1.0), row(10, 10.0)]  # 1 s, 100 s of work
    assert too_much(quadratic, 20, whole, CostLimits(seconds=401)) == ""
    assert too_much(quadratic, 20, whole, CostLimits(seconds=399)).startswith("about 7 min expected, more than 7 min")
    linear = [row(1, 1.0), row(10, 1.0)]
    assert (
        too_much(linear, 20, whole, CostLimits(seconds=21)) == "" != too_much(linear, 20, whole, CostLimits(seconds=19))
    )


def test_chunks_follow_each_other():
    quadratic = [row(1, 1.0), row(10, 10.0)]
    assert too_much(quadratic, 100, in_chunks, CostLimits(seconds=1001)) == ""
    assert too_much(quadratic, 100, in_chunks, CostLimits(seconds=999)) != ""


def test_memory_is_expected_on_top_of_what_the_process_holds():
    done = [row(1, 0.01, over=1.0), row(10, 0.01, over=100.0)]
    assert too_much(done, 100, whole, CostLimits(memory=10_501 * 2**20)) == ""
    assert "10,500 MB expected, more than the 10,499 MB" in too_much(
        done, 100, whole, CostLimits(memory=10_499 * 2**20)
    )
    assert too_much(done, 100, in_chunks, CostLimits(memory=700 * 2**20)) == ""
    unknown = [{**one, "peak_mb": None, "over_mb": None} for one in done]
    assert too_much(unknown, 100, whole, CostLimits(memory=1.0)) == ""


def test_what_failed_is_not_tried_at_greater_length():
    outcomes = {1: row(1, 0.1), 10: {"failed": "stopped at 9 MB of memory"}}
    found = measure_lengths(lambda seconds, threads: outcomes[seconds], [1, 10, 60], 1, whole, CostLimits())
    assert [one.get("skipped", one.get("failed")) for one in found] == [
        None, "stopped at 9 MB of memory", "10 s failed",
    ]  # fmt: skip


# ------------------------------------------------------------------ processes
def test_a_process_measures_one_length():
    found = measured({"model": "convtasnet_tiny", "seconds": 0.5, "threads": 1})
    assert found["rtf"] > 0 and found["cpu_rtf"] > 0
    if sys.platform == "linux":
        assert found["peak_mb"] > 100 and 0 <= found["over_mb"] < found["peak_mb"]


def test_a_preset_is_measured_with_options_and_a_model_has_its_own():
    network = network_of(open_model("tf_gridnet_mini", options={"mixer": "conv", "mixer_width": 8, "num_sources": 1}))
    assert network.mixer == "conv" and network.num_sources == 1
    with pytest.raises(UserError, match="somewhere: options belong to a preset"):
        open_model("somewhere", options={"mixer": "conv"})
    found = measured({"model": "convtasnet_tiny", "seconds": 0.5, "threads": 1, "options": {"N": 0}})
    assert "failed" in found, "the process has the options"


def test_a_process_that_cannot_is_a_reason(monkeypatch):
    def popen(command, **options):
        return real([sys.executable, "-c", code], **options)

    real = subprocess.Popen
    monkeypatch.setattr(measuring.subprocess, "Popen", popen)
    case = {"model": "x", "seconds": 1, "threads": 1}
    code = "import sys; print('a'); sys.exit('error: why')"
    assert measured(case) == {"failed": "error: why"}
    code = "import time; time.sleep(60)"
    assert measured(case, memory=1.0)["failed"].startswith("stopped at ")
    monkeypatch.setattr(measuring, "START_S", 0.0)
    assert measured(case, limit=0.1) == {"failed": "stopped after 0 s"}


def test_a_watched_process_that_ends_is_let_alone():
    assert wait_within(subprocess.Popen([sys.executable, "-c", ""]), float("inf"), 60) == 0


# ------------------------------------------------------------------ streams
def test_state_grows_to_what_the_layers_look_back_to():
    sizes = {"n_layers": 1, "emb_dim": 4, "emb_ks": 4, "emb_hs": 4, "expand": 1, "n_heads": 2, "approx_qk_dim": 130}
    latency, narrow = streamed(get_model("spmamba_causal", **sizes, attention_window=10))
    _, wide = streamed(get_model("spmamba_causal", **sizes, attention_window=150))  # 2.4 s
    # queries and keys of 2 channels in 129 bins, of each head, and values of 4 channels in all
    assert latency == 32 and wide - narrow == 140 * 129 * (2 * 2 + 4) * 4


def test_state_of_lstms_by_its_closed_form():
    model = BSRNN(causal=True, norms="local", n_channels=4, n_layers=2).eval()
    stream, n_fft, hop = model.stream(), model.stft.n_fft, model.stft.hop_length
    assert stream.state_bytes == 0
    stream.feed(torch.rand(1, 10 * n_fft))
    lstms = 2 * 2 * 8 * len(model.widths)  # layers, h and c, units, bands
    # from the start of the next frame on, what the end reflects, and the sums of signal and window
    transform = (n_fft - hop) + (n_fft // 2 + 1) + 2 * (n_fft - hop)
    norms = 2 * 4 * len(model.widths)  # two sums in fp64: of the split, of both layers over time, of the decoder
    filtered = 2 * 2 * (n_fft // 2 + 1)  # the two frames before, which the masks reach
    assert stream.state_bytes == 4 * (lstms + transform + 2 * norms + filtered)
    stream.reset()
    assert stream.state_bytes == 0


def test_networks_that_run_in_no_stream():
    assert streamed(get_model("convtasnet_tiny")) == streamed(Theirs(False)) == (None, None)


# ------------------------------------------------------------------ page, chart, numbers
@pytest.fixture
def found():
    rows = [row(s, 0.3 / t**0.5, over=10.0 * s, threads=t) for t in (1, 2) for s in (1.0, 10.0, 60.0)]
    skipped = {"seconds": 600.0, "threads": 1, "skipped": "about 9 min expected, more than 5 min (--minutes)"}
    macs = {"linear": 600_000_000, "attention": 0, "scan": 200_000_000, "stft": 5_000_000}
    return Profile("net $x_1$", 8000, 2, 1234, macs, "", "past", 32.0, 2500, [*rows, skipped])


def test_the_page_has_sums_shares_and_reasons(found):
    page = costs.as_page(found, WHERE)
    assert "| linear | 0.6000 | 75 % |" in page and "| sum | 0.8000 | 100 % |" in page
    assert "| stft | 0.0050 | - |" in page and "| attention |" not in page
    assert "| 10 min | 1 | - | - | - | - | skipped: about 9 min expected, more than 5 min (--minutes) |" in page
    assert "| 1 min | 2 | 0.212 | 0.212 | 1100 | 600 |  |" in page
    assert "latency 32 ms, state 2.5 kB" in page and "a processor, commit abc" in page


def test_the_chart_has_a_line_for_each_number_of_threads_and_its_texts_lie_inside(found):
    svg = costs.as_picture(found)
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())
    texts = re.findall(r'<text style="font-size: ([\d.]+)px([^"]*)"([^>]*)>([^<]*)</text>', svg)
    words = [text for *_, text in texts]
    assert {"1 s", "10 s", "1 min", "1 thread", "2 threads", "net $x_1$"} <= set(words) and "10 min" not in words
    for size, style, place, text in texts:
        x, y = map(float, re.search(r'x="(\S+)" y="(\S+)"|translate\((\S+) (\S+)\)', place).group(1, 2))
        long = 0.6 * float(size) * len(text)  # letters of this font are narrower
        left = x - (long / 2 if "middle" in style else long if "end" in style else 0)
        assert 0 <= left and left + long <= width and 0 < y < height, text


def test_a_chart_of_nothing_and_without_memory(found):
    rows = [{**row(1.0, 0.5), "peak_mb": None, "over_mb": None}]
    assert "1 thread" in costs.as_picture(Profile(**{**vars(found), "rows": rows}))
    assert "<svg" in costs.as_picture(Profile(**{**vars(found), "rows": [{"seconds": 1, "threads": 1, "failed": "x"}]}))


# ------------------------------------------------------------------ the command
@pytest.fixture
def lobes(monkeypatch, capsys, tmp_path):
    """Call the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lobes", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


def test_the_command_prints_and_writes(lobes, monkeypatch, tmp_path):
    from lobes.commands import profile_request

    cases = []

    def measured(case, path, memory, limit):
        cases.append((case["seconds"], case["threads"], case["chunk_s"], limit))
        return row(case["seconds"], 0.5, threads=case["threads"])

    monkeypatch.setattr(profile_request, "measured", measured)
    words = ("profile", "convtasnet_tiny", "--seconds", 10, 1, "--threads", 1, 2, "--chunk_s", 0, "--minutes", 2)
    code, out, _ = lobes(*words, "-o", "out")
    assert code == 0 and "- Parameters: 236,312" in out and "0.25 s; its norms the whole mixture" in out
    assert cases == [(1, 1, 0, 120), (10, 1, 0, 120), (1, 2, 0, 120), (10, 2, 0, 120)]
    kept = json.loads((tmp_path / "out" / "profile.json").read_text(encoding="utf-8"))
    assert kept["total"] == kept["macs"]["convolution"] == 231_704_064 and len(kept["rows"]) == 4
    assert kept["command"].startswith("lobes profile convtasnet_tiny --seconds 10 1")
    assert (tmp_path / "out" / "profile.md").read_text(encoding="utf-8") + f"wrote {'out'}\n" == out
    assert (tmp_path / "out" / "profile.svg").read_text(encoding="utf-8").endswith("</svg>\n")


def test_counts_alone_measure_nothing(lobes, tmp_path):
    code, out, _ = lobes("profile", "convtasnet_tiny", "--no-time", "-o", "out")
    assert code == 0 and "RTF" not in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["profile.json", "profile.md"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convtasnet_tin",), "no such folder"),
        (("convtasnet_tiny", "--seconds", "0"), "--seconds: expected lengths from 0.01"),
        (("convtasnet_tiny", "--seconds", "1", "x1"), "x1"),
        (("convtasnet_tiny", "--threads", "0"), "'--threads'"),
        (("convtasnet_tiny", "--chunk_s", "-1"), "--chunk_s -1: expected seconds"),
        (("convtasnet_tiny", "--revision", "abc"), "convtasnet_tiny is a preset"),
    ],
)
def test_mistakes_are_one_line(lobes, words, message):
    code, _, err = lobes("profile", *words)
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_a_length_out_of_range_is_refused_before_the_model_is_opened(monkeypatch):
    from lobes.commands import profile_request

    monkeypatch.setattr(profile_request, "open_model", lambda *rest: pytest.fail("opened"))
    with pytest.raises(UserError, match="--seconds"):
        profile_request.ProfileRequest("convtasnet_tiny", [1e9], [1], None, None, False)


def test_a_preset_that_was_mistyped_is_named():
    from lobes.commands import profile_request

    with pytest.raises(UserError, match=r"spmamba_tinny: no such folder\..* Did you mean 'spmamba_tiny'\?"):
        profile_request.ProfileRequest("spmamba_tinny", [1.0], [1], None, None, False)
