"""Alerts and the dashboard speak of metrics that there are, and every alert says what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.programs import ROOT
from infra.tools.reference import FOLDER

PROMETHEUS = ROOT / "infra" / "prometheus"
DASHBOARD = ROOT / "infra" / "grafana" / "dashboards" / "factorline.json"
OTHERS = {
    "up",
    "rabbitmq_detailed_queue_consumers",
    "rabbitmq_detailed_queue_messages_ready",
    "haproxy_backend_active_servers",
    "haproxy_frontend_http_responses_total",
}
"""What Prometheus, RabbitMQ and HAProxy tell of themselves."""


def alerts() -> list[dict[str, Any]]:
    """Return the rules."""
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions() -> Iterator[str]:
    """Yield every query of the alerts and the dashboard."""
    for rule in alerts():
        yield rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_every_query_is_of_a_metric_that_there_is() -> None:
    """By docs/reference/metrics.md, which is made from the code."""
    known = set(re.findall(r"`(factorline_\w+)`", (FOLDER / "metrics.md").read_text()))
    asked = {
        name.removesuffix("_bucket")
        for expression in expressions()
        for name in re.findall(r"\b(?:(?:factorline|rabbitmq|haproxy)_\w+|up)\b", expression)
    }

    assert asked
    assert set() == asked - known - OTHERS


def test_the_dashboard_leaves_nothing_out() -> None:
    """Each metric of ours is looked at by an alert or a panel, times of waiting in a queue excepted."""
    known = set(re.findall(r"`(factorline_\w+)`", (FOLDER / "metrics.md").read_text()))
    queries = "\n".join(expressions())

    assert {"factorline_queue_seconds"} == {name for name in known if name not in queries}


def test_every_alert_says_what_to_do() -> None:
    """In a sentence, and in a section of its own that its annotation leads to."""
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text()
    for rule in alerts():
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/how-to/operate.md#{name.lower()}"
        assert f"\n### {name}\n" in page
        assert rule["annotations"]["description"].endswith(".")
        assert rule["labels"]["severity"] in {"page", "look"}


def test_promtool_accepts_configuration_and_alerts(tmp_path: Path) -> None:
    """And the alerts fire when they should, by its own test of rules."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool: it comes with Prometheus, which is not installed here")
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    for arguments in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ):
        ran = subprocess.run(  # noqa: S603 our own files
            [promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert 0 == ran.returncode, ran.stdout + ran.stderr
