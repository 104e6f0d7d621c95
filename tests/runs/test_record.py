"""What a training says last."""

import shlex

from lobes.runs.record import last_words


def test_the_next_command_names_a_file_that_is_there(tmp_path):
    run = tmp_path / "my run"
    assert shlex.split(last_words(run, "enhance").splitlines()[2])[-3:] == ["FILE", "-o", "out"]
    for name in ("b", "a"):
        (run / "audio" / name).mkdir(parents=True)
        (run / "audio" / name / "mix.wav").touch()
    words = shlex.split(last_words(run, "enhance").splitlines()[2])
    assert words == ["lobes", "enhance", str(run), str(run / "audio" / "a" / "mix.wav"), "-o", "out"]
