# sysvm. `make` says what there is to make.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
# As root, or through sudo: network namespaces, containers and apt.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=SYSVM_CACHE)
# Images need no root: a user namespace with the user's subordinate IDs (subuid(5)) does.
UNSHARE := unshare --map-root-user --map-auto --mount --pid --fork --mount-proc
BUILD := $(if $(filter 0,$(shell id -u)),,SYSVM_CACHE=$${SYSVM_CACHE:-$$HOME/.cache/sysvm} $(UNSHARE))

.PHONY: help deps disk-deps vm-deps test-deps venv trees images devcloud devcloud-vm devcloud-vpc devcloud-down test test-unit test-vm golden schema bench \
	lint lock clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what the host lacks of images/host-packages
	@images/host-deps $(SUDO)

venv: $(VENV)/.installed ## Make .venv from requirements/host.txt

# apt only where Python can't make an environment yet: a fresh Debian has no ensurepip.
$(VENV)/.installed: requirements/host.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || images/host-deps $(SUDO)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/host.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

trees: deps venv ## Build the image trees (or find them in the cache)
	$(SUDO) $(BIN)/python -m images trees

disk-deps:
	@MORE=images/disk-packages images/host-deps $(SUDO)

images: disk-deps venv ## Build bootable disks and container images of all roles in dist/
	$(BUILD) $(BIN)/python -m images images

image-%: disk-deps venv ## The same for one role
	$(BUILD) $(BIN)/python -m images images $*

vm-deps: venv ## Install what virtual machines need: libvirt, QEMU, and a place for libvirt's Python binding
	@MORE='images/disk-packages images/vm-packages' images/host-deps $(SUDO)
	@$(BIN)/python -c 'import libvirt' 2>/dev/null || ln -sf /usr/lib/python3/dist-packages/libvirt*.py \
		/usr/lib/python3/dist-packages/libvirtmod*.so $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

devcloud: deps venv ## Start the development cloud on this machine (ARGS="--vpc --redundant": a VPC on a pair)
	$(SUDO) $(BIN)/sysvm devcloud $(ARGS) up

devcloud-vm: vm-deps ## The same with virtual machines, through a libvirt of its own
	$(SUDO) $(BIN)/sysvm devcloud --vm up

devcloud-vpc: deps venv ## A VPC on a redundant pair of routers, whose primary is killed
	$(SUDO) $(BIN)/sysvm devcloud --vpc --redundant up

devcloud-down: venv ## Remove the development cloud, also after a crash
	$(SUDO) $(BIN)/sysvm devcloud down

test-deps: ## Install what the tests' clients need besides: images/test-packages
	@MORE=images/test-packages images/host-deps $(SUDO)

test: vm-deps test-deps venv ## Run all tests (root: real containers, namespaces and emulated machines)
	$(SUDO) $(BIN)/python -m pytest --numprocesses 2 $(ARGS)

test-vm: vm-deps test-deps venv ## Run the tests of images as emulated machines
	$(SUDO) $(BIN)/python -m pytest --numprocesses 2 tests/vm $(ARGS)

test-unit: venv ## Run the tests that need neither root nor a network
	$(BIN)/python -m pytest --numprocesses 2 tests/unit $(ARGS)

golden: venv ## Write anew what tests/golden expects of docs/examples
	$(SUDO) $(BIN)/python -m pytest -q tests/golden --update-golden

schema: venv ## Write docs/schema: the JSON Schema of documents
	$(BIN)/sysvm schema router > docs/schema/router.json
	$(BIN)/sysvm schema secstorage > docs/schema/secstorage.json
	$(BIN)/sysvm schema consoleproxy > docs/schema/consoleproxy.json

bench: deps venv ## Measure against named peers
	@MORE=tests/bench/packages images/host-deps $(SUDO)
	$(SUDO) $(BIN)/python -m tests.bench $(ARGS)

lint: venv ## Check types and style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# No index options in the files: whoever installs has an index of their own.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

lock: venv ## Lock the newest versions of all requirements
	$(LOCK) --universal --python-version 3.11 --extra test pyproject.toml requirements/host.in \
		--output-file requirements/host.txt
	$(LOCK) --python-version 3.13 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
		--constraint requirements/host.txt requirements/appliance.in --output-file requirements/appliance.txt

clean: ## Remove the environment and what tools left; not the image cache
	$(SUDO) rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
