"""Starting from trained weights: SpeechBrain's folders, exports and runs; what fits is taken, the rest is named."""

import pytest
import torch

from lobes.errors import UserError
from lobes.models import get_model
from lobes.runs.fine_tune import start_from

SIZES = {"N": 16, "K": 20, "n_layers": 1, "n_transformer_layers": 1, "n_heads": 2, "d_ffn": 16}


@pytest.fixture
def sepformer(tmp_path):
    """A model, and its weights in the files of SpeechBrain's pretrained separators."""
    torch.manual_seed(0)
    model = get_model("sepformer", **SIZES)
    for part in ("encoder", "masknet", "decoder"):
        torch.save(getattr(model, part).state_dict(), tmp_path / f"{part}.ckpt")
    return model, tmp_path


def test_speechbrains_folder_gives_the_same_model(sepformer):
    model, folder = sepformer
    other = get_model("sepformer", **SIZES)
    transfer = start_from(other, folder)
    assert not transfer.new and not transfer.unused and not transfer.reshaped
    mix = torch.randn(2, 1000)
    with torch.no_grad():
        assert torch.equal(other.eval()(mix), model.eval()(mix))


def test_heads_for_another_number_of_sources_start_anew(sepformer, caplog):
    model, folder = sepformer
    other = get_model("sepformer", num_sources=3, **SIZES)
    before = other.masknet.conv2d.weight.clone()
    with caplog.at_level("INFO"):
        transfer = start_from(other, folder)
    assert transfer.reshaped == ["masknet.conv2d.bias", "masknet.conv2d.weight"]
    assert torch.equal(other.masknet.conv2d.weight, before)
    assert torch.equal(other.masknet.conv1d.weight, model.masknet.conv1d.weight)
    assert "2 of another shape, left as they start: masknet.conv2d.bias" in caplog.text


def test_another_network_is_refused(sepformer):
    _, folder = sepformer
    with pytest.raises(UserError, match="numbers fit this network.*recipe file that goes with these weights"):
        start_from(get_model("spmamba_tiny"), folder)


def test_a_run_of_ours(run):
    from lobes.runs.folder import read_run

    trained = read_run(run).model
    other = read_run(run).model
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    transfer = start_from(other, run)
    assert len(transfer.taken) == len(trained.state_dict()) and not transfer.new
    pairs = zip(trained.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_revision_reaches_the_hub(sepformer, tmp_path, monkeypatch):
    import huggingface_hub

    model, folder = sepformer
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, **options: asked.update(options) or str(folder)
    )
    monkeypatch.chdir(tmp_path)
    start_from(model, "owner/name", "abc")
    assert asked["revision"] == "abc"


def test_missing_folders_and_damaged_files(sepformer, tmp_path):
    model, folder = sepformer
    with pytest.raises(UserError, match="no such folder"):
        start_from(model, tmp_path / "nowhere")
    (folder / "decoder.ckpt").write_bytes(b"PK")
    with pytest.raises(UserError, match="decoder.ckpt: the weights cannot be read"):
        start_from(model, folder)
