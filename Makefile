# The same words for a person and for CI. `make demo` and `make test` do all set-up themselves, in .venv.
# PYTHON: an interpreter of 3.11 or newer.  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets the small CPU build of torch.

PYTHON ?= python3
EXTRAS ?= train,minilm,dev
BIN := .venv/bin
READY := .venv/.ready
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-captions check test bench docs pins clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with everything pinned

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Luthier needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[$(EXTRAS)]' -c constraints.txt
	touch $@

demo: $(READY)  ## from made customer messages to a deployed classifier that answers
	$(BIN)/luthier run recipes/support-intents.yaml

demo-captions: $(READY)  ## from drawn product pictures to a deployed model that says what they show
	$(BIN)/luthier run recipes/product-captions.yaml

check: $(READY)  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, then every test but the long walks
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not long" -n 2 --dist loadfile --no-loadscope-reorder

bench: $(READY)  ## the long walks, then what we claim, measured: every script of bench/
	OMP_NUM_THREADS=1 $(BIN)/pytest -m long -n 2 --dist loadfile --no-loadscope-reorder
	@set -e; for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(READY)  ## write the generated pages again (docs/recipes.md, docs/models.md)
	$(BIN)/python docs/generate.py

pins: $(READY)  ## write constraints.txt again from what .venv holds
	.ci/pins

clean:  ## remove .venv and everything that was built (never your workspaces)
	rm -rf .venv build dist .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
