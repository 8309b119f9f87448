"""The thin client: the same words and exit codes as the command line, for a fraction of its start."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ragmacs_srv import client, settings

FOLDERS: dict[str, dict[str, str]] = {
    "RAGMACS_HOME": {"RAGMACS_HOME": "/srv/docs"},
    "RAGMACS_HOME with a tilde": {"RAGMACS_HOME": "~/docs"},
    "relative": {"RAGMACS_HOME": "here/docs/"},
    "with dots": {"RAGMACS_HOME": "/srv/./docs//x/../y"},
    "empty": {"RAGMACS_HOME": "", "HOME": "/home/a"},
    "XDG": {"XDG_DATA_HOME": "/data", "HOME": "/home/a"},
    "XDG with a tilde": {"XDG_DATA_HOME": "~/data", "HOME": "/home/a"},
    "empty XDG": {"XDG_DATA_HOME": "", "HOME": "/home/a/"},
    "HOME": {"HOME": "/home/a"},
    "nothing": {},
}


@pytest.mark.parametrize("case", FOLDERS)
def test_the_client_finds_the_folders_that_the_settings_name(case: str) -> None:
    environ = FOLDERS[case]
    assert client.data_folder(environ) == os.path.abspath(settings.folders(environ).data)  # noqa: PTH100


def test_a_socket_is_named_after_its_data_folder(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"/srv/docs").hexdigest()[:8]
    assert client.socket_path("/srv/docs", {"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/ragmacs/{digest}.sock"
    assert client.socket_path("/srv/docs", {"TMPDIR": "/x"}) == f"/x/ragmacs-{os.getuid()}/{digest}.sock"


@pytest.mark.parametrize("runtime", ["", "relative", "/no/such/folder", "/" + "x" * 100])
def test_a_socket_is_never_where_it_cannot_be(runtime: str) -> None:
    path = client.socket_path("/srv/docs", {"XDG_RUNTIME_DIR": runtime, "TMPDIR": "/" + "x" * 100})
    assert path.startswith(f"/tmp/ragmacs-{os.getuid()}/")


def test_a_folder_that_others_can_enter_is_not_private(tmp_path: Path) -> None:
    folder, link = tmp_path / "run", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    assert client.is_private(str(folder))
    assert not client.is_private(str(link))
    assert not client.is_private(str(tmp_path / "none"))
    folder.chmod(0o711)
    assert not client.is_private(str(folder))
