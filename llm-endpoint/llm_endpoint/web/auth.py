"""API keys: a primary and a secondary one, compared in constant time, rotated without a restart."""

import hmac
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from llm_endpoint.errors import SettingsError, Unauthorized
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)

_NAMES = ("primary", "secondary")
_READ_EVERY_SECONDS = 1.0
"""A mounted secret is swapped at any time; looking once a second keeps a request cheap."""


class ApiKeys:
    """The keys that callers may use; none configured lets everybody in.

    Raises:
        SettingsError: If a folder is named that holds no key: an endpoint that should be closed must not start open.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder: Path | None = settings.api_keys_dir
        given = (settings.api_key_primary, settings.api_key_secondary)
        self._keys = [key.get_secret_value().encode() for key in given if key is not None]
        self._read_at = 0.0
        if self._folder is not None:
            self._keys = self._read()
            if not self._keys:
                raise SettingsError(f"API_KEYS_DIR is {self._folder}, which holds neither `primary` nor `secondary`.")

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._folder is not None or bool(self._keys)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request in.

        Args:
            headers: Lower-case names.

        Raises:
            Unauthorized: If it has no valid key.
        """
        if not self.required:
            return
        self._refresh()
        given = _given_key(headers)
        if given is None:
            raise Unauthorized("an API key is needed: send it as `Authorization: Bearer <key>` or `X-API-Key`.")
        # every key is compared in full, so that the time tells nothing about which one was near
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise Unauthorized("the API key is not valid. Ask the operator of this endpoint for a current one.")

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._folder is None or now - self._read_at < _READ_EVERY_SECONDS:
            return
        keys = self._read()
        if keys != self._keys:
            logger.info("API keys were changed: %d valid", len(keys))
        # an empty folder lets nobody in, it does not open the endpoint
        self._keys = keys

    def _read(self) -> list[bytes]:
        self._read_at = time.monotonic()
        assert self._folder is not None
        found = []
        for name in _NAMES:
            try:
                key = (self._folder / name).read_bytes().strip()
            except OSError:
                continue
            if key:
                found.append(key)
        return found


def _given_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    return headers.get(b"x-api-key")
