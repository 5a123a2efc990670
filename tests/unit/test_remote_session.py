"""Who we are to Kubeflow Pipelines, where it is, and what its refusals mean; with the real client over HTTP."""

import importlib
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from support.kfp_server import KfpServer

from components.core.errors import ConfigError, PlatformError
from components.core.settings import Settings

access = importlib.import_module("llm-pipelines.remote.access")
session_module = importlib.import_module("llm-pipelines.remote.session")
run_module = importlib.import_module("llm-pipelines.remote.run")

TOKEN = "eyJhbGciOi.CanaryTokenThatMustNeverBePrinted.x"
COOKIES = "oauth2_proxy_kubeflow=CanarySessionThatMustNeverBePrinted"
NAMESPACE = "team-a"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("KFP_TOKEN", "KFP_TOKEN_FILE", "KFP_COOKIES", "KFP_COOKIES_FILE", "KFP_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def server():
    server = KfpServer().start()
    yield server
    server.stop()


def connect(server, **settings):
    return session_module.connect(server.host, NAMESPACE, Settings(**settings))


def sent(server, header):
    return [headers.get(header) for _, _, headers, _ in server.requests]


def test_a_token_is_sent_as_a_bearer_and_nothing_else_says_who_we_are(server):
    server.tokens = {TOKEN}
    session = connect(server, kfp_token=TOKEN)
    run_module.list_runs(session, 5)
    assert set(sent(server, "authorization")) == {f"Bearer {TOKEN}"}
    assert set(sent(server, "cookie")) == set(sent(server, "kubeflow-userid")) == {None}


def test_the_cookies_of_a_session_are_sent_without_an_authorization_header(server):
    server.cookies = {COOKIES}
    session = connect(server, kfp_cookies=COOKIES)
    run_module.list_runs(session, 5)
    assert set(sent(server, "cookie")) == {COOKIES}
    assert set(sent(server, "authorization")) == {None}


def test_cookies_may_stand_in_a_file(server, tmp_path):
    server.cookies = {COOKIES}
    (tmp_path / "cookies").write_text(COOKIES + "\n")
    connect(server, kfp_cookies_file=tmp_path / "cookies")
    assert set(sent(server, "cookie")) == {COOKIES}


def test_inside_a_pod_the_projected_token_is_found_and_read_again_when_the_cluster_renews_it(server, tmp_path):
    server.tokens = {"first"}
    (tmp_path / "token").write_text("first\n")
    session = connect(server, kf_pipelines_sa_token_path=tmp_path / "token")
    server.tokens = {"second"}
    (tmp_path / "token").write_text("second\n")
    assert run_module.list_runs(session, 5) == []
    assert sent(server, "authorization")[-1] == "Bearer second"


def test_two_ways_to_say_who_we_are_are_refused(server, tmp_path):
    with pytest.raises(ConfigError, match="KFP_TOKEN and KFP_COOKIES are set. Keep one"):
        connect(server, kfp_token=TOKEN, kfp_cookies=COOKIES)


@pytest.mark.parametrize("value", ["two\nlines", "tökén", " "])
def test_a_token_that_cannot_be_a_header_is_refused_without_showing_it(server, value):
    with pytest.raises(ConfigError, match="KFP_TOKEN is empty or more than one line of plain text") as caught:
        connect(server, kfp_token=value)
    assert value.strip() == "" or value not in str(caught.value)


def test_a_token_file_that_is_not_there_is_named(server, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*gone, which should hold a token"):
        connect(server, kfp_token_file=tmp_path / "gone")


@pytest.mark.parametrize("login", ["redirect", "page", "forbidding page"])
@pytest.mark.parametrize("gateway", [True, False])
def test_a_login_page_is_recognised_and_the_way_in_is_told(server, login, gateway):
    server.tokens, server.login, server.gateway = {TOKEN}, login, gateway
    with pytest.raises(PlatformError, match="answered with a login page. Set KFP_TOKEN") as caught:
        connect(server)
    command = "kubectl create token default-editor -n team-a --audience pipelines.kubeflow.org"
    assert command in str(caught.value)


def test_an_ended_browser_session_is_explained(server):
    server.cookies = {COOKIES}
    with pytest.raises(PlatformError, match="login page. Sign in with the browser and copy the cookies into KFP_COOK"):
        connect(server, kfp_cookies="oauth2_proxy_kubeflow=old")


def test_a_wrong_token_is_explained_and_never_shown_even_if_the_server_repeats_it(server):
    server.tokens = {"another"}
    with pytest.raises(PlatformError, match="answered 401 .* make a new one: export KFP_TOKEN=") as caught:
        connect(server, kfp_token=TOKEN)
    assert TOKEN not in str(caught.value)


def test_a_namespace_without_rights_is_named(server):
    server.forbidden = {NAMESPACE}
    session = connect(server)
    with pytest.raises(PlatformError, match="answered 403 .* for namespace team-a: User .* Set KFP_NAMESPACE to yours"):
        run_module.list_runs(session, 5)


def test_the_api_is_found_below_the_address_of_kubeflow(server):
    server.gateway = True
    session = connect(server)
    assert session.address == f"{server.host}/pipeline"
    assert session.page("r1") == f"{server.host}/pipeline/#/runs/details/r1"
    assert session_module.connect(f"{server.host}/pipeline/", NAMESPACE, Settings()).address == session.address


def test_a_run_inside_the_cluster_is_shown_in_the_dashboard():
    api = access.Api("http://ml-pipeline-ui.kubeflow", access.Credentials(), None)
    session = session_module.Session("http://ml-pipeline-ui.kubeflow", "http://ml-pipeline-ui.kubeflow", api, "team-a")
    assert session.page("r1") == "/_/pipeline/?ns=team-a#/runs/details/r1 of the Kubeflow dashboard"


def test_a_server_without_users_is_asked_without_a_namespace(server):
    server.multi_user = False
    assert run_module.list_runs(connect(server), 5) == []


def test_a_server_that_is_not_there_is_reported():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(PlatformError, match=f"cannot reach Kubeflow Pipelines at http://127.0.0.1:{port}. Check"):
        session_module.connect(f"http://127.0.0.1:{port}", NAMESPACE, Settings())


@pytest.mark.parametrize("host", ["kubeflow.example", "ftp://kubeflow.example", "https://"])
def test_an_address_that_is_none_is_refused(host):
    with pytest.raises(ConfigError, match="is not an address. Write it as https://kubeflow.example"):
        session_module.connect(host, NAMESPACE, Settings())


def test_a_server_that_moved_to_https_is_told():
    api = access.Api("http://kubeflow.example", access.Credentials(), None)
    session = session_module.Session("http://kubeflow.example", "http://kubeflow.example", api, NAMESPACE)

    def moved():
        raise access.LoginPage("https://kubeflow.example/pipeline/apis/v2beta1/healthz")

    with pytest.raises(ConfigError, match="answers by https only. Set KFP_HOST to https://kubeflow.example"):
        session.call(moved)


@pytest.fixture
def https_server(tmp_path):
    server = KfpServer(certificate=str(self_signed(tmp_path))).start()
    yield server
    server.stop()


def test_a_private_certificate_is_not_trusted_unless_its_authority_is_named(https_server):
    with pytest.raises(PlatformError, match="certificate of https://127.0.0.1:.* is not trusted .*Set KFP_CA_FILE"):
        connect(https_server)
    assert connect(https_server, kfp_ca_file=https_server.certificate).namespace == NAMESPACE


def test_a_certificate_file_without_certificates_and_a_server_without_https_are_told(https_server, server, tmp_path):
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(PlatformError, match="no secure connection with .* Check KFP_HOST and KFP_CA_FILE"):
        connect(https_server, kfp_ca_file=tmp_path / "empty.pem")
    with pytest.raises(PlatformError, match="no secure connection with https://127.0.0.1"):
        session_module.connect(server.host.replace("http:", "https:"), NAMESPACE, Settings())


def test_a_certificate_file_that_is_none_is_named(server, tmp_path):
    with pytest.raises(ConfigError, match="Set KFP_CA_FILE to a file of certificates"):
        connect(server, kfp_ca_file=tmp_path / "gone.pem")


def self_signed(folder):
    """A certificate for 127.0.0.1 and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubeflow")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
