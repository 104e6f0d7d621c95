"""What a test hands to the scoring: items without padding, and the texts of their rows."""

from types import SimpleNamespace

import numpy as np
import torch

from lobes.data.datasets import examples
from lobes.training.testing import jobs_of


def test_texts_of_a_manifest_reach_the_jobs():
    rows = [{"ID": "a", "speaker": "p1", "text": "Hello."}, {"ID": "b", "s1_text": "You there!"}, {"ID": "c"}]
    data = examples(rows, lambda ID: (np.zeros(8, np.float32), np.zeros((8, 1), np.float32))).data
    known = {"a": {"text": "Hello.", "speaker": "p1"}, "b": {"s1_text": "You there!"}, "c": {}}
    assert data == {name: {"speaker": "", **row} for name, row in known.items()}
    batch = SimpleNamespace(
        id=["a", "b", "c"],
        mix_sig=(torch.zeros(3, 8), torch.tensor([1.0, 0.5, 1.0])),
        sources_sig=SimpleNamespace(data=torch.zeros(3, 8, 1)),
    )
    jobs = list(jobs_of(batch, torch.ones(3, 8, 1), [True] * 3, [{}] * 3, 8000, ["wer"], data, "my:ears"))
    assert [job.texts for job in jobs] == [["Hello."], ["You there!"], [""]]
    assert [len(job.mix) for job in jobs] == [8, 4, 8] and {job.recogniser for job in jobs} == {"my:ears"}
