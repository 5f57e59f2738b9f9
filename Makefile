# Every command that this repository knows. `make help` explains them; `make checks` and `make test` are what CI runs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTHON := $(BIN)/python
OTHER := python3.13
VENV := .venv/.installed
CODE := operator tests demo scripts
RESULTS := build/test
BED := tests/cluster
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet

# The pure packages, held to a branch coverage of 95 %.
PURE := */moltbot_operator/api/*,*/moltbot_operator/compare/*,*/moltbot_operator/compile/*,*/moltbot_operator/conditions*,*/moltbot_operator/explain/*,*/moltbot_operator/objectives/*,*/moltbot_operator/rollout/*

export PYTHONDONTWRITEBYTECODE := 1
# The programs of the bed are started by "env python3": the newest Python found is in .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help venv lock crds format site checks test test-unit test-gateway test-python test-api test-e2e bundle sbom image cluster-up cluster-down \
	demo demo-down clean

help: ## This list
	@echo "Commands (KUBECONFIG=… make demo, or test-e2e, uses that cluster instead of the test bed):"
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

## -- set-up -----------------------------------------------------------------------------------------------------------

venv: $(VENV) ## .venv with the locked packages and this project, editable

$(VENV): requirements-dev.lock pyproject.toml scripts/make-venv
	@scripts/make-venv
	@touch $@

lock: $(VENV) ## Resolve the dependencies anew into the lock files (add ARGS=--upgrade for newer versions)
	$(LOCK) $(ARGS) --output-file requirements.lock
	$(LOCK) $(ARGS) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@if grep -nE '://|index-url' requirements.lock requirements-dev.lock; then \
		echo "a lock file names a package index: remove that line's source and run make lock again" >&2; exit 1; fi

crds: $(VENV) ## Generate crds/ from the types, the chart's copy of it, and the tables in the docs
	$(PYTHON) -m moltbot_operator.api.schema crds/
	$(PYTHON) scripts/document_reasons.py
	$(PYTHON) scripts/document_faults.py
	rm -rf charts/moltbot-operator/crd-files && mkdir charts/moltbot-operator/crd-files
	cp crds/*.yaml charts/moltbot-operator/crd-files/

format: $(VENV) ## Format the code and fix what can be fixed by itself
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

site: $(VENV) ## The docs as a site in build/site, with strict links and the reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bundle: $(VENV) ## Wheels by the lock, the installer and an SBOM in build/, to install without a network
	scripts/make-bundle $(ARGS)

sbom: $(VENV) ## What is in it: the locked packages as CycloneDX JSON, build/sbom.cdx.json
	scripts/make-sbom $(ARGS)

image: $(VENV) ## Build the operator's image (buildah in the bed, docker elsewhere)
	$(BED)/image

cluster-up: $(VENV) ## Start the one-node test bed (Linux, root); the first time builds it from source, ~12 min
	$(BED)/up

cluster-down: ## Stop the test bed and leave nothing of it
	$(BED)/down

## -- checks -----------------------------------------------------------------------------------------------------------

checks: $(VENV) ## Style, types, import contracts, generated files, chart, links: all but the tests
	$(BIN)/ruff check $(CODE) || { echo "make format fixes much of this" >&2; exit 1; }
	$(BIN)/ruff format --check $(CODE) || { echo "make format fixes this" >&2; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(PYTHON) -m moltbot_operator.api.schema crds/ --check || { echo "make crds fixes this" >&2; exit 1; }
	diff -rq crds charts/moltbot-operator/crd-files || { echo "make crds fixes this" >&2; exit 1; }
	$(PYTHON) scripts/document_reasons.py --check
	$(PYTHON) scripts/document_faults.py --check
	$(PYTHON) scripts/check_links.py
	@if command -v shellcheck >/dev/null; then shellcheck install.sh; else echo "shellcheck is not here: install.sh is not checked"; fi
	$(BED)/build.py --only helm
	$(BED)/build.py --only kubeconform
	$(PYTHON) scripts/check_chart.py

## -- tests ------------------------------------------------------------------------------------------------------------

# One tier: its output as it comes, and its counts into a file that the summary adds up.
define run_tier
	@mkdir -p $(RESULTS) && rm -f $(RESULTS)/$(1).xml
	@echo "== $(1): $(2)"
	@$(3) -m pytest $(2) --junitxml=$(RESULTS)/$(1).xml $(ARGS)
endef

# The first three mostly wait, so they run side by side, each told when it is over; a cluster wants the machine for itself.
test: $(VENV) ## All tiers: unit, gateway and api at once, then e2e; then one summary
	@rm -rf $(RESULTS); failed=""; \
	$(MAKE) --jobs=3 --keep-going --output-sync=target test-unit test-gateway test-api || failed="$$failed unit, gateway or api"; \
	$(MAKE) test-e2e || failed="$$failed e2e"; \
	$(PYTHON) scripts/summary.py $(RESULTS) || true; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

test-unit: export COVERAGE_FILE := build/coverage
test-unit: export MOLTBOT_SETS := 800
test-unit: export MOLTBOT_ROLLOUTS := 10000
test-unit: export MOLTBOT_FAULTS_EVERY := 1
test-unit: $(VENV) ## Pure code, golden files, single parts; no cluster, no root
	$(call run_tier,unit,$(wildcard tests/unit tests/golden tests/provider),$(BIN)/coverage run)
	@$(BIN)/coverage report --include='$(PURE)' --skip-covered --show-missing --fail-under=95 | tail -n 30

test-gateway: export MOLTBOT_ROUTES := 15
test-gateway: export MOLTBOT_PLANS := 8
test-gateway: $(VENV) ## Traffic through a real Envoy, agent and worker, and all of moltbot serve; no cluster, no root
	$(call run_tier,gateway,$(wildcard tests/gateway),$(PYTHON))

test-python: ## The unit tests on another Python: OTHER=python3.13 (its packages go to build/python)
	@$(OTHER) -m venv build/python
	@build/python/bin/python -m pip install --quiet --requirement requirements-dev.lock
	@PYTHONPATH="$(CURDIR)/operator:$(CURDIR)/tests/provider" PATH="$(CURDIR)/build/python/bin:$$PATH" build/python/bin/python -m pytest tests/unit -q -p no:cacheprovider

test-api: $(VENV) ## The operator against a real API server; no nodes, no root
	$(call run_tier,api,$(wildcard tests/api),$(PYTHON))

test-e2e: $(VENV) ## Chart, image and traffic on a whole cluster (the bed, or KUBECONFIG=…)
	$(call run_tier,e2e,$(wildcard tests/install tests/cluster tests/e2e),$(PYTHON))

## -- demo and benchmarks ----------------------------------------------------------------------------------------------

demo: $(VENV) ## Cluster, chart, three simulated models, requests, an outage: the whole thing, watched
	@$(PYTHON) demo/demo.py

demo-down: ## Remove the demo, and the bed if there is one
	@if [ -x $(PYTHON) ]; then $(PYTHON) demo/demo.py --down; else $(BED)/down; fi

bench-%: $(VENV) ## Run one benchmark: bench-autoscale, bench-compile, bench-costs, bench-gateway, bench-operator, bench-rollout, bench-serve, bench-worker
	@$(PYTHON) tests/bench/bench_$*.py $(ARGS)

clean: ## Remove what was built here (the bed's cache stays: see CONTRIBUTING.md)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .venv
