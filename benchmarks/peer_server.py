"""What every peer that is a server has: a sign that it is ready, and uvicorn around it."""

from fastapi import FastAPI


def peer_app() -> FastAPI:
    """An app that says at /readyz that it is there."""
    app = FastAPI()

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


def serve(app: FastAPI, port: int) -> None:
    """Serve on this machine until the process is ended."""
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
