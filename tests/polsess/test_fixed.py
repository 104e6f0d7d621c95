"""How manifests of PolSESS are evaluated: the task that counts, the variant, and what is refused."""

import numpy as np
import pytest

from lobes.errors import UserError
from lobes.polsess.fixed import FixedVariants, layout_of
from lobes.polsess.mmipc import fixed_variant

ROW = {"ID": "a", "mix_wav": "m", "s1_wav": "s", "s2_wav": "t", "scene_wav": "n", "event_wav": "e"}
INDOOR = {**ROW, "sp1_reverb_wav": "p", "sp2_reverb_wav": "q", "ev_reverb_wav": "r"}


@pytest.mark.parametrize(
    "sources, task, trained, expected",
    [(1, None, "ES", "ES"), (1, "EB", "ES", "EB"), (2, None, None, "SB"), (2, "SB", None, "SB"), (1, "ES", None, "ES")],
)
def test_the_task_is_the_one_asked_for_or_the_models(sources, task, trained, expected):
    assert layout_of(ROW, sources, task, trained).task == expected


@pytest.mark.parametrize(
    "row, sources, task, trained, message",
    [
        (ROW, 1, None, None, "Add --task ES or EB"),
        (ROW, 2, "ES", "SB", r"the model gives 2 source\(s\), task ES has 1"),
        (ROW, 1, "EX", "ES", "Unknown task 'EX'"),
        (ROW, 3, None, None, r"the model gives 3 source\(s\)"),
        ({"ID": "a", "mix_wav": "m", "s1_wav": "s"}, 1, "ES", None, "has no scene_wav, event_wav"),
    ],
)
def test_what_cannot_be_is_refused(row, sources, task, trained, message):
    with pytest.raises(UserError, match=message):
        layout_of(row, sources, task, trained)


def test_the_variant_is_that_of_the_column_or_of_the_id():
    layout, read = FixedVariants("SB"), lambda path: np.full(4, float(ord(path)), np.float32)
    for row, indoor in ((ROW, False), (INDOOR, True)):
        _, sources, conditions, _ = layout.item(row, read)
        assert conditions == {"variant": fixed_variant("a", indoor)} and sources.shape == (4, 2)
    assert layout.item({**INDOOR, "variant": "SR"}, read)[2] == {"variant": "SR"}
    with pytest.raises(UserError, match="a: Variant 'SE' does not fit an indoor row"):
        layout.columns({**INDOOR, "variant": "SE"})


def test_clean_speech_is_not_improved_in_es_but_is_separated_in_sb():
    read = lambda path: np.ones(4, np.float32)  # noqa: E731
    improves = {task: FixedVariants(task).item({**ROW, "variant": "C"}, read)[3] for task in ("ES", "EB", "SB")}
    assert improves == {"ES": False, "EB": False, "SB": True}
