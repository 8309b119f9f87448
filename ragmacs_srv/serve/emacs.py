"""Where our Lisp is becomes the lines that an Emacs needs in its init file."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from ..errors import SettingsError
from ..ingest.sources import shipped

SNIPPET = """\
(use-package ragmacs-srv
  :load-path {folder}
  :commands ({commands})
  :bind-keymap ("C-c r" . ragmacs-srv-command-map)
  :custom (ragmacs-srv-command '({command})))
(with-eval-after-load 'org (require 'ragmacs-srv-org))
(with-eval-after-load 'gptel (ragmacs-srv-gptel-setup))
"""


def snippet(environ: Mapping[str, str]) -> str:
    """The lines for the init file of an Emacs that asks the home of ENVIRON.

    Raises SettingsError when the Lisp is not installed.
    """
    folder = lisp()
    home = environ.get("RAGMACS_HOME")
    command = [*program(), "serve", "--stdio", *(["--home", str(Path(home).expanduser().absolute())] if home else [])]
    names = textwrap.fill(" ".join(commands(folder)), 78, subsequent_indent=" " * 13, break_on_hyphens=False)
    return SNIPPET.format(folder=_quoted(str(folder)), commands=names, command=" ".join(map(_quoted, command)))


def lisp() -> Path:
    """The folder `elisp/`: inside the installed package, or beside it in a checkout; raises SettingsError."""
    folder = shipped().parent / "elisp"
    if not (folder / "ragmacs-srv.el").is_file():
        raise SettingsError(f"there is no ragmacs-srv.el in {folder}", hint="install ragmacs-srv again")
    return folder


def program() -> list[str]:
    """The command of this installation: by its path, as Emacs may have another PATH than the shell."""
    script = Path(sys.executable).with_name("ragmacs")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "ragmacs_srv"]


def commands(folder: Path) -> list[str]:
    """The commands that the Lisp in FOLDER offers before it is loaded: those with an autoload cookie."""
    text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.el")))
    definitions = re.findall(r"^;;;###autoload\n(\(defun (\S+) .*\n(?:.+\n)*)", text, re.MULTILINE)
    named = re.findall(r"^;;;###autoload \(autoload '(\S+) \S+ nil t\)$", text, re.MULTILINE)
    return sorted([*named, *(name for definition, name in definitions if "(interactive" in definition)])


def _quoted(word: str) -> str:
    """WORD as Lisp reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
