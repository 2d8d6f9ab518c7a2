"""`nox`: the tests on every Python that Factorline supports and that is installed here.

`nox` runs all of them; `nox -s tests-3.13 -- tests/unit tests/engine` runs some of them on one. On 3.14 the
tests that need a MongoDB server are skipped unless one is given, because SecantusDB has no wheel for it.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Install what the lock says, compile the sieve, and run the tests."""
    session.install("--no-deps", "--require-hashes", "-r", "requirements-dev.lock")
    session.run("python", "-m", "factor_worker.engine.siqs.warm")
    session.run("python", "-m", "pytest", *session.posargs)
