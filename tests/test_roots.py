"""Over the wire a file is read only where the client said, when it connected, that files may be read."""

from __future__ import annotations

import socket as sockets
from pathlib import Path

import pytest

from ragmacs_srv.errors import AddressRefused, InvalidParams
from ragmacs_srv.roots import folders, local
from ragmacs_srv.serve.server import Options
from tests.serve.test_wire import Line, serving

NOTES = "# Notes\n\n## Pools\n\n" + "A pool keeps buffers that would otherwise be allocated again and again. " * 5


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A folder with a file, and a link that leads out of it."""
    folder = tmp_path / "opened"
    folder.mkdir()
    (folder / "größe notes.md").write_text(NOTES)
    (tmp_path / "secret.md").write_text(NOTES)
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "inside.md").symlink_to(folder / "größe notes.md")
    (folder / "circle").symlink_to(folder / "circle")
    return folder


@pytest.mark.parametrize("name", ["größe notes.md", "inside.md", "sub/../größe notes.md"])
def test_a_file_in_a_root_has_a_path_however_it_is_named(opened: Path, name: str) -> None:
    roots = folders([str(opened)])
    real = opened / "größe notes.md"
    assert local(f"{opened}/{name}#pools", roots) == real
    assert local((opened / name).as_uri(), roots) == real
    assert local(f"file:{opened}/inside.md#pools", roots) == real


OUTSIDE = """{}/link.md {}/../secret.md {}/circle {}x/a.md /etc/passwd FILE:///etc/passwd file:inside.md file:
    file://{}/%2e%2e/secret.md file://evil.test{}/inside.md file://{}/a%00"""


@pytest.mark.parametrize("name", [*OUTSIDE.split(), "/a\0"])
def test_what_leads_out_of_all_roots_is_refused_with_what_to_do(opened: Path, name: str) -> None:
    url = name.format(opened)
    for roots in (folders([str(opened)]), ()):
        with pytest.raises(AddressRefused) as caught:
            local(url, roots)
        assert "initialize" in caught.value.hint


def test_a_file_on_another_machine_is_named_in_its_refusal(opened: Path) -> None:
    with pytest.raises(AddressRefused, match=r"file://evil\.test/x"):
        local("file://evil.test/x", folders([str(opened)]))


@pytest.mark.parametrize("url", ["https://go.dev/x", "handbook:pool", "ftp://x", "notes.md"])
def test_other_addresses_are_no_files(url: str) -> None:
    assert local(url, ()) is None


@pytest.mark.parametrize("name", ["/nowhere/at/all", "relative", "https://go.dev/", "file://host/tmp"])
def test_a_root_is_a_folder(name: str) -> None:
    with pytest.raises(InvalidParams, match="no folder"):
        folders([name])


@pytest.mark.slow
def test_files_are_read_over_a_connection_that_has_named_their_folder(home: Path, opened: Path) -> None:
    url = (opened / "inside.md").as_uri()
    with serving(home, Options()) as (path, _, _), socket() as one, socket() as two:
        one.connect(str(path))
        two.connect(str(path))
        line, other = Line(one), Line(two)
        assert line.ask("fetch", url=url)["error"]["code"] == AddressRefused.code
        assert line.ask("initialize", roots=["relative"])["error"]["code"] == InvalidParams.code
        assert line.ask("initialize", roots=[opened.as_uri()])["result"]["version"]
        page = line.ask("fetch", url=url + "#pools")["result"]
        assert [each["heading"][-1] for each in page["sections"]] == ["Pools"]
        assert line.ask("summarize", url=str(opened / "inside.md"), length=30)["result"]["points"]
        assert line.ask("summarize", url=str(opened / "link.md"))["error"]["code"] == AddressRefused.code
        assert other.ask("fetch", url=url)["error"]["code"] == AddressRefused.code


def socket() -> sockets.socket:
    return sockets.socket(sockets.AF_UNIX)
