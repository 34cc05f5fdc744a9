"""Routes as they are declared, once; each router gets its own copy, which knows that router's relay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter

from .problems import ProblemRoute
from .router_relay import RouterRelay

__all__ = ["RouteTable"]

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class _Declared(NamedTuple):
    method: str
    path: str
    handler: Callable[..., Any]
    options: dict[str, Any]


class RouteTable:
    """Declares routes with the decorators of an APIRouter: `@routes.get(path, …)`.

    Args:
        route_class: of all its routes.
        tags: for the OpenAPI description.
    """

    def __init__(self, route_class: type[ProblemRoute], *, tags: Sequence[str | Enum]) -> None:
        self._route_class = route_class
        self._tags = [*tags]
        self._declared: list[_Declared] = []

    def get(self, path: str, **options: Any) -> Callable[[_Handler], _Handler]:
        """Declare a route of GET (and HEAD)."""
        return self._declare("GET", path, options)

    def post(self, path: str, **options: Any) -> Callable[[_Handler], _Handler]:
        """Declare a route of POST."""
        return self._declare("POST", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[_Handler], _Handler]:
        """Declare a route of DELETE."""
        return self._declare("DELETE", path, options)

    def _declare(self, method: str, path: str, options: dict[str, Any]) -> Callable[[_Handler], _Handler]:
        def declare(handler: _Handler) -> _Handler:
            self._declared.append(_Declared(method, path, handler, options))
            return handler

        return declare

    def router(self, relay: RouterRelay) -> APIRouter:
        """A router of these routes, whose requests are answered by `relay`."""
        # A class, not an attribute of each route: FastAPI copies a route to include it, by its class.
        bound = type(self._route_class.__name__, (self._route_class,), {"router_relay": relay})
        router = APIRouter(tags=self._tags, route_class=bound)
        for method, path, handler, options in self._declared:
            router.add_api_route(path, handler, methods=[method], **options)
        return router
