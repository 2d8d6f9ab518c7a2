"""The reference pages are up to date with the code that they are made from."""

import pytest

from infra.tools import reference


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    """`make docs` has been run."""
    assert reference.PAGES[name]() == (reference.FOLDER / name).read_text()
