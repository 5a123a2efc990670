"""What can go wrong, and the HTTP status of each.

    EndpointError
      SettingsError        the environment is wrong: one line, exit 2
      ModelError           the model cannot be loaded or served: one line, exit 2; readiness stays false
      RequestError         the caller's, 4xx
        InvalidInput       400
        Unauthorized       401
        NotFound           404
        TooLarge           413
        TooManyRequests    429, with Retry-After
      ServiceError         ours or an upstream's, 5xx
        GenerationError    500
        UpstreamError      502
        NotReady           503, with Retry-After
        RequestTimeout     504

Every one becomes `{"error": message}`; in the OpenAI protocol `{"error": {"message": ..., ...}}`.
"""


class EndpointError(Exception):
    """Base of all errors of the endpoint; the message is for the person who asked."""

    status = 500
    retry_after: int | None = None
    """Seconds for the Retry-After header."""


class SettingsError(EndpointError):
    """The environment holds an impossible value."""


class ModelError(EndpointError):
    """The model cannot be loaded; the message names the remedy."""

    status = 503


class RequestError(EndpointError):
    """The request cannot be answered as it is."""

    status = 400


class InvalidInput(RequestError):
    """Something in the request is missing or wrong."""


class Unauthorized(RequestError):
    """No valid API key."""

    status = 401


class NotFound(RequestError):
    """What the request names does not exist."""

    status = 404


class TooLarge(RequestError):
    """The body is over the limit."""

    status = 413


class TooManyRequests(RequestError):
    """The queue is full."""

    status = 429
    retry_after = 1


class ServiceError(EndpointError):
    """The request was right; the service could not answer it."""


class GenerationError(ServiceError):
    """The engine failed."""


class UpstreamError(ServiceError):
    """The model server behind this endpoint failed or refused."""

    status = 502


class NotReady(ServiceError):
    """The model is still warming up, or the server is shutting down."""

    status = 503
    retry_after = 5


class RequestTimeout(ServiceError):
    """The answer took longer than the limit."""

    status = 504
