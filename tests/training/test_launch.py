"""From a command line to a run folder: options mean what was typed, and mistakes are found before anything is done."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml

from lobes.errors import UserError, exit_on_user_error
from lobes.runs.starts import Start
from lobes.training import launch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def custom(monkeypatch):
    """Commands start in the folder of a recipe."""
    monkeypatch.chdir(ROOT / "recipes" / "custom")


def command_line(*words):
    """The resolved settings, without the objects, and the run options."""
    text, run_opts, _ = launch.read_command_line(["spmamba", "--data_folder", "x", *map(str, words)])
    return launch.plain_settings(text), run_opts


# Paths of people (T2-64), and what YAML, HyperPyYAML or a shell would make something else of.
TYPED = [
    "exp #1", "a: b", "a<b>c", "@x", "1e3", "1.0", "007", "no", "yes", "true", "null", "~", "[a", "{x}", "[a, b]",
    "!ref <seed>", "<seed>", "1 #2", "*", "&x", "%x", "`x`", "- a", "? a", "| a", "> a", "a:", "#", "(1, 2)",
    "2001-01-01",
    "0x1F", "1_000", "12:30", "=", "<<", "---", "...", "  lead", "trail  ", '"q"', "it's", "back\\slash", "$HOME",
    "Zażółć gęślą", "line\nbreak", "tab\tstop", "😀", "\udcff", "-rf", "--x", "x" * 300, "None", "nan",
]  # fmt: skip


@pytest.mark.parametrize("text", ["exp #1", "a: b", "a<b>c", "@x", "1e3", "no", "[a", "1 #2", "<seed>", "line\nbreak"])
def test_t2_64_a_text_is_what_was_typed(custom, text):
    settings, _ = command_line(f"--output_folder={text}", "--max_steps", "5")
    assert settings["output_folder"] == text and settings["save_folder"] == f"{text}/save"
    assert settings["train_log"] == f"{text}/train_log.txt" and settings["seed"] == 1234


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A recipe that stock HyperPyYAML loads in no time."""
    file = tmp_path_factory.mktemp("small") / "small.yaml"
    file.write_text("name: a\nfolder: !ref results/<name>/<seed>\nseed: 1\nmore: {inside: !ref <folder>/save}\n")
    return file


@pytest.mark.parametrize("text", [*TYPED, "", "(x)", "(x)\n", "\n", "\u2028", "<name>", "!!str x"])
def test_t2_64_the_run_folders_file_says_what_was_typed(small, tmp_path, text):
    from lobes.config import resolve

    argv = [str(small), f"--name={text}"]
    handlers = list(logging.getLogger().handlers)
    try:
        launch.make_run_folder(str(tmp_path / "run"), Start(resolve(small, {"name": text})), __file__, argv)
    finally:
        logging.getLogger().handlers[:] = handlers
    folder = f"results/{text}/1"
    raw = (tmp_path / "run" / "hyperparams.yaml").read_text(encoding="utf-8", errors="surrogateescape")
    found = load_hyperpyyaml(raw)
    assert found == {"name": text, "folder": folder, "seed": 1, "more": {"inside": f"{folder}/save"}}


def test_t2_64_two_names_are_two_folders(custom):
    first, second = (command_line("--output_folder", f"exp #{number}")[0]["save_folder"] for number in (1, 2))
    assert (first, second) == ("exp #1/save", "exp #2/save")


@pytest.mark.parametrize(
    "words, key, value",
    [
        (["--lr=0.1"], "lr", 0.1),
        (["--lr", "1e-3"], "lr", 0.001),
        (["--lr", "1"], "lr", 1.0),
        (["--max_steps", "1e3"], "max_steps", 1000),
        (["--max_steps", "null"], "max_steps", None),
        (["--max_grad_norm", "-1"], "max_grad_norm", -1.0),
        (["--skip_prep", "true"], "skip_prep", True),
        (["--test_metrics", "[si_sdr, pesq]"], "test_metrics", ["si_sdr", "pesq"]),
        (["--pretrained_separator", "1e3"], "pretrained_separator", "1e3"),
        (["--pretrained_separator", "null"], "pretrained_separator", None),
        (["--lr_scheduler", "null"], "lr_scheduler", None),
        (["--n_layers", "3"], "n_layers", 3),
        (["--preset", "dprnn_tiny", "--n_units", "8"], "n_units", 8),
        (["--precision", "fp32"], "precision", "fp32"),
    ],
)
def test_the_declared_default_says_what_a_text_is(custom, words, key, value):
    found = command_line(*words)[0][key]
    assert found == value and type(found) in (type(value), *type(value).__subclasses__())


def test_run_options_keep_their_own_ways(custom):
    settings, run_opts = command_line("--debug", "--device", "cpu", "--debug_batches=3", "--precision", "fp32",
                                      "--noprogressbar", "--compile_module_keys", "a", "b")  # fmt: skip
    assert run_opts.debug is True and run_opts.device == "cpu" and run_opts.debug_batches == 3
    assert run_opts.compile_module_keys == ["a", "b"] and {"debug", "device"} <= run_opts.overridden_args
    assert settings["precision"] == "fp32" and "precision" not in run_opts.overridden_args  # the run's file says so
    assert settings["noprogressbar"] is True and command_line("--debug", "false")[1].debug is False


WRONG = [
    ("--lr abc", "lr: expected a number above 0, got 'abc'"),
    ("--lr -1", "lr: expected a number above 0, got -1.0"),
    ("--lr nan", "lr: expected a number"),
    ("--lr [1,2]", r"lr: expected a number above 0, got '\[1,2\]'"),
    ("--lr=", "lr: expected a number above 0, got nothing"),
    ("--lr 1e999", "lr: expected a number above 0, got inf"),
    ("--num_workers -1", "num_workers: expected a whole number from 0 up, got -1"),
    ("--batch_size two", "batch_size: expected a whole number from 1 up, got 'two'"),
    ("--batch_size 1_000", "batch_size: expected a whole number"),
    ("--N_epochs 1.5", "N_epochs: expected a whole number from 1 up, got '1.5'"),
    ("--max_steps ten", "max_steps: expected a whole number from 1 up or null"),
    ("--seed -1", "seed: expected a whole number from 0 to 4294967295"),
    ("--num_workers -1 --batch_size 0", "batch_size: .* num_workers: "),
    ("--skip_prep yes", "skip_prep: expected true or false, got 'yes'"),
    ("--skip_prep", "--skip_prep has no value"),
    ("--test_metrics si_sdr", "test_metrics: expected a list such as"),
    ("--test_metrics [si_sdr", "test_metrics: expected a list such as"),
    ("--test_metrics [sisdr]", "Unknown metric 'sisdr'.*Did you mean 'si_sdr'"),
    ("--test_metrics [nowhere:f]", "metric nowhere:f: cannot be imported"),
    ("--test_metrics [wer] --recogniser nowhere:f", "recogniser nowhere:f: cannot be imported"),
    ("--n_layers 0", "n_layers: expected a whole number from 1 up, got 0"),
    ("--output_folder=", "output_folder: expected text that is not empty"),
    ("--lr 0.1 --lr=0.1", "--lr is given twice"),
    ("--lr --debug", "--lr has no value"),
    ("word", "unexpected word 'word'"),
    ("-x 1", "unexpected word '-x'"),
    ("--debug_batches 0", "--debug_batches: expected a whole number from 1 up"),
    ("--debug=maybe", "--debug: expected true or false"),
    ("--distributed_backend tcp", "--distributed_backend: expected nccl or gloo or mpi"),
    ("--precision int8", "precision: expected fp32 or bf16 or fp16, got 'int8'"),
    ("--device gpu", "--device gpu: no such device. A GPU is called cuda"),
    ("--device cpu:3", "--device cpu:3: no such device"),
    ("--device cuda:x", "--device cuda:x: no such device"),
    ("--device cpu --data_parallel_backend", "--data_parallel_backend: needs GPUs"),
    ("--ckpt_interval_steps 5", "--ckpt_interval_steps: give --ckpt_interval_minutes 0"),
    ("--model x", "unknown option --model. The network is chosen by --preset"),
    ("--model.n_layer 3", "unknown option --model.n_layer. Did you mean 'n_layers'"),
    ("--precison bf16", "unknown option --precison. Did you mean 'precision'"),
    ("--devise cpu", "unknown option --devise. Did you mean 'device'"),
    ("--lr_scheduler x", "--lr_scheduler is an object"),
    ("--clip_grad_norm 5", "Did you mean 'max_grad_norm'"),
    ("--threshold_byloss 3", "Did you mean 'clamp_db'"),
    ("--limit_training_signal_len 3", "Did you mean 'training_signal_len'"),
    ("--save_audio 3", "Did you mean 'n_audio_to_save'"),
    ("--dataloader_opts 3", "Set batch_size, valid_batch_size and num_workers"),
    ("--optimizer adam", "The optimizer is opt_class"),
    ("--loss x", "loss: expected si_snr or snr or sdr, got 'x'"),
    ("--model x --log_config y", "--model. The network is chosen.*--log_config. Every run writes"),
    ("--noise_snr [20,0]", r"noise_snr: expected \[lowest, highest\] in dB"),
    ("--codecs [zip]", "codecs: expected a list such as .* among mp3, opus"),
    ("--rooms nowhere", "rooms: there is no folder nowhere. Give a folder .* simulated or null"),
    ("--use_rand_shift true", "Did you mean 'max_shift'"),
    ("--train_logger tensorbord", "train_logger: expected tensorboard or wandb or null, got .tensorbord."),
]


@pytest.mark.parametrize("words, message", WRONG, ids=[words for words, _ in WRONG])
def test_C02_C03_a_wrong_option_is_refused_before_anything_is_done(custom, words, message):
    with pytest.raises(UserError, match=message):
        command_line(*words.split())


def test_t2_69_half_precision_on_a_cpu(custom):
    for key in ("precision", "eval_precision"):
        with pytest.raises(UserError, match=f"{key}: fp16 needs a GPU. On a CPU use --precision bf16 or fp32"):
            command_line("--device", "cpu", f"--{key}", "fp16")
    assert command_line("--device", "cpu", "--precision", "bf16")[0]["precision"] == "bf16"


@pytest.mark.parametrize("words", [["--base_folder_dm", "x"], ["--use_wham_noise", "true"]])
def test_t2_70_dynamic_mixing_names_where_it_is(custom, words):
    with pytest.raises(UserError, match=f"unknown option {words[0]}. --dynamic_mixing true"):
        command_line(*words)
    assert command_line("--dynamic_mixing", "true")[0]["dynamic_mixing"] is True


def test_a_gpu_that_is_not_there(custom, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: PyTorch finds no CUDA device here"):
        command_line("--device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="--device cuda:2: there is no such GPU; the last one is cuda:1"):
        command_line("--device", "cuda:2")


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "expected a recipe file first"),
        (["--data_folder", "x"], "expected a recipe file first"),
        (["spmamb"], "no such recipe file: spmamb. The folder hparams has: spmamba.yaml"),
        (["hparams"], "no such recipe file: hparams. It is a folder. The folder hparams has: spmamba.yaml"),
        (["spmamba"], "data_folder is not set. Give it on the command line: --data_folder VALUE"),
    ],
)
def test_the_recipes_file(custom, argv, message):
    with pytest.raises(UserError, match=message):
        launch.read_command_line(argv)


@pytest.mark.parametrize("word", ["spmamba", "spmamba.yaml", "hparams/spmamba", "hparams/spmamba.yaml"])
def test_a_recipe_is_found_by_its_name(custom, word):
    assert launch.read_command_line([word, "--data_folder", "x"])[2] == "hparams/spmamba.yaml"


@pytest.mark.parametrize("place, reason", [
    ("file", "is a file, expected a folder"),
    ("file/run", "Not a directory"),
    ("n" * 300, "File name too long"),
])  # fmt: skip
def test_C02_an_output_folder_that_cannot_be_written_is_found_first(
    custom, tmp_path, monkeypatch, capsys, place, reason
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("lobes.config.load", lambda text: pytest.fail("objects were made"))
    with pytest.raises(SystemExit) as stop, exit_on_user_error():
        launch.start(["spmamba", "--data_folder", "x", "--output_folder", str(tmp_path / place)], __file__)
    line = capsys.readouterr().err
    assert stop.value.code == 2 and line.count("\n") == 1 and reason in line and str(tmp_path / place) in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_C02_a_train_log_that_cannot_be_written_is_found_first(custom, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("lobes.config.load", lambda text: pytest.fail("objects were made"))
    words = ["--output_folder", str(tmp_path / "run"), "--train_log", str(tmp_path / "file" / "log.txt")]
    with pytest.raises(UserError, match="train_log: .*file is a file, expected a folder"):
        launch.start(["spmamba", "--data_folder", "x", *words], __file__)


def test_C01_a_recipe_without_a_key_that_a_training_reads(tmp_path):
    (tmp_path / "own.yaml").write_text(
        f"base: {ROOT}/recipes/custom/hparams/spmamba.yaml\nwithout: [batch_size, patience]\n"
    )
    with pytest.raises(UserError, match="the recipe has no batch_size, patience: a training needs that"):
        launch.read_command_line([str(tmp_path / "own.yaml"), "--data_folder", "x"])


@pytest.mark.parametrize("text, message", [
    ("opt_class: !name:torch.optim.AdamW {lr: fast}", "opt_class: AdamW refuses its arguments: .*'str'"),
    ("opt_class: !name:torch.optim.AdamW {lr: -1}", "opt_class: AdamW refuses its arguments: Invalid learning rate"),
    ("opt_class: !name:torch.optim.SGD {lr: 0.1, momentum: a}", "opt_class: SGD refuses its arguments"),
    ("opt_class: !name:torch.optim.LBFGS", "opt_class: LBFGS refuses its arguments: .*closure"),
    ("lr_scheduler: !name:torch.optim.lr_scheduler.StepLR {step_size: often}", "lr_scheduler: StepLR refuses"),
    ("lr_scheduler: !name:torch.optim.lr_scheduler.StepLR {step_size: 0}", "lr_scheduler: StepLR refuses"),
    ("lr_scheduler: !name:torch.optim.lr_scheduler.ReduceLROnPlateau {factor: 2}", "lr_scheduler: ReduceLROnPlateau"),
])  # fmt: skip
def test_C01_an_optimizer_or_schedule_that_refuses_its_arguments_is_found_first(tmp_path, monkeypatch, text, message):
    (tmp_path / "own.yaml").write_text(f"base: {ROOT}/recipes/custom/hparams/spmamba.yaml\n{text}\n")
    monkeypatch.setattr(launch, "make_run_folder", lambda *_: pytest.fail("it went on"))
    words = ["--data_folder", "x", "--output_folder", str(tmp_path / "run"), "--preset", "convtasnet_tiny"]
    with pytest.raises(UserError, match=message) as caught:
        launch.start([str(tmp_path / "own.yaml"), *words], __file__)
    assert "\n" not in str(caught.value)


def test_an_output_folder_is_only_tried(tmp_path):
    from lobes.training.checks import refuse_unwritable

    refuse_unwritable(tmp_path / "new" / "run", "output_folder")
    assert not list(tmp_path.iterdir())


def test_help_shows_the_recipes_own_options(monkeypatch, capsys):
    monkeypatch.chdir(ROOT / "recipes" / "PolSESS")
    with pytest.raises(SystemExit) as stop:
        launch.read_command_line(["spmamba_tiny", "--preset", "dprnn_tiny", "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    for line in ("--task ES                        ES, EB or SB", "--dynamic_mixing true ",
                 "--data_folder (must be given)", "--test_metrics [si_sdr, sdr, pesq, stoi]", "--n_units 48",
                 "--debug ",
                 "--precision fp32 "):  # fmt: skip
        assert line in text, line
    order = [text.index(title) for title in ("spmamba.yaml:", "separation.yaml:", "training.yaml: Data:",
                                             "Network, preset dprnn_tiny:", "How to run:")]  # fmt: skip
    assert order == sorted(order) and "--lr 0.001" in text


def test_help_without_a_file_names_the_files(custom, capsys):
    with pytest.raises(SystemExit):
        launch.read_command_line(["--help"])
    text = capsys.readouterr().out
    assert "Recipe files: spmamba.yaml" in text and "--debug " in text


def test_every_option_of_the_recipes_is_explained_or_plain():
    """What a name cannot say stands behind the default."""
    from lobes.training.usage import as_text

    lines = as_text([str(ROOT / "recipes" / "custom" / "hparams" / "spmamba.yaml"), "--help"]).splitlines()
    for key in ("precision", "max_grad_norm", "warmup_steps", "num_workers", "test_metrics", "check_files"):
        place = next(number for number, line in enumerate(lines) if line.startswith(f"  --{key} "))
        explained = len(lines[place][34:].strip()) > 3 or lines[place + 1].startswith(" " * 30)
        assert explained, key


def test_a_bar_is_for_a_screen(custom, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert not command_line()[1].noprogressbar
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert command_line()[1].noprogressbar


def test_a_control_character_of_a_command_is_escaped_in_the_runs_file(tmp_path):
    launch.make_run_folder(
        str(tmp_path / "run"), Start("lr: 0.1"), __file__, ["x.yaml", "--experiment_name", "\x1b[31m"]
    )
    text = (tmp_path / "run" / "hyperparams.yaml").read_text()
    assert launch.plain_settings(text) == {"lr": 0.1} and r"\x1b[31m" in text
