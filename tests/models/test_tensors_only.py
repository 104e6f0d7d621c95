"""Files of weights that are damaged in ways that Python's zip reader does not expect."""

import struct

import pytest
import torch

from lobes.errors import UserError
from lobes.models.convert.tensors_only import read_tensors


def test_an_end_that_claims_several_disks_is_one_line(tmp_path):
    path = tmp_path / "masknet.ckpt"
    torch.save({"weight": torch.zeros(8)}, path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    assert data[end - 20 : end - 16] == b"PK\x06\x07"  # of zip64, whose last number counts the disks
    data[end - 4 : end] = struct.pack("<L", 257)
    path.write_bytes(data)
    with pytest.raises(UserError, match="masknet.ckpt: cannot be read as tensors only, the file is damaged"):
        read_tensors(path)
