"""API keys: who comes in, and rotation without a restart."""

import pytest
from llm_endpoint.errors import SettingsError, Unauthorized
from llm_endpoint.settings import Settings
from llm_endpoint.web.auth import ApiKeys
from pydantic import SecretStr


def headers(**given):
    return {name.replace("_", "-").encode(): value.encode() for name, value in given.items()}


def test_without_keys_everybody_comes_in():
    keys = ApiKeys(Settings())
    keys.check({})
    assert not keys.required


@pytest.mark.parametrize(
    "given", [{"authorization": "Bearer first"}, {"authorization": "bearer second"}, {"x_api_key": "first"}]
)
def test_both_keys_open_by_either_header(given):
    keys = ApiKeys(Settings(api_key_primary=SecretStr("first"), api_key_secondary=SecretStr("second")))
    keys.check(headers(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "an API key is needed"),
        ({"authorization": "Basic Zmlyc3Q6"}, "an API key is needed"),
        ({"authorization": "Bearer firs"}, "not valid"),
        ({"authorization": "Bearer "}, "not valid"),
        ({"x_api_key": "third"}, "not valid"),
    ],
)
def test_anything_else_is_refused_without_saying_the_key(given, message):
    keys = ApiKeys(Settings(api_key_primary=SecretStr("first")))
    with pytest.raises(Unauthorized, match=message) as caught:
        keys.check(headers(**given))
    assert "first" not in str(caught.value)


def test_a_mounted_secret_is_rotated_without_a_restart(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("llm_endpoint.web.auth.time.monotonic", lambda: now[0])
    (tmp_path / "primary").write_text("old\n")
    keys = ApiKeys(Settings(api_keys_dir=tmp_path))
    keys.check(headers(x_api_key="old"))
    (tmp_path / "primary").write_text("new\n")
    (tmp_path / "secondary").write_text("old\n")
    now[0] += 2
    keys.check(headers(x_api_key="new"))
    keys.check(headers(x_api_key="old"))
    (tmp_path / "secondary").unlink()
    now[0] += 2
    with pytest.raises(Unauthorized):
        keys.check(headers(x_api_key="old"))


def test_a_folder_that_loses_its_keys_lets_nobody_in(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("llm_endpoint.web.auth.time.monotonic", lambda: now[0])
    (tmp_path / "primary").write_text("key")
    keys = ApiKeys(Settings(api_keys_dir=tmp_path))
    (tmp_path / "primary").unlink()
    now[0] += 2
    for given in ({}, headers(x_api_key=""), headers(x_api_key="key")):
        with pytest.raises(Unauthorized):
            keys.check(given)


def test_an_empty_folder_is_an_error_at_start_not_an_open_endpoint(tmp_path):
    with pytest.raises(SettingsError, match="holds neither `primary` nor `secondary`"):
        ApiKeys(Settings(api_keys_dir=tmp_path))
