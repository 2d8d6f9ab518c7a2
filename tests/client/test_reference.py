"""The page about the command is what the command says of itself."""

from factorline.command import reference
from factorline.command.exits import Exit


def test_the_page_is_up_to_date() -> None:
    """`make docs` would change nothing."""
    assert reference.page() == reference.PAGE.read_text()


def test_every_exit_status_is_explained() -> None:
    """The table has a sentence for each."""
    assert [*Exit] == [status for status, _ in reference.meanings()]
