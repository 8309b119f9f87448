import json
import ssl
import subprocess

import pytest

from ragmacs_srv.errors import Cancelled, EmbedderMissing, FetchError, InvalidParams, SettingsError, StorageError
from ragmacs_srv.events import Cancel
from ragmacs_srv.search import remote
from ragmacs_srv.search.embed import DEFAULT_MODEL, PINNED, find_model
from ragmacs_srv.settings import EmbedSettings
from tests.llm_server import json_reply, scripted
from tests.search import library
from tests.servers import Answer, Visit, serve

SHA = "0123abcd"
MODEL = {
    "modules.json": b"[]",
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "model.safetensors": b"weights" * 100_000,
}
OTHER_FORMATS = {
    "pytorch_model.bin": b"the same weights",
    "onnx/model.onnx": b"and again",
    "onnx/config.json": b"{}",
    "openvino/openvino_model.bin": b"and again",
    "README.md": b"# A model",
    "data_config.json": b"[]",
}


def hub(files=MODEL, repo="acme/small", **routes):
    """The routes of a hub that has one model."""
    listing = {"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
    answers = {f"/{repo}/resolve/{SHA}/{name}": Answer(body, type="") for name, body in files.items()}
    return {f"/api/models/{repo}": Answer(json.dumps(listing).encode(), type="application/json"), **answers, **routes}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The hub's short answers are not held back for 40 ms by Nagle's algorithm."""
    monkeypatch.setattr(Visit, "disable_nagle_algorithm", True)


@pytest.fixture
def old(tmp_path):
    """A model that was pulled before."""
    folder = tmp_path / "acme" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"old")
    return folder


def test_a_model_is_pulled_and_then_found(tmp_path):
    with serve(hub({**MODEL, **OTHER_FORMATS})) as site:
        folder = remote.pull("acme/small", tmp_path, endpoint=site.origin + "/")
    assert folder == tmp_path / "acme" / "small"
    assert contents(folder) == MODEL
    found = find_model(EmbedSettings(model="acme/small"), tmp_path, {"HOME": str(tmp_path)})
    assert (found.path, found.origin) == (folder, "pulled")


def test_only_what_is_needed_is_asked_for(tmp_path):
    with serve(hub({**MODEL, **OTHER_FORMATS})) as site:
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
        assert len(site.asked) == 1 + len(MODEL)
        assert all(request.headers["user-agent"].startswith("ragmacs/") for request in site.requests)


def test_a_name_without_an_owner_is_of_sentence_transformers(tmp_path):
    with serve(hub(repo="sentence-transformers/tiny")) as site:
        assert remote.pull("tiny", tmp_path, endpoint=site.origin) == tmp_path / "tiny"


def test_older_weights_are_taken_where_there_are_no_others(tmp_path):
    files = {name: body for name, body in MODEL.items() if name != "model.safetensors"} | {"pytorch_model.bin": b"w"}
    with serve(hub(files)) as site:
        assert contents(remote.pull("acme/small", tmp_path, endpoint=site.origin)) == files


def test_redirects_to_where_the_files_are_kept_are_followed(tmp_path):
    with serve({"/blob": MODEL["model.safetensors"]}) as store:
        moved = Answer(status=302, headers={"Location": f"{store.origin}/blob"})
        with serve(hub() | {f"/acme/small/resolve/{SHA}/model.safetensors": moved}) as site:
            folder = remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert contents(folder) == MODEL


def test_names_that_lead_out_of_the_folder_are_left_out(tmp_path):
    evil = {"../evil.json": b"{}", "/etc/evil.json": b"{}", "a/../../evil.json": b"{}", "..": b""}
    with serve(hub({**MODEL, **evil})) as site:
        folder = remote.pull("acme/small", tmp_path / "models", endpoint=site.origin)
    assert contents(tmp_path) == {f"models/acme/small/{name}": body for name, body in MODEL.items()}
    assert contents(folder) == MODEL


def test_names_that_mean_something_in_an_address_are_asked_for_as_they_are(tmp_path):
    files = {**MODEL, "what?.json": b"1", "100%#.json": b"2"}
    quoted = {f"/acme/small/resolve/{SHA}/what%3F.json": b"1", f"/acme/small/resolve/{SHA}/100%25%23.json": b"2"}
    with serve(hub(files) | quoted) as site:
        assert contents(remote.pull("acme/small", tmp_path, endpoint=site.origin)) == files


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/../b", "a/b/c", "", ".hidden", "a b", "a\n"])
def test_what_is_no_name_of_a_model_touches_nothing(tmp_path, name):
    (tmp_path / "models").mkdir()
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InvalidParams, match="not a model's name"):
        remote.pull(name, tmp_path / "models", endpoint="http://127.0.0.1:1")
    assert contents(tmp_path) == {"x": b"mine"}


def test_progress_counts_files_to_the_last(tmp_path):
    told = []
    with serve(hub()) as site:
        remote.pull("acme/small", tmp_path, endpoint=site.origin, sink=told.append)
    assert [(each.job, each.done, each.total) for each in told] == [("model", n, 5) for n in range(6)]
    assert [each.message for each in told] == [*MODEL, ""]


@pytest.mark.parametrize("at", range(6), ids=lambda at: f"after {at} files")
def test_a_pull_that_is_cancelled_leaves_what_was_there(tmp_path, old, at):
    cancel = Cancel()

    def stop(progress):
        if progress.done == at:
            cancel.cancel()

    with serve(hub()) as site:
        if at < 5:
            with pytest.raises(Cancelled):
                remote.pull("acme/small", tmp_path, endpoint=site.origin, sink=stop, cancel=cancel)
            assert contents(tmp_path) == {"acme/small/config.json": b"old"}
        else:
            assert remote.pull("acme/small", tmp_path, endpoint=site.origin, sink=stop, cancel=cancel) == old


def broken(visit):
    """Half of the body that was announced."""
    visit.send_response(200)
    visit.send_header("Content-Length", "700000")
    visit.end_headers()
    visit.wfile.write(b"weights" * 50_000)


@pytest.mark.parametrize(
    "answer",
    [broken, Answer(b"gone", 404), Answer(b"busy", 503), Answer(status=302, headers={"Location": "/loop"})],
    ids=["broken off", "404", "503", "redirect loop"],
)
def test_a_download_that_fails_leaves_what_was_there(tmp_path, old, answer):
    routes = hub() | {
        f"/acme/small/resolve/{SHA}/model.safetensors": answer,
        "/loop": Answer(status=302, headers={"Location": "/loop"}),
    }
    with serve(routes) as site, pytest.raises(FetchError, match=r"model\.safetensors") as error:
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert "\n" not in error.value.message
    assert contents(tmp_path) == {"acme/small/config.json": b"old"}


def test_a_full_disk_leaves_what_was_there(tmp_path, old):
    with serve(hub()) as site, library.disk_of(100_000), pytest.raises(StorageError, match="File too large"):
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert contents(tmp_path) == {"acme/small/config.json": b"old"}


@pytest.mark.parametrize("status", [401, 404])
def test_a_model_the_hub_does_not_have(tmp_path, status):
    none = pytest.raises(InvalidParams, match="the hub has no model acme/small")
    with serve({"/api/models/acme/small": Answer(b"{}", status)}) as site, none:
        remote.pull("acme/small", tmp_path, endpoint=site.origin)


def test_a_model_that_is_none_of_sentence_transformers(tmp_path, old):
    files = {name: body for name, body in MODEL.items() if name != "modules.json"}
    with serve(hub(files)) as site, pytest.raises(InvalidParams, match=r"no modules\.json"):
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert contents(old) == {"config.json": b"old"}


@pytest.mark.parametrize(
    "body",
    [b"<!doctype html>", b"\xff\xfe", b"[]", b"{}", b'{"sha": "1"}', b'{"sha": "1", "siblings": [{}]}', b"null"],
    ids=repr,
)
def test_what_is_no_hub_is_called_so(tmp_path, body):
    with serve({"/api/models/acme/small": body}) as site, pytest.raises(FetchError, match="like a model hub") as error:
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert "--endpoint" in error.value.hint


def test_a_hub_that_is_not_there(tmp_path):
    with serve({}) as site:
        pass
    with pytest.raises(FetchError) as error:
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert "reachable" in error.value.hint


@pytest.mark.parametrize("endpoint", ["http://[::1", "ftp://hub.example", "no address", ""])
def test_an_endpoint_that_is_no_address(tmp_path, endpoint):
    with pytest.raises((InvalidParams, FetchError)) as error:
        remote.pull("acme/small", tmp_path, endpoint=endpoint)
    assert "--endpoint" in error.value.hint


def test_the_default_model_must_be_upstreams(tmp_path):
    files = dict.fromkeys(PINNED, b"{}")
    routes = hub(files, f"sentence-transformers/{DEFAULT_MODEL}")
    with serve(routes) as site, pytest.raises(EmbedderMissing, match="is not upstream's file") as error:
        remote.pull(DEFAULT_MODEL, tmp_path, endpoint=site.origin)
    assert "--endpoint" in error.value.hint
    assert contents(tmp_path) == {}


# What the configuration says under [network]


def certificate(folder):
    """A certificate for this machine that is its own authority: (certificate file, server context)."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-days", "2", "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return str(cert), context


def test_a_model_is_pulled_by_way_of_the_configured_proxy(run, home, monkeypatch):
    routes = hub()
    with serve(lambda visit: routes[visit.path.removeprefix("http://hub.example")]) as proxy:
        monkeypatch.setenv("RAGMACS_NETWORK_PROXY", proxy.origin)
        done = run("model", "pull", "acme/small", "--endpoint", "http://hub.example")
        assert done.code == 0, done.err
        assert {request.headers["host"] for request in proxy.requests} == {"hub.example"}
    assert contents(home / "models" / "acme" / "small") == MODEL


@pytest.mark.parametrize("proxy", ["nowhere", "ftp://proxy.example:1", "http://[::1"])
def test_a_proxy_that_cannot_be_meant_is_refused(tmp_path, proxy):
    with pytest.raises(SettingsError, match="proxy") as error:
        remote.pull("acme/small", tmp_path, endpoint="http://hub.example", proxy=proxy)
    assert "[network]" in error.value.hint


def test_the_configured_authority_is_trusted_and_no_other(run, home, tmp_path, monkeypatch):
    ca_file, tls = certificate(tmp_path)
    with serve(hub(), tls=tls) as site:
        endpoint = site.origin.replace("http:", "https:")
        refused = run("model", "pull", "acme/small", "--endpoint", endpoint)
        assert refused.code == FetchError.exit_code and "certificate" in refused.err
        monkeypatch.setenv("RAGMACS_NETWORK_CA_FILE", ca_file)
        assert run("model", "pull", "acme/small", "--endpoint", endpoint).code == 0
    assert contents(home / "models" / "acme" / "small") == MODEL


def test_a_server_that_embeds_may_have_a_certificate_of_a_private_authority(tmp_path):
    ca_file, tls = certificate(tmp_path)
    rows = json_reply({"data": [{"index": 0, "embedding": [1, 0]}]})
    with scripted(rows, tls=tls) as server:
        assert remote.EndpointEmbedder(server.url, "m", ca_file=ca_file).embed(["x"]).shape == (1, 2)


@pytest.mark.parametrize("text", [None, "no certificate"], ids=["absent", "no certificate"])
def test_certificates_that_cannot_be_read_are_named(tmp_path, text):
    path = tmp_path / "ca.pem"
    if text:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        remote.pull("acme/small", tmp_path, endpoint="https://127.0.0.1:1", ca_file=str(path))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_that_would_not_be_found_is_not_pulled(tmp_path, missing):
    files = {name: body for name, body in MODEL.items() if name != missing}
    with serve(hub(files)) as site, pytest.raises(InvalidParams, match=f"has no {missing}"):
        remote.pull("acme/small", tmp_path, endpoint=site.origin)
    assert contents(tmp_path) == {}


def test_weights_in_parts_are_pulled_whole(tmp_path):
    parts = {"model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": b"1"}
    parts |= {"model-00002-of-00002.safetensors": b"2", "1_Dense/model.safetensors": b"3"}
    files = {name: body for name, body in MODEL.items() if name != "model.safetensors"} | parts
    with serve(hub({**files, "pytorch_model.bin": b"again"})) as site:
        assert contents(remote.pull("acme/small", tmp_path, endpoint=site.origin)) == files
    found = find_model(EmbedSettings(model="acme/small"), tmp_path, {"HOME": str(tmp_path)})
    assert found.origin == "pulled"


def test_the_model_of_a_server_is_shown_with_its_server(run, monkeypatch):
    monkeypatch.setenv("RAGMACS_EMBED_ENGINE", "endpoint")
    monkeypatch.setenv("RAGMACS_EMBED_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("RAGMACS_EMBED_MODEL", "small")
    assert run("model", "show").out.strip() == "small at http://127.0.0.1:1/v1"
    assert "small at http://127.0.0.1:1/v1" in run("doctor").out
