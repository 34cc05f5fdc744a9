"""The relay server: FastAPI routes over the fan-out."""

from ..relay.relay import Relay
from ..relay.settings import Settings
from .app import create_app, relay_router

__all__ = ["Relay", "Settings", "create_app", "relay_router"]
