"""Configuration files: bases, presets, overrides, errors."""

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from lobes import config
from lobes.config import keyword_arguments, load, read_preset
from lobes.errors import UserError

ROOT = Path(__file__).parents[2]
POLSESS = ROOT / "recipes" / "PolSESS" / "hparams"
VOICEBANK = ROOT / "recipes" / "VoiceBank" / "hparams"
MODELS = sorted(ROOT.glob("hparams_shared/models/*.yaml"))
RECIPES = sorted(ROOT.glob("recipes/*/hparams/*.yaml"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part.yaml").write_text("size: !PLACEHOLDER\ndouble: !ref <size> * 2\n")
    (tmp_path / "base.yaml").write_text(
        "data_folder: !PLACEHOLDER\nbatch_size: 1\nmodel: !include:part.yaml\n    size: !ref <batch_size>\n"
    )
    (tmp_path / "small.yaml").write_text("base: base.yaml\nbatch_size: 3\n")
    return tmp_path


def resolve(path, lines="", **more):
    """The text of a recipe with options, each a line `key: text`."""
    return config.resolve(path, dict(line.split(": ", 1) for line in lines.split("\n") if line), **more)


def plain(text):
    """A resolved text without making its objects."""
    return YAML().load(text)


def test_delta_replaces_keys_and_includes_resolve(folder):
    text = resolve(folder / "small.yaml", "data_folder: here")
    assert load(text) == {"data_folder": "here", "batch_size": 3, "model": {"size": 3, "double": 6}}


def test_command_line_wins(folder):
    assert load(resolve(folder / "small.yaml", "data_folder: x\nbatch_size: 5"))["model"]["double"] == 10


def test_C02_misspelt_option_names_the_nearest(folder):
    with pytest.raises(UserError, match="--batch_sise. Did you mean 'batch_size'"):
        resolve(folder / "base.yaml", "batch_sise: 2")


def test_C02_misspelt_run_option_names_the_nearest(folder):
    with pytest.raises(UserError, match="Did you mean 'precision'"):
        resolve(folder / "base.yaml", "precison: bf16", extra_options=("precision",))


def test_C01_delta_with_an_unknown_key(folder):
    (folder / "wrong.yaml").write_text("base: base.yaml\nbatch_siz: 3\n")
    with pytest.raises(UserError, match="'batch_siz' is no key of base.yaml. Did you mean 'batch_size'"):
        resolve(folder / "wrong.yaml")


def test_delta_of_a_delta_with_an_unknown_key(folder):
    (folder / "wrong.yaml").write_text("base: small.yaml\nbatch_siz: 3\n")
    with pytest.raises(UserError, match=r"wrong.yaml: 'batch_siz' is no key of small.yaml. Did you mean 'batch_size'"):
        resolve(folder / "wrong.yaml")


def test_delta_that_adds_a_key(folder):
    (folder / "more.yaml").write_text("base: base.yaml\nwith: [extra]\nextra: 7\n")
    assert load(resolve(folder / "more.yaml", "data_folder: x"))["extra"] == 7


def test_delta_without_a_key_of_its_base(folder):
    (folder / "less.yaml").write_text("base: base.yaml\nwithout: [batch_size]\nmodel: null\n")
    assert load(resolve(folder / "less.yaml", "data_folder: x")) == {"data_folder": "x", "model": None}
    with pytest.raises(UserError, match="unknown option --batch_size"):
        resolve(folder / "less.yaml", "batch_size: 2")


def test_delta_without_an_unknown_key(folder):
    (folder / "wrong.yaml").write_text("base: base.yaml\nwithout: [batch_siz]\n")
    with pytest.raises(UserError, match="'batch_siz' is no key of base.yaml. Did you mean 'batch_size'"):
        resolve(folder / "wrong.yaml")


def test_missing_file_lists_what_is_there(folder):
    with pytest.raises(UserError, match="no such recipe file.*base.yaml, part.yaml, small.yaml"):
        resolve(folder / "smal.yaml")


def test_placeholder_names_the_option(folder):
    with pytest.raises(UserError, match="--data_folder VALUE"):
        resolve(folder / "base.yaml")


def test_broken_yaml(folder):
    (folder / "broken.yaml").write_text("a: [1, 2\n")
    with pytest.raises(UserError, match="no valid YAML"):
        resolve(folder / "broken.yaml")


def test_the_preset_is_chosen_and_set_on_the_command_line():
    text = resolve(POLSESS / "spmamba.yaml", "data_folder: x\npreset: dprnn\nn_layers: 2\ntask: SB")
    tree = plain(text)
    assert (tree["preset"], tree["n_layers"], tree["n_units"], tree["N"]) == ("dprnn", 2, 256, 256)
    separator = tree["modules"]["separator"]
    assert separator["masknet"]["num_layers"] == 2 and separator["num_sources"] == 2
    assert separator is tree["checkpointer"]["recoverables"]["separator"]
    assert "block" not in tree and "separator" not in tree and "meta" not in tree and "training" not in tree


def test_stock_hyperpyyaml_loads_the_text_and_trains_one_network(tmp_path):
    overrides = f"data_folder: x\noutput_folder: {tmp_path}\nn_layers: 1\nd_state: 4"
    hparams = load(resolve(POLSESS / "spmamba_tiny.yaml", overrides))
    model = hparams["modules"]["separator"]
    assert hparams["checkpointer"].recoverables["separator"] is model
    assert len(model.blocks) == 1 and hparams["d_state"] == 4 and hparams["emb_dim"] == 8
    assert hparams["emb_ks"] == 4 and hparams["d_conv"] == 4  # from a base of the preset, and a default of the class


@pytest.mark.parametrize(
    "overrides, message",
    [
        ("n_layer: 2", "--n_layer. Did you mean 'n_layers'.*preset spmamba_8k"),
        ("preset: dprn", "unknown model dprn. Did you mean 'dprnn'"),
        ("preset: dp\x85rn", r"unknown model 'dp.x85rn'. Did you mean 'dprnn'"),
        ("preset: convtasnet\ngradient_checkpointing: true", "--gradient_checkpointing.*preset convtasnet"),
        ("num_sources: 3", "--num_sources. Did you mean 'num_spks'"),
        ("separator: null", "unknown option --separator"),
        ("num_spks: 3", "--num_spks follows from other options in .*spmamba.yaml: set those"),
        ("preset: dprnn\nblock: null", "unknown option --block"),
    ],
)
def test_options_that_the_preset_does_not_have(overrides, message):
    with pytest.raises(UserError, match=message):
        resolve(POLSESS / "spmamba.yaml", f"data_folder: x\n{overrides}")


def test_a_recipe_sets_options_of_its_preset(tmp_path):
    (tmp_path / "wide.yaml").write_text(f"base: {POLSESS}/spmamba.yaml\nemb_dim: 32\n")
    assert plain(resolve(tmp_path / "wide.yaml", "data_folder: x"))["modules"]["separator"]["emb_dim"] == 32
    with pytest.raises(UserError, match="wide.yaml: 'emb_dim' is no key of spmamba.yaml or of the preset dprnn"):
        resolve(tmp_path / "wide.yaml", "data_folder: x\npreset: dprnn")


def test_a_recipe_with_a_network_of_its_own_needs_no_preset(tmp_path):
    (tmp_path / "own.yaml").write_text(
        f"base: {POLSESS}/spmamba.yaml\nwithout: [preset]\nexperiment_name: own\n"
        "modules: {separator: !new:torch.nn.Linear {in_features: 2, out_features: 3}}\n"
    )
    tree = plain(resolve(tmp_path / "own.yaml", "data_folder: x"))
    assert tree["checkpointer"]["recoverables"]["separator"]["out_features"] == 3
    with pytest.raises(UserError, match="unknown option --preset"):
        resolve(tmp_path / "own.yaml", "data_folder: x\npreset: dprnn")


def test_the_rate_comes_with_the_network():
    """The preset's `training` replaces what the base says, and gives way to the file that names the preset."""
    values = lambda file, more="": plain(resolve(POLSESS / file, f"data_folder: x\n{more}"))  # noqa: E731
    assert values("spmamba.yaml")["lr"] == 0.0007
    chosen = values("spmamba.yaml", "preset: convtasnet")
    assert (chosen["lr"], chosen["batch_size"], chosen["precision"], chosen["warmup_steps"]) == (0.001, 4, "fp32", 0)
    assert values("spmamba.yaml", "preset: convtasnet\nlr: 0.5")["lr"] == 0.5
    assert values("spmamba_mini.yaml", "preset: dprnn_tiny")["lr"] == 0.001
    assert values("convtasnet_mini.yaml")["lr"] == 0.002
    again = values("convtasnet_mini.yaml", "preset: spmamba_mini")
    assert again["lr"] == 0.002 and again["training_signal_len"] == 16000


def test_the_recipes_rate_and_sources_win():
    tree = plain(resolve(VOICEBANK / "bsrnn.yaml", "data_folder: x\npreset: spmamba_8k"))
    assert tree["modules"]["separator"]["sample_rate"] == tree["sample_rate"] == 16000
    assert tree["modules"]["separator"]["num_sources"] == 1


@pytest.mark.parametrize("speakers", [2, 3])
@pytest.mark.parametrize("preset", ["spmamba_8k", "dprnn"])
def test_the_number_of_speakers_is_that_of_the_networks_sources(speakers, preset):
    recipe = ROOT / "recipes" / "custom" / "hparams" / "spmamba.yaml"
    tree = plain(resolve(recipe, f"data_folder: x\npreset: {preset}\nnum_spks: {speakers}"))
    assert tree["modules"]["separator"]["num_sources"] == speakers


def test_recipes_and_presets_share_no_other_keys():
    """One name for two things would set both."""
    options = {path.stem: set(read_preset(path.stem).options) for path in MODELS}
    for path in RECIPES:
        keys = {key for layer in config.read_layers(path) for key in layer.keys}
        for preset, names in options.items():
            assert not keys & names - {"sample_rate", "num_sources"}, f"{path}, {preset}"
    for path in MODELS:
        for key in read_preset(path.stem).training:
            assert key in plain((ROOT / "hparams_shared" / "training.yaml").read_text()), f"{path}: {key}"


def test_keywords_are_followed_to_the_parents_that_get_them():
    options = keyword_arguments("lobes.models.bsrnn.BSRNN")
    assert (options["n_channels"], options["hop_length"], options["split"]) == (64, 128, "fixed")
    assert "layers" not in options
    refuses = keyword_arguments("lobes.models.spmamba.SPMamba")
    assert "emb_dim" in refuses and not {"unknown", "lstm_hidden_units"} & set(refuses)


def test_reading_a_presets_file_imports_no_torch():
    code = "import sys; from lobes.models import list_models, registry; registry.preset_meta(list_models()[0]); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def write_preset(folder, monkeypatch, name, text):
    (folder / "hparams_shared" / "models").mkdir(parents=True, exist_ok=True)
    (folder / "hparams_shared" / "models" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(config.presets, "_PACKAGE", folder / "lobes")


@pytest.mark.parametrize(
    "text, message",
    [
        ("network: lobes.models.spmamba.SPMamba\nn_layer: 2\n", "has no argument 'n_layer'. Did you mean 'n_layers'"),
        ("base: a.yaml\nXY: 2\n", "'XY' is no key of a.yaml"),
    ],
)
def test_a_presets_misspelt_key(tmp_path, monkeypatch, text, message):
    write_preset(tmp_path, monkeypatch, "a", "X: 1\nseparator: !new:torch.nn.Linear [!ref <X>, 2]\n")
    write_preset(tmp_path, monkeypatch, "wrong", text)
    with pytest.raises(UserError, match=message):
        read_preset("wrong")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_C05_what_a_recipe_resolves_to_needs_no_other_file(path):
    text = config.resolve(path, {"data_folder": "x", "output_folder": "out"})
    assert "!ref" not in text and "!include" not in text and "!copy" not in text and str(ROOT) not in text
    assert not any(line.startswith(("base:", "with:", "without:")) for line in text.splitlines())


def test_C05_a_run_folders_file_loads_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(POLSESS)
    options = {"data_folder": "x", "output_folder": "out", "preset": "convtasnet_tiny"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hyperparams.yaml").write_text(config.resolve("spmamba_tiny.yaml", options), encoding="utf-8")
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with (moved / "hyperparams.yaml").open(encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file)  # SpeechBrain's own way
    assert hparams["modules"]["separator"].num_sources == 1 and hparams["output_folder"] == "out"


def test_C06_every_class_path_in_a_yaml_file_resolves():
    files = [*ROOT.glob("hparams_shared/**/*.yaml"), *RECIPES]
    names = {
        (file.name, name)
        for file in files
        for text in [file.read_text(encoding="utf-8")]
        for name in re.findall(r"(?:!(?:new|name|apply|applyref|module):|^network: *)([\w.]+)", text, re.MULTILINE)
    }
    assert len({name for _, name in names}) > 30
    assert not [(file, name) for file, name in sorted(names) if pydoc.locate(name) is None]


def test_no_yaml_file_is_written_twice():
    """Equal but for comments and blank lines."""
    seen = {}
    for path in sorted([*ROOT.glob("hparams_shared/**/*.yaml"), *RECIPES]):
        lines = (line.split(" #")[0].rstrip() for line in path.read_text().splitlines())
        text = "\n".join(line for line in lines if line and not line.startswith("#"))
        assert text not in seen, f"{path} and {seen[text]}"
        seen[text] = path


@pytest.mark.parametrize("path", sorted(ROOT.glob("hparams_shared/**/*.yaml")), ids=lambda path: path.stem)
def test_a_delta_says_nothing_that_its_base_says(path):
    layers = config.read_layers(path)
    below = {key: value for layer in layers[:-1] for key, value in layer.keys.items()}
    network = layers[0].keys.get("network")
    below = {**(keyword_arguments(network) if network else {}), **below}
    repeated = [key for key, value in layers[-1].keys.items() if key in below and below[key] == value]
    assert not repeated


def test_a_text_in_brackets_takes_no_comment_into_itself(folder):
    (folder / "words.yaml").write_text("place: !PLACEHOLDER  # where it lies\nlr: 1\n")
    assert load(resolve(folder / "words.yaml", "place: (a)")) == {"place": "(a)", "lr": 1}


@pytest.mark.parametrize(
    "text, message",
    [
        ("lr: 0.5\nbatch_size: 1\nn: !ref <lr> / 0\n", "cannot be calculated"),
        ("lr: 0.5\nbatch_size: !ref <lr>\n", "batch_size: expected a whole number from 1 up, got 0.5"),
        ("m: !include:inner.yaml\n    part: {x: 1, zz: 2}\n", r"m\[part\]: 'zz' is no key of inner.yaml\[part\]"),
        ("m: !include:inner.yaml 3\n", "expected `key: value` lines"),
        ("a: !applyref:math.sqrt [x]\n", "does not take these arguments"),
        ("batch_size: 99999999999999999999\n", "batch_size: expected a whole number"),
        ("train_log: ''\n", "train_log: expected text that is not empty"),
    ],
)
def test_mistakes_of_a_file_are_one_line(tmp_path, text, message):
    (tmp_path / "inner.yaml").write_text("part: {x: 3}\n")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        resolve(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    "text, message",
    [
        ("with: [separator]\nseparator: !new:torch.nn.Identity\n", r"makes 'separator'.*without: \[preset\]"),
        ("budget: null\n", "budget: expected an object"),
    ],
)
def test_a_recipe_cannot_do_without_what_trains_nor_replace_its_presets_network(tmp_path, text, message):
    base = Path(__file__).parents[2] / "recipes" / "custom" / "hparams" / "spmamba.yaml"
    (tmp_path / "recipe.yaml").write_text(f"base: {base}\n{text}")
    with pytest.raises(UserError, match=message):
        resolve(tmp_path / "recipe.yaml", "data_folder: x")
