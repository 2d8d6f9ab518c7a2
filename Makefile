help:           ## list the verbs: run stack secrets images check test coverage fuzz chaos rehearse containers lint types lock wheel bench fairness paint screenshots docs site licences command audit clean
	@sed -n 's/^\([a-z]*\): .*## /  make \1	/p' Makefile | expand -t 20

# Settings, for example `make run PORT=8081`
PORT ?= 8080
ARGS ?=
PYTHON = .venv/bin/python

.PHONY: help run stack secrets images check test coverage fuzz chaos rehearse containers lint types lock wheel bench fairness paint screenshots docs site licences command audit clean
.DEFAULT_GOAL := help

run:            ## everything in one process on http://127.0.0.1:8080
	@sh infra/venv.sh requirements.lock
	@exec $(PYTHON) -m factorline serve --port $(PORT) $(ARGS)

stack:          ## RabbitMQ, a MongoDB-wire server, two gateways behind HAProxy, workers; all on loopback
	@sh infra/venv.sh requirements-dev.lock
	@sh infra/servers.sh
	@exec $(PYTHON) -m infra.local.stack --port $(PORT) $(ARGS)

SECRETS = rabbitmq_gateway rabbitmq_worker rabbitmq_operator \
	mongo_key mongo_root mongo_gateway mongo_worker haproxy_operator grafana_admin

secrets:        ## the passwords of docker-compose.yml, and the first API key, in .secrets/, each made once
	@sh infra/secrets.sh .secrets $(SECRETS) first_key
	@echo "The passwords are in .secrets/, and the first API key, an operator's, is in .secrets/first_key." >&2

images:         ## pin the images of docker-compose.yml to the digests that their tags have now (asks the registry)
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m infra.tools.images

# Whatever has changed since the last run is compiled once, and not by each worker of pytest.
KERNELS = $(PYTHON) -m factor_worker.engine.siqs.warm

check: lint types ## lint, types and the tests of pure code: half a minute
	@$(KERNELS)
	@$(PYTHON) -m pytest tests/unit tests/engine $(ARGS)

test:           ## all tests that can run here; ARGS="-k words" picks some
	@sh infra/venv.sh requirements-dev.lock
	@sh infra/servers.sh
	@$(KERNELS)
	@$(PYTHON) -m pytest $(ARGS)

# Python 3.11 runs half as fast under coverage, so these are the tests of one process; ARGS=tests takes all.
coverage:       ## the lines that tests/unit and tests/gateway reach; the share may not fall
	@sh infra/venv.sh requirements-dev.lock
	@sh infra/servers.sh
	@rm -rf build/coverage
	@mkdir -p build/coverage
	@$(KERNELS)
	@$(PYTHON) -m coverage run -m pytest $(or $(ARGS),-n2 tests/unit tests/gateway)
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report

fuzz:           ## invent requests, bodies and frames for a quarter of an hour
	@sh infra/venv.sh requirements-dev.lock
	@$(KERNELS)
	@FACTORLINE_TEST_SECONDS=$(or $(SECONDS),600) FACTORLINE_TEST_EXAMPLES=5000 $(PYTHON) -m pytest -n0 -o timeout=3600 \
		tests/gateway/test_schemathesis.py tests/gateway/test_fuzz.py $(ARGS)

rehearse:       ## lose the broker's data and restore a store from a backup, in the middle of a sieve
	@sh infra/venv.sh requirements-dev.lock
	@sh infra/servers.sh
	@$(KERNELS)
	@$(PYTHON) -m pytest -m rehearsal tests/stack $(ARGS)

containers:     ## docker-compose.yml in containers; where there is no Docker engine, root on Debian gets one
	@sh infra/venv.sh requirements-dev.lock
	@sh tests/containers/run.sh $(ARGS)

lint:           ## style and formatting
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types:          ## strict typing
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m mypy .

# The lock of the tests holds the lock of the programs, so that both are tested and shipped alike.
LOCK = $(PYTHON) -m uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	--python-version 3.11 --custom-compile-command "make lock"

lock:           ## renew the locks; ARGS=--upgrade takes newer releases
	@sh infra/venv.sh requirements-dev.lock
	$(LOCK) $(ARGS) --extra server --output-file requirements.lock
	$(LOCK) $(ARGS) --extra server --group dev --no-emit-package factorline --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) --extra server --extra tracing --constraint requirements-dev.lock --output-file requirements-tracing.lock

wheel:          ## dist/: the wheel and the source archive, with the version that the git tag gives
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m uv build

chaos:          ## break things on purpose: every fault, measured; ARGS="--list", "--rows 'broker*'", "--soak 30"
	@sh infra/venv.sh requirements-dev.lock
	@sh infra/servers.sh
	@$(PYTHON) -m tests.chaos $(ARGS)

bench:          ## check and time a running service; ARGS=http://127.0.0.1:8080
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m benchmarks.workload $(ARGS)

fairness:       ## one key's single numbers while another key has 50 000 waiting
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m benchmarks.fairness $(ARGS)

paint:          ## weigh the page and time its first paint; ARGS=http://127.0.0.1:8080
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m benchmarks.page $(ARGS)

screenshots:    ## renew docs/images from a service of its own, or ARGS=http://127.0.0.1:8080
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m infra.tools.screenshots $(ARGS)

docs: licences command  ## renew the pages that are made from the code
	@$(PYTHON) -m infra.tools.reference

site:           ## build the documentation into build/site; a broken link is an error
	@sh infra/venv.sh requirements-dev.lock
	@rm -rf build/site
	@$(PYTHON) -m sphinx --fail-on-warning --fresh-env --quiet -c docs -d build/doctrees . build/site
	@echo "build/site/index.html is the first page."

licences:       ## renew docs/reference/dependencies.md from what is installed
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m infra.tools.licences

command:        ## renew docs/reference/command.md from the command line itself
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m typer factorline.command.app utils docs --name factorline --output docs/reference/command.md

audit:          ## sbom.json of what is shipped, and whether any of it is known to be unsafe (asks PyPI)
	@sh infra/venv.sh requirements-dev.lock
	@$(PYTHON) -m infra.tools.audit

clean:          ## remove the environment and caches, never data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
