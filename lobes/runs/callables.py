"""The classes and functions that a downloaded YAML file may have made: all of them, and what may be given to some.

A name that is not here is not run; `lobes.runs.safe_yaml` asks. Every class and function of the shipped presets and
recipes stands here, and those of SpeechBrain's published separators and enhancement models. None of them imports, opens
or calls by a name that it is given, but for those with a rule in `RULES`. Whoever adds a network adds its class here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_LOBES = "lobes"  # its names are compared here and never imported
_SB = "speechbrain.lobes.models"
NEW = {
    # networks
    f"{_LOBES}.models.spmamba.SPMamba", f"{_LOBES}.models.bs_bimamba.BSBiMamba", f"{_LOBES}.models.bsrnn.BSRNN",
    f"{_LOBES}.models.mbs_net.MBSNet", f"{_LOBES}.models.tf_gridnet.TFGridNet",
    f"{_LOBES}.models.masking.MaskingSeparator", f"{_LOBES}.models.conv_tasnet.CausalConvTasNet",
    f"{_LOBES}.exported.BiMambaStack", f"{_LOBES}.exported.MambaTasNetMaskNet", f"{_LOBES}.exported.SequenceFirst",
    f"{_LOBES}.exported.RNNBlock", f"{_LOBES}.exported.TransformerBlock",
    # around a network, in an exported folder
    f"{_LOBES}.exported.MixAndOnes", f"{_LOBES}.exported.MappingMaskNet", f"{_LOBES}.exported.TakeEstimate",
    f"{_LOBES}.exported.EnhanceModel", "speechbrain.utils.parameter_transfer.Pretrainer",
    # of folders made by earlier versions
    f"{_LOBES}.inference.adapter.MixAndOnes", f"{_LOBES}.inference.adapter.MappingMaskNet",
    f"{_LOBES}.inference.adapter.TakeEstimate", f"{_LOBES}.inference.adapter.EnhanceModel",
    f"{_LOBES}.models.mamba_tasnet.MambaMaskNet", f"{_LOBES}.models.sequence_first.SequenceFirst",
    f"{_LOBES}.nnet.bimamba.SharedBiMamba", f"{_LOBES}.exported.MambaMaskNet", f"{_LOBES}.exported.SharedBiMamba",
    # SpeechBrain's separators
    *(f"{_SB}.dual_path.{name}" for name in (
        "Encoder", "Decoder", "Dual_Path_Model", "SBTransformerBlock", "SBRNNBlock", "DPTNetBlock",
        "SBConformerEncoderBlock")),
    *(f"{_SB}.resepformer.{name}" for name in (
        "ResourceEfficientSeparator", "SBTransformerBlock_wnormandskip", "SegLSTM", "MemLSTM")),
    f"{_SB}.conv_tasnet.MaskNet",
    # SpeechBrain's enhancement models
    f"{_SB}.MetricGAN.EnhancementGenerator", f"{_SB}.EnhanceResnet.EnhanceResnet",
    "speechbrain.processing.features.STFT", "speechbrain.processing.features.ISTFT", "torch.nn.GELU",
}  # fmt: skip
NAME = {
    f"{_LOBES}.exported.load_strictly", f"{_LOBES}.inference.weights.load_strictly",
    "torch.hamming_window", "torch.hann_window", "speechbrain.processing.features.spectral_magnitude",
    "speechbrain.processing.signal_processing.resynthesize", "speechbrain.nnet.normalization.BatchNorm2d",
    "torch.nn.GELU",
}  # fmt: skip
APPLY = {
    "torch.manual_seed", "torch.cuda.manual_seed_all", "random.seed", "numpy.random.seed",
    "speechbrain.utils.seed_everything", "speechbrain.utils.seed.seed_everything",
}  # fmt: skip
MODEL: Mapping[str, set[str]] = {"!new:": NEW, "!name:": NAME, "!apply:": APPLY}
# What a run folder's file names besides its network. A start that only tests takes these from there; no separator does.
TRAINING: Mapping[str, set[str]] = {
    "!new:": NEW
    | {
        f"{_LOBES}.exported.Budget", f"{_LOBES}.exported.MetricGan", f"{_LOBES}.training.budget.Budget",
        f"{_LOBES}.exported.SafeCheckpointer", "speechbrain.utils.epoch_loop.EpochCounter",
        "speechbrain.utils.checkpoints.Checkpointer",
    },
    "!name:": NAME
    | {
        f"{_LOBES}.exported.BudgetCosine", f"{_LOBES}.training.schedule.BudgetCosine", "torch.optim.AdamW",
        "torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.ReduceLROnPlateau",
    },
    "!apply:": APPLY,
}  # fmt: skip
# What a recipe file may ask for when it is resolved; nothing of it is left in a run folder or an exported folder.
RESOLVED = {f"{_LOBES}.exported.num_sources", f"{_LOBES}.exported.describe_task"}
ATTRIBUTES = {"model"}  # of an object, by `!ref <key.attribute>`
# The first key of an exported folder, which says how to install Lobes. No dot: the rest would be looked for inside it.
NEEDED = re.compile(r"lobes\.exported\.Lobes \([^.%]*\)")
_PLACE = re.compile(r"(?!~)[\w<>\[\] -][\w.<>\[\] -]*(/[\w<>\[\] -][\w.<>\[\] -]*)*")
_CELLS = {"LSTM", "GRU", "RNN"}


def complaint(tag: str, node: Node, known: Mapping[str, set[str]] = MODEL) -> str:
    """What speaks against making what a tag says, with these arguments; nothing where it may be made.

    Arguments
    ---------
    tag : str
        Such as `!new:lobes.models.spmamba.SPMamba`.
    node : ruamel.yaml.nodes.Node
        Its arguments.
    known : mapping
        Kind of tag -> names.

    Example
    -------
    >>> complaint("!new:subprocess.Popen", MappingNode("!new:subprocess.Popen", []))
    'run subprocess.Popen'
    >>> complaint("!apply:torch.manual_seed", SequenceNode("!apply:torch.manual_seed", []))
    ''
    """
    kind, _, name = tag.partition(":")
    if kind == "!name" and NEEDED.fullmatch(name):
        return "" if isinstance(node, ScalarNode) and not node.value else f"run {name} with arguments"
    allowed = known.get(f"{kind}:", ())
    if kind == "!apply" and name == "getattr" and name not in allowed:
        return _of_attribute(node)
    if name not in allowed:
        return f"run {name}"
    reason = RULES[name](node) if name in RULES else ""
    return f"run {name} with {reason}" if reason else ""


def _of_pretrainer(node: Node) -> str:
    """It fetches files, from anywhere to anywhere, and calls what it is given."""
    for key, value in _arguments(node):
        if key == "collect_in" and not _is_inside(value):
            return "a folder to collect in that is outside of the model's"
        if key == "paths" and not all(_is_inside(path) for _, path in _arguments(value)):
            return "a path that is outside of the model's folder"
        if key == "custom_hooks":
            hooks = {str(hook.tag) for _, hook in _arguments(value)}
            if not hooks <= {"!name:lobes.exported.load_strictly", "!name:lobes.inference.weights.load_strictly"}:
                return "hooks of its own"
        if key not in ("loadables", "paths", "custom_hooks", "collect_in"):
            return f"{key or 'arguments without names'}"
    return ""


def _of_cells(node: Node) -> str:
    """It looks up the name of a recurrent layer in a module."""
    words = {value.value for _, value in _arguments(node) if str(value.tag).endswith(":str")}
    return f"the layer {min(words - _CELLS)!r}" if words - _CELLS else ""


def _of_plain(node: Node) -> str:
    """Nothing but numbers."""
    numbers = (":int", ":bool", "!ref")
    plain = all(isinstance(one, ScalarNode) and str(one.tag).endswith(numbers) for _, one in _arguments(node))
    return "" if plain else "arguments that are no numbers"


def _of_checkpointer(node: Node) -> str:
    """It makes folders anywhere, and no value that a start takes from its run folder has one."""
    return "folders to write to"


def _without_arguments(node: Node) -> str:
    return "arguments" if node.value else ""


def _of_attribute(node: Node) -> str:
    """HyperPyYAML's form of `<key.attribute>`."""
    values = [value for _, value in _arguments(node)] if isinstance(node, SequenceNode) else []
    attribute = values[1].value if len(values) == 2 and isinstance(values[1], ScalarNode) else "?"
    return "" if attribute in ATTRIBUTES else f"look up the attribute {attribute!r}"


def _arguments(node: Node) -> Iterator[tuple[str, Node]]:
    """Names and values of what a node holds; no names in a list."""
    if isinstance(node, MappingNode):
        yield from ((str(key.value), value) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        yield from (("", value) for value in node.value)


def _is_inside(node: Node) -> bool:
    """Whether a node is a plain path without a way out: `weights/a.ckpt`, `owner/name/a.ckpt`."""
    return isinstance(node, ScalarNode) and bool(_PLACE.fullmatch(str(node.value)))


RULES: Mapping[str, Callable[[Any], str]] = {
    "speechbrain.utils.parameter_transfer.Pretrainer": _of_pretrainer,
    f"{_SB}.dual_path.SBRNNBlock": _of_cells,
    f"{_LOBES}.exported.SafeCheckpointer": _of_checkpointer,
    "speechbrain.utils.checkpoints.Checkpointer": _of_checkpointer,
    f"{_LOBES}.exported.load_strictly": _without_arguments,
    f"{_LOBES}.inference.weights.load_strictly": _without_arguments,
    **dict.fromkeys(APPLY, _of_plain),
}
