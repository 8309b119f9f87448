"""An MCP client of either era lists and calls every tool of ours, by the command and over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from ragmacs_srv import registry
from tests.serve.test_mcp import ERAS, Wire, served, talked, text

pytestmark = pytest.mark.slow

# With what each is called, and a member of what it says; those that are not here are called without what they need.
CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "search_docs": ({"query": "sync.Pool"}, "results"),
    "ask_docs": ({"question": "When should I use sync.Pool?"}, "citations"),
    "read_page": ({"url": "handbook:sync-pool"}, "sections"),
    "summarize_url": ({"url": "handbook:sync-pool"}, "points"),
    "list_collections": ({}, "collections"),
    "add_source": ({"address": "https://go.dev/doc/gc-guide"}, "plan"),
    "summarize_list": ({"text": "https://elsewhere.example.org/"}, "items"),
}


def test_the_command_serves_every_tool_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_SEARCH_MODE", "lexical")
    with Wire(sys.executable, "-m", "ragmacs_srv", "mcp") as wire:
        assert wire.greet()["serverInfo"]["name"] == "ragmacs"
        names = [each["name"] for each in wire.ask(1, "tools/list")["tools"]]
        assert set(names) == {each.name for each in registry.tools()}
        for name in names:
            arguments, member = CALLS.get(name, ({}, ""))
            done = wire.ask(name, "tools/call", name=name, arguments=arguments)
            assert done["isError"] == (name not in CALLS), done
            assert done["content"][0]["text"].startswith("Error: ") == (name not in CALLS), done
            assert not member or member in done["structuredContent"], done
        assert wire.ask(2, "resources/list")["resources"][0]["uri"] == "ragmacs://collection/handbook"


@pytest.mark.parametrize("mode", ERAS.values(), ids=ERAS)
def test_every_tool_of_ours_is_called_over_http(home: Path, mode: str) -> None:
    async def script(client: Client) -> None:
        names = [each.name for each in (await client.list_tools()).tools]
        assert set(names) == {each.name for each in registry.tools()}
        for name in names:
            arguments, member = CALLS.get(name, ({}, ""))
            done = await client.call_tool(name, arguments)
            assert done.is_error == (name not in CALLS), done
            assert text(done).startswith("Error: ") == (name not in CALLS), done
            assert not member or member in done.structured_content, done

    with served({"RAGMACS_HOME": str(home)}) as made:
        talked(made.transport(), mode, script)
