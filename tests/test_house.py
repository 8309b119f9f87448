"""The house stays as README draws it: imports go one way, each library has one home."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.search import library

PACKAGE = Path(__file__).resolve().parents[1] / "ragmacs_srv"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only from rooms to its left; rooms in one set do not know each other.
ORDER = [
    {"errors", "model", "events", "settings", "render", "roots", "meeting", "processes"},
    {"ingest", "search", "golang"},
    {"answer"},
    {"pipeline", "aside"},
    {"proposal"},
    {"registry"},
    {"tools"},
    {"composition"},
    {"holdings"},
    {"collecting", "diagnosis"},
    {"app"},
    {"serve"},
    {"cli"},
    {"start"},
    {"client"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

HOMES = {
    "httpx": {"ingest/fetch.py", "ingest/wire.py", "ingest/reply.py", "answer/llm.py", "search/remote.py"},
    "httpx_sse": {"answer/llm.py"},
    "httpcore": set(),
    "protego": {"ingest/robots.py"},
    "trafilatura": {"ingest/extract.py"},
    "lxml": {"ingest/extract.py", "ingest/dom.py", "ingest/clean.py"},
    "markdown_it": {"ingest/extract.py"},
    "docutils": {"ingest/rst.py"},
    "feedparser": {"ingest/bookmarks.py"},
    "pypdf": {"ingest/pdf.py"},
    "faiss": {"search/vectors.py"},
    "sentence_transformers": {"search/embed.py"},
    "transformers": {"search/embed.py"},
    "torch": {"search/embed.py", "search/export.py"},
    "tokenizers": {"search/embed.py", "search/export.py"},
    "onnxruntime": {"search/embed.py"},
    "openvino": {"search/embed.py"},
    "onnx": {"search/export.py"},
    "sqlite3": {"search/database.py", "search/store.py", "search/generation.py", "answer/journal.py"},
    "mcp": {"serve/mcp.py"},
    "mcp_types": {"serve/mcp.py"},
    "anyio": {"serve/mcp.py"},
    "starlette": {"serve/openai.py"},
    "uvicorn": {"serve/loopback.py"},
    "h11": {"serve/loopback.py"},
    "typer": {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("cli/*.py")},
    "rich": {"cli/terminal.py"},
}


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> frozenset[tuple[str, bool]]:
    """(room or library, whether it is ours) of every import in PATH, those inside functions too."""
    return frozenset(imported(path))


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], False
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from ((each, True) for each in names if not each.startswith("__"))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_one_way(path: Path) -> None:
    ours = {target for target, own in imports(path) if own}
    wrong = {target for target in ours if room(path) in RANK and RANK[target] >= RANK[room(path)] > 0}
    if room(path) in ORDER[0]:
        wrong = ours - ORDER[0]
    assert not wrong, f"{name(path)} imports {wrong}"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    users = {name(path) for path in MODULES for target, own in imports(path) if not own and target == library}
    assert users <= HOMES[library]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_turns_into_what(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring and docstring.splitlines()[0].endswith((".", ":"))


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    from ragmacs_srv import errors

    drawn = re.findall(r"^( *)(\w+)\s+(-\d+)?\s*(\d+)?", (errors.__doc__ or "").partition("\n\n")[2], re.MULTILINE)
    classes = {
        cls.__name__: cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.RagmacsError)
    }
    rows = {word: (len(indent) // 2, code, exit_code) for indent, word, code, exit_code in drawn if word in classes}
    assert rows.keys() == classes.keys()
    for word, (depth, code, exit_code) in rows.items():
        assert len(classes[word].__mro__) - len(errors.RagmacsError.__mro__) == depth
        assert not code or classes[word].code == int(code)
        assert not exit_code or classes[word].exit_code == int(exit_code)


# What searching, and starting up, must not wait for


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What a process has loaded that searched a store which has something: it reads no page and draws no bar."""
    home = tmp_path_factory.mktemp("home")
    library.build(home / "store")
    done = loaded(
        "from ragmacs_srv import cli; sys.argv = ['ragmacs', 'search', 'heap', '--mode', 'lexical']\n"
        "try: cli.main()\nexcept SystemExit as exc: assert not exc.code",
        {**os.environ, "RAGMACS_HOME": str(home)},
    )
    assert any("heap" in line for line in done)
    return done


@pytest.fixture(scope="module")
def started() -> set[str]:
    """What a process has loaded that knows the command line."""
    return loaded("import ragmacs_srv.cli", dict(os.environ))


def loaded(code: str, environ: dict[str, str]) -> set[str]:
    """The lines that CODE prints, and the modules that are loaded behind it."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    "module", ["httpx", "httpx_sse", "protego", "markdown_it", "feedparser", "docutils", "rich", "trafilatura", "lxml"]
)
def test_a_search_does_not_load(module: str, searched: set[str]) -> None:
    assert module not in searched


@pytest.mark.parametrize(
    "module",
    ["torch", "sentence_transformers", "onnxruntime", "openvino", "trafilatura", "lxml", "mcp", "starlette", "uvicorn"],
)
def test_starting_up_does_not_load(module: str, started: set[str]) -> None:
    assert "ragmacs_srv.cli" in started
    assert module not in started


@pytest.mark.slow
def test_numpy_multiplies_in_the_thread_that_asks() -> None:
    """Which holds only if nothing loads it before `search` has said so."""
    code = (
        "import ragmacs_srv.cli; from threadpoolctl import threadpool_info as all\n"
        "print([each['num_threads'] for each in all() if 'numpy' in each['filepath'] and each['user_api'] == 'blas'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.stdout.strip() in {"[1]", "[]"}, done.stderr  # none on macOS, where numpy has another library
