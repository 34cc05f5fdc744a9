"""The relay inside another FastAPI application.

from runrelay.fastapi import Settings, router
app.include_router(router(Settings(redis_url="redis://…")))
"""

from .errors import without_extra

try:
    from .api import relay_router as router
    from .relay import Settings
except ModuleNotFoundError as error:
    raise without_extra("runrelay.fastapi", "server", error) from None

__all__ = ["Settings", "router"]
