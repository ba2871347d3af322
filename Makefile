# Everything a developer does. Needs make and Python 3.11 or newer; the rest comes from PyPI into $(VENV).

VENV ?= .venv
# Set PYTHON to choose; else the first of these that is new enough makes the environment.
PYTHON ?=
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11

# Extra arguments for the benchmark; docs/performance.md has them all.
BENCH ?=

# How long make soak goes on, and further arguments for it.
SOAK_MINUTES ?= 1
SOAK ?=

# Arguments for make torture; docs/torture.md has them.
TORTURE ?=

# How often make fuzz calls each of its targets.
FUZZ_RUNS ?= 1000000

# Extra arguments for pytest, e.g. make test PYTEST_ARGS="tests/media -x"
PYTEST_ARGS ?=

# Empty: the tests run without coverage, and sooner.
COVERAGE ?= yes

# Processes that share the tests. Most of the time tests wait for something.
PYTEST_PROCESSES ?= 3
SYSTEM_PROCESSES ?= 2

BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
TOOLS ?= .venv-tools
TOOLS_BIN := $(abspath $(TOOLS))/bin
TOOLS_READY := $(TOOLS)/.ready
TESTED := $(VENV)/.tested
SYSTEM := $(VENV)/.system
OPUS_DATA := $(abspath $(VENV))/opus.coverage
SOURCES = $(shell find receiver plugins tests examples -type f -not -name '*.pyc' -not -name '.*' 2>/dev/null)
# What is shipped, or copied from; and with it the programs for developers, which may start others.
SHIPPED = receiver plugins examples
SCANNED = $(SHIPPED) benchmarks conformance fuzzing torture
# What make puts spaces between, with commas.
comma := ,
empty :=
listed = $(subst $(empty) $(empty),$(comma),$(strip $1))

# Every line and every branch of these is run by the tests: who may connect, what a peer's bytes go through, and what keeps
# a recording. WITH_OPUS as well, by make test-system: it needs Debian's libopus.
COVERED = receiver/auth/*.py receiver/captures/*.py receiver/dialects/*.py receiver/media/*.py receiver/sessions/*.py \
    receiver/disk.py receiver/files.py receiver/secret.py receiver/tokens.py $(KEPT:%=receiver/recordings/%.py) $(EDGE:%=receiver/asgi/%.py)
KEPT = journal ledger naming recording recovery stream_json
EDGE = connection frames garbage handshake life lingering opening protocol request request_head server tls upgrade wire
WITH_OPUS = receiver/media/libopus.py receiver/media/opus.py
SYSTEM_PACKAGES = iproute2 jq libfaketime libopus0 sox strace systemd
# Of these only the programs are wanted: they are unpacked into $(VENV)/debian, as installing would start them.
DAEMONS = caddy nginx prometheus
export COVERAGE_FILE := $(abspath $(VENV))/coverage
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-system check security format bench soak torture fuzz conformance release lock clean
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv, from the hashed lock

demo: $(READY) ## receive a call, without an account or a telephone
	@$(BIN)/receiver demo

test: $(READY) ## run the tests that need packages from PyPI only
	@rm -f $(TESTED) $(COVERAGE_FILE) $(COVERAGE_FILE).*
	@$(if $(COVERAGE),$(BIN)/coverage run,$(BIN)/python) -m pytest -n $(PYTEST_PROCESSES) --dist loadfile \
	    -m "not system" $(PYTEST_ARGS)
	@test -n "$(PYTEST_ARGS)" -o -z "$(COVERAGE)" || touch $(TESTED)

test-system: $(READY) ## install what else tests want (Debian packages), and run those
	@missing=$$(for package in $(SYSTEM_PACKAGES); do dpkg -s $$package >/dev/null 2>&1 || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	    command -v apt-get >/dev/null || { echo "Please install these yourself: $(SYSTEM_PACKAGES)" >&2; exit 1; }; \
	    echo "Installing" $$missing "..."; \
	    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    $$sudo apt-get update -qq && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@$(MAKE) --silent $(SYSTEM)
	@$(BIN)/python -m pytest -n $(SYSTEM_PROCESSES) --dist loadfile -m system $(PYTEST_ARGS)
	@echo "Coverage of what needs libopus"; rm -f $(OPUS_DATA) $(OPUS_DATA).*
	@$(BIN)/coverage run --data-file=$(OPUS_DATA) --source=receiver.media -m pytest --quiet tests/media/test_*opus.py
	@$(BIN)/coverage combine --quiet --data-file=$(OPUS_DATA)
	@$(BIN)/coverage report --data-file=$(OPUS_DATA) --fail-under=100 --include="$(call listed,$(WITH_OPUS))"

$(SYSTEM): $(READY) requirements/system.txt
	@$(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements/system.txt
	@rm -rf $(VENV)/debian && mkdir -p $(VENV)/debian && cd $(VENV)/debian && \
	if command -v apt-get >/dev/null; then \
	    echo "Unpacking" $(DAEMONS) "..."; \
	    fetch="apt-get download -qq -o APT::Sandbox::User=root $(DAEMONS)"; \
	    $$fetch 2>/dev/null || { $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get update -qq && $$fetch; }; \
	    for package in *.deb; do dpkg -x $$package . && rm $$package; done; \
	else \
	    echo "Please install these yourself: $(DAEMONS)" >&2; \
	fi
	@touch $@

check: $(READY) ## format, lint, types, import contracts, coverage
	@echo "Format"; $(BIN)/ruff format --check --quiet .
	@echo "Lint"; $(BIN)/ruff check --quiet .
	@echo "Types"; $(BIN)/mypy
	@echo "Import contracts"; $(BIN)/lint-imports --no-logo
	@$(MAKE) $(TESTED)
	@echo "Coverage"; if ls $(COVERAGE_FILE).* >/dev/null 2>&1; then $(BIN)/coverage combine --quiet --append; fi
	@$(BIN)/coverage report
	@echo "Coverage, where it has to be whole"
	@$(BIN)/coverage report --fail-under=100 --include="$(call listed,$(COVERED))" \
	    --omit="$(call listed,$(WITH_OPUS))"

# Coverage is read from the last whole run of the tests, which check repeats only if something has changed since.
$(TESTED): $(SOURCES) pyproject.toml
	@$(MAKE) test PYTEST_ARGS=

# Nothing is sent anywhere: the rules are ours, and neither metrics nor newer versions are asked for.
security: export SEMGREP_SEND_METRICS = off
security: export SEMGREP_ENABLE_VERSION_CHECK = 0
security: $(TOOLS_READY) ## bandit, semgrep with the rules in checks/, and zizmor for the workflows
	@echo "bandit"; $(TOOLS_BIN)/bandit --quiet --configfile pyproject.toml --severity-level medium --recursive $(SHIPPED)
	@echo "semgrep"; PATH=$(TOOLS_BIN):$$PATH semgrep scan --test --config checks/rules.yml checks/rules.py 2>&1 \
	    | { said=$$(cat); echo "$$said" | grep 'All tests passed' || { echo "$$said"; exit 1; }; }
	@PATH=$(TOOLS_BIN):$$PATH semgrep scan --error --quiet --metrics off --config checks/rules.yml $(SCANNED)
	@echo "zizmor"; $(TOOLS_BIN)/zizmor --offline --quiet --no-progress .github

format: $(READY) ## put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## measure everything (20 minutes, Linux, cc); BENCH="--quick" for 8, BENCH="--only P1 P3" for some
	@$(BIN)/python benchmarks/bench.py $(BENCH)

soak: $(READY) ## 200 calls that come and go, for SOAK_MINUTES (1): what is lost, what grows, what holds the loop (Linux)
	@$(BIN)/python torture/soak.py --minutes $(SOAK_MINUTES) $(SOAK)

torture: $(READY) ## kill it, cut its power and its lines, put its clock wrong (half an hour, Linux); TORTURE="--kinds kill"
	@$(BIN)/python torture/torture.py $(TORTURE)

fuzz: $(READY) ## feed what reads peers' bytes with anything, FUZZ_RUNS times, guided by coverage (atheris)
	@$(BIN)/python -c "import atheris" 2>/dev/null \
	    || $(BIN)/python -m pip install --quiet --quiet --only-binary :all: atheris 2>/dev/null \
	    || { echo "Nothing was fuzzed: there is no wheel of atheris for $$($(BIN)/python --version) here." >&2; \
	         echo "Another Python may have one: make fuzz PYTHON=python3.13 VENV=.venv-3.13" >&2; exit 1; }
	@set -e; for target in fuzzing/fuzz_*.py; do \
	    echo "$$target: $(FUZZ_RUNS) runs"; $(BIN)/python $$target -runs=$(FUZZ_RUNS) -verbosity=0 -print_final_stats=1; \
	done

conformance: $(READY) ## run the Autobahn test suite against the listener (needs a Python 2.7; says so where there is none)
	@$(BIN)/python conformance/run.py

release: $(READY) $(TOOLS_READY) ## build sdist and wheel, try them in a clean environment, list what they stand on
	@scripts/release.sh $(BIN) $(TOOLS_BIN)

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade \
    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

# image.txt is what the image runs, and build.txt what makes its wheel; system.txt is for make test-system.
lock: $(READY) ## resolve the dependencies anew, and write their hashes
	@$(BIN)/python -m pip install --quiet --quiet uv
	@$(LOCK) --python-version 3.11 --extra opus --extra g722 --extra plot --extra faster-whisper --group dev \
	    --output-file requirements/dev.txt pyproject.toml
	@# Older pips do not find a hash for a[extra] under the name a.
	@$(LOCK) --python-version 3.11 --no-strip-extras --group tools --output-file requirements/tools.txt
	@$(LOCK) --python-version 3.13 --extra g722 --extra transcribe --output-file requirements/image.txt pyproject.toml
	@$(LOCK) --python-version 3.13 --group build --output-file requirements/build.txt
	@$(LOCK) --python-version 3.11 --group system --output-file requirements/system.txt
	@echo "requirements/*.txt are written; make test, make security and make test-system set them up."

clean: ## remove the environment and what tools left behind
	@rm -rf .venv .venv-* build dist *.egg-info .coverage .coverage.*
	@rm -rf fuzzing/corpus .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find receiver plugins tests benchmarks fuzzing conformance torture -name __pycache__ -prune -exec rm -rf {} +

NEW_ENOUGH = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# A Python that is new enough, as $$found.
define find_python
set -e; found=; \
for python in $(or $(PYTHON),$(PYTHONS)); do \
    if $$python -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
    echo "Python 3.11 or newer, with venv, is needed; tried: $(or $(PYTHON),$(PYTHONS))." >&2; \
    echo "On Debian: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.13 ..." >&2; \
    exit 1; \
fi
endef

$(READY): requirements/dev.txt pyproject.toml
	@$(find_python); \
	echo "Setting up $(VENV) with $$($$found --version) ..."; \
	$$found -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# An environment of their own, as some of these programs want other versions of what the server stands on.
$(TOOLS_READY): requirements/tools.txt
	@$(find_python); \
	echo "Setting up $(TOOLS) with $$($$found --version) ..."; \
	$$found -m venv --clear $(TOOLS)
	@$(TOOLS_BIN)/python -m pip install --quiet --quiet --no-compile --require-hashes -r requirements/tools.txt
	@touch $@
