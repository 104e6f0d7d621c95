"""Parameter groups honour the tags."""

import torch
from torch import nn

from lobes.training.optim import build_optimizer, parameter_groups


def test_tagged_parameters_and_vectors_get_no_decay():
    model = nn.Linear(4, 3)
    model.A_log = nn.Parameter(torch.ones(4, 2))
    model.A_log._no_weight_decay = True
    decayed, free = parameter_groups(model)
    assert [p is model.weight for p in decayed["params"]] == [True]
    assert {id(p) for p in free["params"]} == {id(model.bias), id(model.A_log)}


def test_tag_has_an_effect():
    model = nn.Linear(4, 3, bias=False)
    model.A_log = nn.Parameter(torch.ones(4, 2))
    model.A_log._no_weight_decay = True
    optimizer = build_optimizer(model, lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5))
    before = model.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(model.A_log, torch.ones(4, 2))
    assert not torch.equal(model.weight, before)


def test_frozen_parameters_are_left_out():
    model = nn.Linear(4, 3)
    model.weight.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(model)) == 1
