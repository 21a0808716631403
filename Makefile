# The README's commands. Each makes the environment if it is missing, then does one thing.
BIN := .venv/bin
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
TORCH := $(shell grep '^torch==' constraints.txt)
# A test is tiny: two on two cores are faster than one on both.
PARALLEL ?= -n auto --dist worksteal
.PHONY: env demo test quick lint speed docs smoke play

env: .venv/ready
demo: env
	@$(BIN)/python -m experiments.demo $(ARGS)
test: env .venv/peers .venv/zoo .venv/people
	@$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)
quick: env
	@$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow and not peer and not data" \
		tests/test_layering.py tests/test_old_names.py tests/sites/test_attention.py tests/online tests/files \
		--deselect tests/online/test_one_step.py $(ARGS)
lint: env
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
speed: env .venv/peers
	@$(BIN)/python -m experiments.speed $(ARGS)
# The pages, into site/, strictly and without a network; tutorials run as they are built (minutes).
docs: env .venv/people .venv/zoo
	@PYTHONPATH="$(CURDIR)" OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet $(ARGS)
# The wheel and the source archive, each installed alone; with TORCH_VERSION=2.6.0 beside that torch, in a new environment.
smoke: env
	@$(BIN)/python -m tests.release.smoke $(if $(TORCH_VERSION),--torch $(TORCH_VERSION)) $(ARGS)
play: env .venv/people
	@$(BIN)/python -m experiments.play $(ARGS)

# The CPU build of torch goes in first, so that nothing installed after it can draw in another one.
.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it, as in 'make env PYTHON=python3.12'." >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'Making .venv, once: a minute or so.'; $(PYTHON) -m venv .venv; }
	@$(BIN)/pip install --quiet "$(TORCH)+cpu" 2>/dev/null \
		|| { echo "pip does not find the CPU build of torch: installing the default one, which may be gigabytes."; \
		$(BIN)/pip install --quiet "$(TORCH)"; }
	@$(BIN)/pip install --quiet -c constraints.txt -e ".[lab,log,dev]" hatchling
	@touch $@

# Two other libraries, independent judges of our meta-gradients. The second one must be compiled.
.venv/peers: .venv/ready
	@$(BIN)/pip install --quiet -c constraints.txt -e ".[peers]"
	@$(BIN)/pip install --quiet --no-deps --config-settings=--build-option=build_ext learn2learn==0.2.0 2>/dev/null \
		|| echo "learn2learn did not build (is there a C compiler?): the tests that compare with it will be skipped."
	@touch $@

# Other people's networks, to try the rules on: a quarter of a minute, 240 MB. Three ask for the GPU
# build of torch, and go in without what they ask for.
.venv/zoo: .venv/ready
	@$(BIN)/pip install --quiet -c constraints.txt -e ".[zoo]" 2>/dev/null && $(BIN)/pip install --quiet \
		--no-deps -c constraints.txt timm torchvision vit-pytorch 2>/dev/null \
		|| echo "Not all of other people's networks could be installed: the tests on those missing will be skipped."
	@touch $@

# Pages, the demonstration in a browser, the hub, and benchmarks of continual learning (one package of
# which asks for the GPU build of torch).
.venv/people: .venv/ready
	@$(BIN)/pip install --quiet -c constraints.txt -e ".[docs,play,hub,continual]" 2>/dev/null && $(BIN)/pip install \
		--quiet --no-deps -c constraints.txt avalanche-lib torchvision 2>/dev/null \
		|| echo "Not all of the pages' and demonstration's packages could be installed: tests of those missing will be skipped."
	@touch $@
