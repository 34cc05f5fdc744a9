"""The relay server: FastAPI routes over the fan-out."""

from .app import create_app, relay_router
from .relay import Relay
from .settings import Settings

__all__ = ["Relay", "Settings", "create_app", "relay_router"]
