"""Alerts and the dashboard use metrics that exist, and every alert says what to do."""

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
"""Metrics that Prometheus, RabbitMQ and HAProxy export about themselves."""


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


def test_every_query_uses_metrics_that_exist() -> None:
    """They are listed in docs/reference/metrics.md, which is made from the code."""
    known = set(re.findall(r"`(factorline_\w+)`", (FOLDER / "metrics.md").read_text()))
    asked = {
        name.removesuffix("_bucket")
        for expression in expressions()
        for name in re.findall(r"\b(?:(?:factorline|rabbitmq|haproxy)_\w+|up)\b", expression)
    }

    assert asked
    assert set() == asked - known - OTHERS


def test_the_dashboard_leaves_nothing_out() -> None:
    """An alert or a panel shows each of our metrics, except the times that units wait in a queue."""
    known = set(re.findall(r"`(factorline_\w+)`", (FOLDER / "metrics.md").read_text()))
    queries = "\n".join(expressions())

    assert {"factorline_queue_seconds"} == {name for name in known if name not in queries}


def test_every_alert_says_what_to_do() -> None:
    """It has a sentence, and an annotation that links to a section of its own."""
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text()
    for rule in alerts():
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/how-to/operate.md#{name.lower()}"
        assert f"\n### {name}\n" in page
        assert rule["annotations"]["description"].endswith(".")
        assert rule["labels"]["severity"] in {"page", "look"}


def test_promtool_accepts_configuration_and_alerts(tmp_path: Path) -> None:
    """Its own tests of the rules show that the alerts fire when they should."""
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
