# Each target does all the set-up that it needs; see scripts/prepare.py. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run dev test test-faults test-versions soak check bench bench-quick lock clean

PORT ?= 8000
ARGS ?=
MINUTES ?= 30
VENV := .venv/bin
# Beside tests/faults: files with tests that have a long form or take long.
LONG_FORMS := tests/acceptance tests/integration/test_relay_bad_input.py tests/integration/test_redis_acl.py tests/unit/fanout/test_topics.py

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; done

setup:  ## all set-up and builds; starts nothing
	@python=$$(scripts/find-python) && exec "$$python" scripts/prepare.py

setup-tests:
	@python=$$(scripts/find-python) && exec "$$python" scripts/prepare.py --tests

# exec: Ctrl-C and a supervisor's signal must reach the program itself.
run: setup  ## everything on one machine: Valkey, relay, Celery worker, dashboard on :8000 (PORT=…)
	@exec $(VENV)/runrelay dev --port $(PORT) $(ARGS)

dev: setup  ## like run, and both halves reload on change
	@exec $(VENV)/runrelay dev --reload --port $(PORT) $(ARGS)

test: setup-tests  ## all tests (ARGS="-k word" goes to pytest)
	@exec $(VENV)/python scripts/run_tests.py $(ARGS)

test-faults: setup-tests  ## the fault tests in their long forms
	@exec $(VENV)/python -m pytest tests/faults $(LONG_FORMS) --long $(ARGS)

test-versions: setup-tests  ## tests with the oldest and newest allowed redis-py, Celery, uvicorn (ARGS=oldest)
	@exec $(VENV)/python scripts/versions.py $(ARGS)

soak: setup-tests  ## everything at once for MINUTES=30, with a report (ARGS="--report FILE")
	@exec $(VENV)/python -m tests.soak $(MINUTES) $(ARGS)

check: setup  ## format, lint, types, imports
	@exec $(VENV)/python scripts/check.py

bench: setup  ## benchmarks against the peers
	@exec $(VENV)/python -m benchmarks $(ARGS)

bench-quick: setup  ## the same in under two minutes
	@exec $(VENV)/python -m benchmarks --quick $(ARGS)

lock:  ## write both locks from the projects' requirements (ARGS=--upgrade for pip's)
	@python=$$(scripts/find-python) && "$$python" scripts/lock.py $(ARGS) \
		&& (cd frontend && npm install --package-lock-only) && "$$python" scripts/complete_package_lock.py

clean:  ## remove everything generated; runs in .runrelay/ stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist
	rm -rf frontend/node_modules frontend/dist frontend/core frontend/LICENSE frontend/styles.css
	find backend/runrelay/dashboard -mindepth 1 -not -name .gitkeep -delete
	find backend workers tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
