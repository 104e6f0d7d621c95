"""A user's mistake is one line on stderr and exit code 2, also out of a loader's worker."""

import pytest
from torch.utils.data import DataLoader, Dataset

from lobes.errors import UserError, exit_on_user_error


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError("mix.wav is cut short")


@pytest.mark.parametrize("workers", [0, 1])
def test_one_line_from_any_process(workers, capsys):
    with pytest.raises(SystemExit) as stop, exit_on_user_error():
        next(iter(DataLoader(Broken(), num_workers=workers)))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: mix.wav is cut short\n"
