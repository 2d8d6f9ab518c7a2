"""The Flask application: post a number, poll for its factors."""

from typing import Any

from celery.result import AsyncResult
from flask import Flask, request

from benchmarks.peers.celery_flask_app.tasks import app as celery
from benchmarks.peers.celery_flask_app.tasks import factor

app = Flask(__name__)


@app.post("/factor")
def submit() -> tuple[dict[str, Any], int]:
    """Queue a number."""
    return {"task_id": factor.delay(str(int(request.get_json()["number"]))).id}, 202


@app.get("/get/<task_id>")
def result(task_id: str) -> dict[str, Any]:
    """Return the factors, or that they are being calculated."""
    found = AsyncResult(task_id, app=celery)
    return {"result": found.result if found.ready() else "Calculating..."}
