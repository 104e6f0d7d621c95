"""Open a signal in a shard as if it were a file of its own."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import soundfile as sf

from lobes.data.containers.view import printable
from lobes.data.shards.fetching import fetch
from lobes.data.shards.member import Member
from lobes.errors import UserError

REMEDY = "Bring the shard back from a copy, or make the shards anew; `sha256sum -c SHA256SUMS` finds all damaged ones."


@contextlib.contextmanager
def opened_in_shard(member: Member) -> Iterator[sf.SoundFile]:
    """Open a signal for reading; a shard from elsewhere that is not here yet is fetched first.

    Raises
    ------
    UserError
        No shard, one that is shorter than its index says, or no audio at that place.
    """
    fetch(member.shard)
    try:
        with open(member.shard, "rb") as file:
            file.seek(member.offset)
            content = file.read(member.size)
    except OSError as error:
        raise UserError(f"{printable(member.shard)}: cannot be read ({error.strerror}). {REMEDY}") from error
    if len(content) < member.size:
        raise UserError(f"{printable(member.shard)}: is cut within {member.name}. {REMEDY}")
    try:
        with sf.SoundFile(io.BytesIO(content)) as sound:
            yield sound
    except sf.LibsndfileError as error:
        raise UserError(f"{printable(member.path)}: holds no audio there. {REMEDY}") from error
