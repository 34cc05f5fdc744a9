"""The relay inside someone else's FastAPI application.

from runrelay.fastapi import Settings, router
app.include_router(router(Settings(redis_url="redis://…")))
"""

try:
    from .api import Settings
    from .api import relay_router as router
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("runrelay"):
        raise
    raise ModuleNotFoundError(
        f"runrelay.fastapi needs the extra 'server' ({error.name} is missing): pip install 'runrelay[server]'",
        name=error.name,
    ) from None

__all__ = ["Settings", "router"]
