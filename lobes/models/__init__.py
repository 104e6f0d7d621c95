"""Whole networks, one file each, and the registry of their presets."""

from pathlib import Path

from lobes.models.registry import get_model, list_models

__all__ = ["from_checkpoint", "from_upstream", "get_model", "list_models", "to_upstream"]


def from_checkpoint(path: str | Path):  # noqa: ANN201  torch is not imported here
    """Load a checkpoint of the PolSESS separation project; see `lobes.models.convert.polsess_project.from_checkpoint`.

    Example
    -------
    >>> from_checkpoint("no_such.pt")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: no_such.pt: expected a checkpoint file, found nothing there
    """
    from lobes.models.convert import polsess_project

    return polsess_project.from_checkpoint(path)


def from_upstream(name, source, **options):  # noqa: ANN001, ANN003, ANN201  torch is not imported here
    """Make the model that has the weights of a published network; see `lobes.models.convert.upstream.from_upstream`.

    Example
    -------
    >>> from_upstream("spmamba", "no_such.pt")
    Traceback (most recent call last):
    ...
    lobes.errors.UserError: no_such.pt: expected a checkpoint file, found nothing there
    """
    from lobes.models.convert import upstream

    return upstream.from_upstream(name, source, **options)


def to_upstream(model):  # noqa: ANN001, ANN201  torch is not imported here
    """Weights of a model under the keys of its published code; see `lobes.models.convert.upstream.to_upstream`.

    Example
    -------
    >>> sorted(to_upstream(get_model("spmamba_tiny", n_layers=1)))[0]
    'blocks.0.attn_concat_proj.0.bias'
    """
    from lobes.models.convert import upstream

    return upstream.to_upstream(model)
