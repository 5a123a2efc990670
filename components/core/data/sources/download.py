"""A dataset file behind an http(s) address, downloaded with a size cap."""

import logging
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from components.core.data.formats import format_of
from components.core.errors import DataError, StorageError

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60.0
_PROGRESS_SECONDS = 5.0
_CHUNK_BYTES = 2**18
_SUFFIX_OF_TYPE = {
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/ndjson": ".jsonl",
    "application/jsonlines": ".jsonl",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/vnd.apache.parquet": ".parquet",
}


def is_url(dataset_id: str) -> bool:
    """True for an http(s) address."""
    return dataset_id.lower().startswith(("http://", "https://"))


def without_secrets(url: str) -> str:
    """The address without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def download(url: str, folder: Path, max_bytes: int, transport: httpx.BaseTransport | None = None) -> Path:
    """Download one file into a folder.

    Args:
        url: Address; redirects are followed.
        folder: Where the file goes, under the name in the address.
        max_bytes: Longest body.
        transport: Stands in for the network in tests.

    Raises:
        StorageError: If the server refuses, fails, sends too much, or the connection breaks.
        DataError: If neither the address nor the server says a format.
    """
    shown = without_secrets(url)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "download.part"
    try:
        # identity: a .gz file that a server also labels as encoded would otherwise arrive unpacked
        headers = {"accept-encoding": "identity"}
        with (
            httpx.Client(
                transport=transport, timeout=TIMEOUT_SECONDS, follow_redirects=True, headers=headers
            ) as client,
            client.stream("GET", url) as response,
        ):
            _check(response, shown)
            name = _file_name(response, url)
            _write(response, partial, shown, max_bytes)
    except httpx.TimeoutException as error:
        raise StorageError(
            f"cannot download {shown}: no answer for {TIMEOUT_SECONDS:.0f} s. Try again later."
        ) from error
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.DecodingError) as error:
        raise StorageError(f"cannot download {shown}: the connection was cut ({error}). Run it again.") from error
    except httpx.ConnectError as error:
        raise StorageError(f"cannot reach {shown}: {error}. Check the address and the network.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(f"cannot download {shown}: {error}. Check the address.") from error
    return partial.rename(folder / name)


def probe(url: str, transport: httpx.BaseTransport | None = None) -> str:
    """ETag, or date and length, of what is behind an address; "" when the server does not say or cannot be reached."""
    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS / 4, follow_redirects=True) as client:
            response = client.head(url, headers={"accept-encoding": "identity"})
    except (httpx.HTTPError, httpx.InvalidURL):
        return ""
    if response.is_error:
        return ""
    headers = response.headers
    date = headers.get("last-modified", "")
    return headers.get("etag") or (f"{date} {headers.get('content-length', '')}".strip() if date else "")


def _check(response: httpx.Response, shown: str) -> None:
    status = response.status_code
    if status in (401, 403):
        raise StorageError(f"cannot download {shown}: access denied ({status}). Use an address that needs no login.")
    if status in (404, 410):
        raise StorageError(f"cannot download {shown}: not found ({status}). Check the address.")
    if status >= 500:
        raise StorageError(f"cannot download {shown}: the server failed ({status}). Try again later.")
    if status != 200:
        raise StorageError(f"cannot download {shown}: the server answered {status}. Check the address.")


def _file_name(response: httpx.Response, url: str) -> str:
    for address in (url, str(response.url)):
        name = unquote(urlsplit(address).path).rpartition("/")[2]
        if format_of(name):
            return re.sub(r"[^\w.\-]", "_", name)[-100:]
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "text/html":
        raise DataError(f"{without_secrets(url)} is a web page, not a data file. Use the address of the file itself.")
    if media_type not in _SUFFIX_OF_TYPE:
        raise DataError(
            f"{without_secrets(url)}: the address names no format and the server says {media_type or 'nothing'}; "
            "use an address that ends in .jsonl, .json, .csv, .tsv or .parquet."
        )
    return f"data{_SUFFIX_OF_TYPE[media_type]}"


def _write(response: httpx.Response, partial: Path, shown: str, max_bytes: int) -> None:
    total = int(response.headers.get("content-length") or 0)
    too_large = f"cannot download {shown}: longer than {max_bytes:,} bytes. Raise data.max_file_bytes."
    if total > max_bytes:
        raise StorageError(too_large)
    seen, reported = 0, time.monotonic()
    with partial.open("wb") as file:
        for chunk in response.iter_raw(_CHUNK_BYTES):
            seen += len(chunk)
            if seen > max_bytes:
                raise StorageError(too_large)
            file.write(chunk)
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                logger.info("Downloaded %d of %s MB", seen >> 20, total >> 20 if total else "?")
    logger.info("Downloaded %d bytes from %s", seen, shown)
