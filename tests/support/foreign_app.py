"""Somebody's application with the relay in it, as the README says: `uvicorn tests.support.foreign_app:app`."""

from fastapi import FastAPI

from runrelay.fastapi import Settings, router

app = FastAPI()
app.include_router(router(Settings()))
