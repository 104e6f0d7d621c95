"""Archives of unknown origin: whole, within limits and with plain names, or one line and nothing on the disk."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import pytest

from lobes.data.archives import Limits, unpack
from lobes.errors import UserError

WAV = b"RIFF" + bytes(2000)


def pack(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as bundle:
        for name, content in entries:
            bundle.writestr(name, content)
    return path


def entry(name: str, kind: int) -> zipfile.ZipInfo:
    """An entry of another kind than a file, such as a link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o644) << 16
    return info


def patched(path: Path, at_local: int, at_central: int, value: int, form: str = "<H") -> Path:
    """Write a number into the first local header and the first central one."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", at_local), (b"PK\x01\x02", at_central)):
        struct.pack_into(form, data, data.index(mark) + offset, value)
    path.write_bytes(data)
    return path


def broken_stream(path: Path) -> Path:
    data = bytearray(pack(path, ("a.wav", random.Random(0).randbytes(4000))).read_bytes())
    data[60:90] = b"\xff" * 30
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    path.write_bytes(pack(path, ("a.wav", WAV)).read_bytes()[:-30])
    return path


def no_archive(path: Path) -> Path:
    path.write_bytes(b"<html>404</html>" * 100)
    return path


BAD = {
    "S03 above": (lambda path: pack(path, ("../a.wav", WAV)), "leads out of the archive"),
    "S03 above, backslashes": (lambda path: pack(path, ("b\\..\\..\\a.wav", WAV)), "leads out of the archive"),
    "S03 absolute": (lambda path: pack(path, ("/tmp/a.wav", WAV)), "leads out of the archive"),
    "S03 drive": (lambda path: pack(path, ("C:/a.wav", WAV)), "leads out of the archive"),
    "S03 link": (lambda path: pack(path, (entry("a.wav", 0o120000), b"/etc/passwd")), "is a link or a device"),
    "S03 device": (lambda path: pack(path, (entry("a.wav", 0o020000), b"")), "is a link or a device"),
    "S03 line break": (lambda path: pack(path, ("a\nb.wav", WAV)), "is no name of a file"),
    "S03 one name": (lambda path: pack(path, ("x/a.wav", WAV), ("y/a.wav", WAV)), "have one name"),
    "S03 one name but for case": (lambda path: pack(path, ("x/a.wav", WAV), ("y/A.wav", WAV)), "have one name"),
    "S03 one name but for accents": (lambda path: pack(path, ("é.wav", WAV), ("e\u0301.wav", WAV)), "have one name"),
    "S04 file": (lambda path: pack(path, ("a.wav", bytes(9000)), ("b.wav", WAV)), "'a.wav' unpacks to 9,000 bytes"),
    "S04 ratio": (lambda path: pack(path, *((f"{n}.wav", bytes(7999)) for n in range(9))), "bytes unpack to 71,991"),
    "S04 all": (
        lambda path: pack(path, *((f"{n}.wav", bytes(6000)) for n in range(50)), method=zipfile.ZIP_STORED),
        "bytes unpack to 300,000, expected at most 200,000",
    ),
    "S04 number": (
        lambda path: pack(path, *((f"{n}.wav", b"") for n in range(101))),
        "101 files, expected at most 100",
    ),
    "S04 longer than it says": (lambda path: patched(pack(path, ("a.wav", WAV)), 22, 24, 100, "<I"), "not a whole ZIP"),
    "S04 shorter than it says": (
        lambda path: patched(pack(path, ("a.wav", WAV), method=zipfile.ZIP_STORED), 22, 24, 3000, "<I"),
        "not a whole ZIP",
    ),
    "encrypted": (lambda path: patched(pack(path, ("a.wav", WAV)), 6, 8, 1), "'a.wav' is encrypted"),
    "unknown method": (lambda path: patched(pack(path, ("a.wav", WAV)), 8, 10, 99), "method 99, expected stored or"),
    "broken stream": (broken_stream, "not a whole ZIP archive"),
    "cut": (cut, "not a whole ZIP archive"),
    "no archive": (no_archive, "not a whole ZIP archive"),
}
LIMITS = Limits(file_bytes=8000, all_bytes=200_000, ratio=20, files=100)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_one_line_and_leaves_nothing(case: str, tmp_path: Path):
    make, message = BAD[case]
    folder = tmp_path / "data"
    folder.mkdir()
    archive = make(folder / "set.zip")
    with pytest.raises(UserError, match=message) as caught:
        unpack(archive, folder / "set", limits=LIMITS)
    assert str(caught.value).startswith(f"{archive}: ") and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "set.zip"]


def test_a_good_archive_comes_flat_and_without_the_rest(tmp_path: Path):
    archive = pack(tmp_path / "set.zip", ("in/b.wav", WAV), ("a.wav", b""), ("__MACOSX/._b.wav", b"x"), ("c.txt", b"x"))
    (tmp_path / "set.partial").mkdir()  # of an unpacking that was stopped
    unpack(archive, tmp_path / "set", limits=Limits())
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == {"b.wav": WAV, "a.wav": b""}
    assert not (tmp_path / "set.partial").exists()


def test_random_damage_is_one_line_or_harmless(tmp_path: Path):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in ("a.wav", "in/b.wav"):
            bundle.writestr(name, bytes(range(256)) * 10)
    rng, good, refused = random.Random(0), memory.getvalue(), 0
    for number in range(150):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "set.zip").write_bytes(data)
        try:
            unpack(tmp_path / "set.zip", tmp_path / f"set{number}", limits=LIMITS)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 50 < refused
    assert {path.parent.parent for path in tmp_path.rglob("*.wav")} == {tmp_path} or refused == 150
