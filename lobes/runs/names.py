"""File names of a run folder and of an exported folder. Every other file takes them from here."""

from __future__ import annotations

# ---- a run folder, as a recipe's train.py leaves it
HYPERPARAMS = "hyperparams.yaml"  # the resolved recipe file; also in exported folders
LOG = "log.txt"
SAVE = "save"  # checkpoints and manifests
CHECKPOINTS = "CKPT+*"  # below SAVE
PARTIAL = (
    "PARTIAL+"  # below SAVE, begins the name of a checkpoint while it is written or removed; no SpeechBrain sees it
)
BAD = "BAD+"  # below SAVE, begins the name of a damaged checkpoint that was set aside
CHECKPOINT_META = "CKPT.yaml"
WEIGHTS = "separator.ckpt"  # of the network, in a checkpoint
COUNTS = ("budget.ckpt", "stopping.ckpt", "counter.ckpt")  # in a checkpoint: what the budget, the patience and the
# epoch counter have counted, as JSON
STARTS = "starts.jsonl"  # one line for each start: when, which command, from which step, with which changes
CURVE = "learning_curve.csv"  # one row per epoch; the picture next to it has the ending .png
TENSORBOARD = "tensorboard"  # event files
TRAIN_TIME = "train_time.json"  # steps, seconds, machine and command of the training
UTTERANCES = "per_utterance.csv"
SUMMARY = "summary.json"
SCORED = "scored.jsonl"  # rows of a test that is under way
AUDIO = "audio"
TRAINING_LOCK = "training.lock"  # held while a training runs; empty
FINISHED = (TRAIN_TIME, SUMMARY, UTTERANCES)

# ---- what the launcher adds
LAUNCH = "launch.json"  # the command of a run, so that a folder is never continued with other options
CONSOLE = "console.txt"
LOCK = "running.lock"

# ---- an exported folder
MASKNET = "masknet.ckpt"
CARD = "README.md"
SUMS = "SHA256SUMS"
EXPORTED = (HYPERPARAMS, MASKNET, CARD, SUMS)
WHOLE, STREAM = "model.onnx", "stream.onnx"  # graphs of `lobes export --onnx`
WHOLE_INT8, STREAM_INT8 = "model.int8.onnx", "stream.int8.onnx"
GRAPHS = (WHOLE, STREAM, WHOLE_INT8, STREAM_INT8)
SEPFORMER_PARTS = ("encoder", "masknet", "decoder")  # weight files of SpeechBrain's own separators


def of(name: str, part: str) -> str:
    """A file's name with a part in it.

    Example
    -------
    >>> of(SUMMARY, "noisy"), of(SUMMARY, "")
    ('summary_noisy.json', 'summary.json')
    """
    stem, dot, ending = name.rpartition(".")
    return f"{stem}_{part}{dot}{ending}" if part else name
