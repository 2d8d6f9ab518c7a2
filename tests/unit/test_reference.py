"""The reference pages are those that the code makes."""

from infra import reference


def test_the_page_of_settings_is_up_to_date() -> None:
    """`make docs` has been run."""
    assert reference.settings_page() == (reference.FOLDER / "settings.md").read_text()


def test_the_page_of_metrics_is_up_to_date() -> None:
    """`make docs` has been run."""
    assert reference.metrics_page() == (reference.FOLDER / "metrics.md").read_text()
