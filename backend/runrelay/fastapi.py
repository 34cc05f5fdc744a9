"""The relay inside someone else's FastAPI application.

from runrelay.fastapi import Settings, router
app.include_router(router(Settings(redis_url="redis://…")))
"""

from .api import Settings
from .api import relay_router as router

__all__ = ["Settings", "router"]
