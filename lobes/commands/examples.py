"""Examples of an evaluation to hear: the signals of some items from all systems. T samples, S sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lobes.evaluation.candidates import Candidate, UntouchedMixture
from lobes.evaluation.items import CheckedItems, LoadedItem
from lobes.metrics.utterance import best_order
from lobes.nnet.level import fitted
from lobes.reports.html import AudioExample

LONGEST_S = 20.0  # of an example: at 16 kHz each signal then takes 0.85 MB of the page


def audio_examples(
    chosen: Sequence[tuple[str, str]], items: CheckedItems, candidates: Sequence[Candidate]
) -> list[AudioExample]:
    """Separate some items again, for a page.

    Arguments
    ---------
    chosen : sequence of (str, str)
        A word that begins the example's title, and the ID.
    items : CheckedItems
    candidates : sequence of Candidate
        Prepared for these items. The mixture itself is always there, and so is left out of them.

    Returns
    -------
    list of AudioExample
        At the rate of the evaluation: mixture, target and each system's output by its label, for several sources with
        their number behind it. Outputs stand at the level that fits the mixture, in the order of the targets. Signals
        that are not finite are left out. Of long items the first 20 s, which keeps the page small.
    """
    loaded = items.chosen(ID for _, ID in chosen)
    systems = [one for one in candidates if not isinstance(one, UntouchedMixture)]
    return [
        _example(f"{word}: {item.id}", _signals(item, systems, items.rate), items.rate)
        for (word, _), item in zip(chosen, loaded, strict=True)
    ]


def _example(title: str, signals: dict[str, np.ndarray], rate: int) -> AudioExample:
    samples = round(LONGEST_S * rate)
    cut = any(len(signal) > samples for signal in signals.values())
    title += f", the first {LONGEST_S:g} s" * cut
    return AudioExample(title, {name: signal[:samples] for name, signal in signals.items()}, rate)


def _signals(item: LoadedItem, systems: Sequence[Candidate], rate: int) -> dict[str, np.ndarray]:
    signals = {"mixture": item.mix, **_numbered("target", item.targets)}
    for system in systems:
        estimates = fitted(system.estimates(item.id, item.mix, rate), item.mix)
        if np.isfinite(estimates).all():
            signals.update(_numbered(system.label, estimates[:, best_order(estimates, item.targets)]))
    return signals


def _numbered(label: str, sources: np.ndarray) -> dict[str, np.ndarray]:
    if sources.shape[1] == 1:
        return {label: sources[:, 0]}
    return {f"{label} {number + 1}": source for number, source in enumerate(sources.T)}
