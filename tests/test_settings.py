from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ragmacs_srv import settings
from ragmacs_srv.errors import SettingsError
from ragmacs_srv.settings import LLMSettings, api_key, llm_key


def environ(home: Path, **variables: str) -> dict[str, str]:
    return {"RAGMACS_HOME": str(home), **variables}


def write(home: Path, text: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(text)


def test_later_places_win_and_each_value_knows_its_origin(home: Path) -> None:
    write(home, '[llm]\nmodel = "file"\nbase_url = "http://127.0.0.1:1/v1"\nmax_tokens = 5\n')
    loaded = settings.load(environ(home, RAGMACS_LLM_MODEL="variable"), {"llm.max_tokens": 7, "search.mode": None})
    origins = {key: (value, origin) for key, value, origin in loaded.rows()}
    assert origins["llm.base_url"] == ("http://127.0.0.1:1/v1", str(home / "config.toml"))
    assert origins["llm.model"] == ("variable", "$RAGMACS_LLM_MODEL")
    assert origins["llm.max_tokens"] == (7, "flag")
    assert origins["search.mode"] == ("hybrid", "default")


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("[llm]\nmodle = 'x'\n", "llm.modle", "llm.model"),
        ("[lmm]\nmodel = 'x'\n", "[lmm]", "llm"),
        ("model = 'x'\n", "[model]", ""),
        ("[llm]\nmax_tokens = 'many'\n", "a whole number", ""),
        ("[llm]\nmax_tokens = true\n", "a whole number", ""),
        ("[llm]\ntimeout = -1\n", "zero or more", ""),
        ("[search]\nmode = 'magic'\n", "one of hybrid, lexical", ""),
        ("[search]\nrerank = 1\n", "true or false", ""),
        ("[network]\nallow = 'http://127.0.0.1'\n[network]\n", "line", ""),
        ("[network]\nallow = [1]\n", "a list of strings", ""),
        ("[llm]\napi_key = 'sk-1'\n", "secret", "RAGMACS_LLM_KEY"),
        ("[embed]\napi_key = 'sk-1'\n", "secret", "RAGMACS_EMBED_KEY"),
        ("[stackexchange]\nkey = 'sk-1'\n", "secret", "RAGMACS_STACKEXCHANGE_KEY"),
        ("[embed]\nengine = 'magic'\n", "one of onnx, torch, openvino-bf16, endpoint", ""),
        ("not toml", "config.toml", ""),
    ],
    ids=lambda value: value.strip().replace("\n", " ")[:30] if isinstance(value, str) else None,
)
def test_a_wrong_file_is_one_clear_error(home: Path, text: str, says: str, hints: str) -> None:
    write(home, text)
    with pytest.raises(SettingsError) as caught:
        settings.load(environ(home))
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert "sk-1" not in caught.value.message + caught.value.hint


def test_an_unknown_variable_offers_the_nearest(home: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(environ(home, RAGMACS_LLM_MODLE="x"))
    assert "RAGMACS_LLM_MODEL" in caught.value.hint


def test_text_from_the_environment_is_read_as_the_type_of_the_setting(home: Path) -> None:
    variables = {"RAGMACS_NETWORK_ALLOW": "http://a.test,http://b.test", "RAGMACS_NETWORK_DELAY": "0.5"}
    loaded = settings.load(environ(home, **variables, RAGMACS_SEARCH_RERANK="false"))
    network = loaded.network
    assert loaded.search.rerank is False
    assert network.allow == ("http://a.test", "http://b.test")
    assert network.delay == 0.5


def test_without_ragmacs_home_state_lives_in_the_xdg_folders(tmp_path: Path) -> None:
    folders = settings.folders({"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")})
    assert folders.config_file == tmp_path / ".config/ragmacs/config.toml"
    assert folders.store == tmp_path / "data/ragmacs/store"


def test_the_key_comes_from_the_environment_or_a_command_never_the_file() -> None:
    llm = LLMSettings(key_command=f"{sys.executable} -c 'print(42)'")
    assert llm_key(llm, {"RAGMACS_LLM_KEY": "k"}) == "k"
    assert llm_key(llm, {}) == "42"
    assert llm_key(LLMSettings(), {}) == ""
    with pytest.raises(SettingsError, match="key_command"):
        llm_key(LLMSettings(key_command="/no/such/command"), {})


def test_the_key_of_the_server_that_embeds_is_its_own() -> None:
    command = f"{sys.executable} -c 'print(42)'"
    assert api_key("embed", command, {"RAGMACS_LLM_KEY": "k"}) == "42"
    assert api_key("embed", command, {"RAGMACS_EMBED_KEY": "k"}) == "k"
    with pytest.raises(SettingsError, match=r"\[embed\] key_command"):
        api_key("embed", "/no/such/command", {})
