"""Ranks that meet in a store where earlier ones have left their keys."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch import distributed
from torch.distributed import HashStore

from lobes.errors import UserError
from lobes.training.ranks import in_this_round, join_ranks, leave_ranks


def meet(store, ranks):
    with ThreadPoolExecutor(ranks) as pool:
        waiting = [pool.submit(in_this_round, store, rank, ranks, timedelta(seconds=20)) for rank in range(ranks)]
        return [one.result() for one in waiting]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_round_sees_no_key_of_the_round_before(ranks):
    store = HashStore()
    for number in range(3):
        places = meet(store, ranks)
        assert not any(place.check(["address"]) for place in places)
        places[-1].set("address", f"of round {number}")
        assert {place.get("address").decode() for place in places} == {f"of round {number}"}


def test_a_rank_that_comes_before_the_first_one_does_not_follow_an_old_name():
    store = HashStore()
    meet(store, 2)
    old = store.get("lobes/round").decode()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(in_this_round, store, 1, 2, timedelta(seconds=20))
        while not early.running():
            pass
        first = in_this_round(store, 0, 2, timedelta(seconds=20))
        first.set("address", "new")
        assert early.result().get("address") == b"new" and store.get("lobes/round").decode() != old


@pytest.mark.parametrize("rank, missing", [(0, "2 ranks"), (1, "rank 0")])
def test_a_rank_that_does_not_start_is_one_line(rank, missing):
    with pytest.raises(UserError, match=f"waited for {missing} in vain"):
        in_this_round(HashStore(), rank, 2, timedelta(seconds=0.1))


def test_more_ranks_than_gpus_is_one_line(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=r"rank 1 of this machine has no GPU: 1 found.*--nproc_per_node"):
        join_ranks("nccl")


def test_leaving_ends_the_group():
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    leave_ranks()
    assert not distributed.is_initialized()
