"""A mistyped path is an error here, never a look-up on the hub."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import huggingface_hub
import huggingface_hub.errors
import pytest
import requests
from speechbrain.utils.fetching import FetchConfig

from lobes.errors import UserError
from lobes.inference import Separator
from lobes.runs.hub import revision_of
from lobes.runs.locate import locate


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, dict]]:
    """Replace the hub; returns the calls it got."""
    calls: list[tuple[str, dict]] = []

    def snapshot_download(name: str, **options):
        calls.append((name, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize("word", ["exported", "./run", "../owner/name", "~/owner", "/a/b", "a/b/c", "here/run"])
def test_missing_paths_never_reach_the_hub(word: str, hub: list, tmp_path: Path):
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match="no such folder"):
        locate(word)
    assert not hub


def test_hub_id_is_downloaded(hub: list, tmp_path: Path):
    config = FetchConfig(revision="abc", allow_network=False)
    assert locate("speechbrain/sepformer-wsj02mix", fetch_config=config) == tmp_path
    [(name, options)] = hub
    assert name == "speechbrain/sepformer-wsj02mix"
    assert options["revision"] == "abc" and options["local_files_only"] is True


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("revision, said", [(None, True), ("main", True), (COMMIT, False)])
@pytest.mark.parametrize("own_folder", [False, True])
def test_a_download_says_which_commit_came_unless_it_was_asked_for(
    revision, said, own_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    folder = tmp_path / ("put" if own_folder else f"models--owner--name/snapshots/{COMMIT}")
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    if own_folder:
        (notes / "hyperparams.yaml.metadata").write_text(f"{COMMIT}\netag\n1.0\n")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.chdir(tmp_path)
    assert locate("owner/name", fetch_config=revision_of(revision)) == folder
    note = f"owner/name: this is commit {COMMIT}. To get it again whatever is put there: --revision {COMMIT}"
    assert [record.message for record in caplog.records] == [note] * said


def test_a_download_that_does_not_say_its_commit(hub: list, caplog):
    locate("owner/name")
    assert "newest state of the model. Pin one: --revision COMMIT" in caplog.text


def test_a_revision_of_a_folder_is_refused(tmp_path: Path):
    for model in (str(tmp_path), "some.module:factory"):
        with pytest.raises(UserError, match=r"revision abc: only models of the Hugging Face hub have one, and .* this"):
            Separator.from_hparams(model, fetch_config=revision_of("abc"))


class Answer:
    """A server's answer as both libraries hold it."""

    def __init__(self, status: int):
        self.status_code, self.headers, self.request = status, {}, None


def answered(kind: str, status: int, message: str = "a long answer " * 30) -> Exception:
    return getattr(huggingface_hub.errors, kind)(message, response=Answer(status))


def no_copy(cause: Exception) -> Exception:
    error = huggingface_hub.errors.LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")
    error.__cause__ = cause
    return error


UNREACHABLE = r"cannot be reached \({}.*no whole copy .*[Cc]heck the network"


@pytest.mark.parametrize(
    "error, message",
    [
        (no_copy(httpx2.ConnectError("no route")), UNREACHABLE.format("ConnectError: no route")),
        (httpx2.ReadTimeout("slow"), UNREACHABLE.format("ReadTimeout: slow")),
        (httpx2.ProxyError("407"), UNREACHABLE.format("ProxyError: 407")),
        (requests.ConnectionError("an earlier version of the hub"), UNREACHABLE.format("ConnectionError: an earlier")),
        (answered("RepositoryNotFoundError", 401), "knows no model of that name, or it is private.*spelling.*hf auth"),
        (answered("GatedRepoError", 403), "whom its owners let in: ask for access.*hf auth login"),
        (answered("HfHubHTTPError", 401, "Invalid credentials"), "no permission.*Invalid credentials.*HF_TOKEN"),
        (answered("HfHubHTTPError", 403), "no permission"),
        (huggingface_hub.errors.LocalTokenNotFoundError("token needed"), "no permission.*token needed.*hf auth login"),
        (answered("RemoteEntryNotFoundError", 404), "is of another kind: it lacks a file .*RemoteEntryNotFoundError"),
        (answered("RevisionNotFoundError", 404), "a model of that name, but no revision 'v9' of it"),
        (no_copy(answered("HfHubHTTPError", 503)), "answered with an error .HfHubHTTPError.*Try again later"),
        (huggingface_hub.errors.HFValidationError("no -- in a name"), "no valid hub id either .*no -- in a name"),
        (OSError(28, "No space left on device", "/cache/a"), "cannot be written here .*No space left.*/cache/a"),
        (RuntimeError("long " * 100 + "end\nmore"), "gave none .*end\\)"),
    ],
)  # fmt: skip
def test_each_failure_of_the_hub_is_its_own_line(error, message, monkeypatch, tmp_path):
    def fails(*_, **__):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(UserError, match=f"^owner/name: no such folder, and .*{message}") as caught:
        locate("owner/name", fetch_config=FetchConfig(revision="v9"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config, message", [(None, "HF_HUB_OFFLINE forbids"), (False, "allow_network=False forbids")])
def test_offline_is_not_no_such_model_t2_18(config, message, monkeypatch, tmp_path):
    """The hub's own library, kept off the network by its setting, and by the caller's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=rf"no whole copy of a model of that name.*{message}.*give a folder\.$"
    ) as caught:
        locate("owner/name", str(tmp_path / "put"), config if config is None else FetchConfig(allow_network=config))
    assert "knows no model" not in str(caught.value)


def test_without_the_hubs_library_the_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="owner/name: no such folder, and .*pip install huggingface_hub$"):
        locate("owner/name")


@pytest.mark.parametrize(
    "word, hint", [("result/demo", "results/demo"), ("results/dem", "demo"), ("./results/demos", "demo"), ("a/b", "")]
)
def test_a_mistyped_path_names_its_neighbour(word, hint, monkeypatch, tmp_path):
    (tmp_path / "results" / "demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such folder") as caught:
        locate(word)
    assert str(caught.value).endswith(f" Did you mean '{hint}'?" if hint else ".")


def test_file_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(UserError, match="is a file, expected the folder"):
        locate(tmp_path / "a.ckpt")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    assert locate("~/run") == tmp_path / "run"
