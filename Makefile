# Works from a bare clone: needs make, bash and Python 3.11 or newer (make PYTHON=/path/to/python setup).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup data slurm browser latex demo studies test check bench calibration chaos soak fuzz clean

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
FASHION := /usr/share/datasets/fashion-mnist
SWEEP := sweeps/fashion_mnist.yaml
# in CI the versions that were tested, where they fit; people get what their index has
CONSTRAINED ?= $(if $(filter true,$(CI)),-c constraints.txt)

# true where this user may install Debian's packages
MAY_APT = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
# $(call apt,PACKAGE): silent unless it fails
apt = ( export DEBIAN_FRONTEND=noninteractive; q="apt-get install -y -qq --no-install-recommends $(1)"; \
	log=$$($$q 2>&1) || log=$$(apt-get update -qq 2>&1 && $$q 2>&1) || { echo "$$log" >&2; exit 1; } )

help: ## what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## the virtual environment in .venv, with everything (once; torch is several GB)

$(READY): pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(NEW_ENOUGH)' || { \
		echo "setup: no Python 3.11 or newer found ('$(PYTHON)'); name one: make PYTHON=/path/to/python3.11 setup" >&2; exit 2; }
	@package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	if [ -x $(PY) ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then :; \
	elif $(MAY_APT) && $(call apt,$$package); then echo "setup: installed $$package"; \
	else echo "setup: $(PYTHON) cannot make virtual environments; do: apt-get install $$package (or python3-venv)" >&2; exit 2; fi
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing into $(VENV) with $$($(PY) --version) (minutes: torch is several GB)"
	@SECONDS=0 && $(PY) -m pip install -qq $(CONSTRAINED) -e '.[dev]' && touch $@ && echo "setup: done in $$SECONDS s"

data: # Fashion-MNIST, and where it comes from
	@if [ -n "$${ABLATION_DATA:-}" ]; then echo "data: looked for first in ABLATION_DATA=$$ABLATION_DATA"; fi; \
	if [ -d $(FASHION) ]; then echo "data: Fashion-MNIST of Debian's package, in $(FASHION)"; \
	elif $(MAY_APT) && $(call apt,dataset-fashion-mnist); then echo "data: Fashion-MNIST through apt, now in $(FASHION)"; \
	else echo "data: torchvision will download Fashion-MNIST (30 MB) when training starts"; fi

demo: setup data ## plan, launch, train, report on Fashion-MNIST: ends with a verdict and a PDF
	@if [ -z "$${SLURM_JOB_ID:-}" ] && timeout 5 sinfo --noheader >/dev/null 2>&1; then \
		echo "demo: this machine belongs to a Slurm cluster, and the demo trains here, for minutes on two cores;"; \
		echo "demo: if this is a login node, stop it (Ctrl-C) and do: srun --cpus-per-task=2 --time=30 make demo"; fi
	$(PY) -m ablation.plan --budget fashion
	$(PY) -m ablation.launch $(SWEEP) --on local
	$(PY) -m analysis.report $(SWEEP)

studies: setup data ## every sweep's small twin, trained and reported here (hours on two cores; goes on where it was stopped)
	@failed=0; for twin in sweeps/*_small.yaml; do \
		$(PY) -m ablation.launch $$twin --on local && $(PY) -m analysis.report $$twin || failed=1; \
	done; exit $$failed

slurm: # Slurm's programs, for tests/slurm
	@if $(MAY_APT); then tests/slurm/install.sh; else echo "slurm: not root on Debian or Ubuntu: its tests are skipped"; fi

browser: # headless Chromium, for tests/test_html.py: 96 MB to fetch, 306 MB on disk, 8 s
	@if command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null; then :; \
	elif $(MAY_APT) && $(call apt,chromium-headless-shell); then echo "browser: chromium-headless-shell through apt"; \
	else echo "browser: no Chromium here: its tests are skipped"; fi

latex: # a LaTeX, for tests/test_latex.py: 28 s
	@if command -v pdflatex >/dev/null; then :; \
	elif $(MAY_APT) && $(call apt,texlive-latex-recommended); then echo "latex: texlive-latex-recommended through apt"; \
	else echo "latex: none here: its test is skipped"; fi

test: setup data slurm browser latex check ## everything that CI runs: check, then all tests (as root on Debian on a real Slurm cluster)
	$(PY) -m pytest $(PYTEST_ARGS)

check: setup ## lint, format, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup data ## measure speeds on this machine, beside what others would use (a quarter of an hour)
	$(PY) -m pip install -qq -e '.[bench]'
	$(PY) tests/benchmarks/run.py

calibration: setup data ## see that the statistics keep their promises: many simulated studies, then 60 real runs (two hours)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PY) -m calibration.run
	$(PY) -m ablation.launch sweeps/calibration.yaml --on local
	PYTHONPATH=tests $(PY) -m calibration.real

chaos: setup ## kill, stop and damage real runs thousands of times, and write down what became of them (an hour)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PY) -m chaos.run $(CHAOS_ARGS)

soak: setup ## an hour of short runs under random kills: memory and open files stay flat
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(PY) -m chaos.soak $(SOAK_ARGS)

fuzz: setup ## a hundred thousand hostile files for each parser (hours): reports/reliability/fuzz.md; fewer: CASES=5000
	PYTHONPATH=tests:. OMP_NUM_THREADS=1 nice -n 10 $(PY) -m fuzz.run --cases $(or $(CASES),100000)

clean: ## remove .venv and caches; runs/ and reports/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +
