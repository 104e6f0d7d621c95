"""A user's mistake is one line on stderr and exit code 2, also out of a loader's worker."""

import io
import sys

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


def test_a_screen_without_a_letter_still_shows_the_line(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252", write_through=True))
    with exit_on_user_error():
        print("łosoś.wav")
    assert written.getvalue().strip() == b"\\u0142oso\\u015b.wav"
