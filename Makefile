# The two commands of a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint docs bench campaign pretrained system install install-dev venv-package clean

demo: install  ## A walk as MP4, from the bundled checkpoint.
	$(BIN)/posegpt sample --action walk --len 64 --out walk.mp4 --force
	@echo "look at walk.mp4; then type, once per terminal: source $(BIN)/activate"
	@echo "after that: posegpt actions"

test: install-dev lint  ## The quick tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-all: install-dev lint  ## Every test, the slow ones too, and the share of models and data that they run.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "" \
	  --cov=models --cov=data --cov-fail-under=95 --cov-report=term:skip-covered

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos

docs: $(VENV)/.installed-docs  ## The documentation site, in build/site.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site
	@echo "look at build/site/index.html"

bench: install-dev  ## What is timed, beside the plain way, as one table in benchmarks/results.md.
	$(BIN)/python -m benchmarks

MINUTES ?= 30
campaign: install-dev  ## Damaged inputs, kills, full disks, two writers at once: make campaign MINUTES=30
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --minutes $(MINUTES)

pretrained: install-dev  ## The bundled checkpoint, from motion capture: make pretrained MOCAP=DIR
	tools/pretrain.sh "$(MOCAP)"

install: $(VENV)/.installed system
install-dev: $(VENV)/.installed-dev system

# tools/set_up.py says what it does, how much it downloads, and picks torch's build for this machine.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) -s venv-package
	@$(PYTHON) tools/set_up.py
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PYTHON) tools/set_up.py --extra dev
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	@$(PYTHON) tools/set_up.py --extra dev --extra docs
	touch $@

# Debian's Python comes without venv.
venv-package:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	else \
	  echo "no venv here: type sudo apt-get install -y python3-venv, then make again"; exit 1; \
	fi

# Meshes need libGL and libEGL; without them the tool draws skeletons.
GL_PACKAGES := libegl1 libgl1
system:
	@if ! ldconfig -p 2>/dev/null | grep -q libEGL.so.1 || ! ldconfig -p | grep -q libGL.so.1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $(GL_PACKAGES)"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(GL_PACKAGES) >/dev/null; } \
	      || echo "could not install $(GL_PACKAGES): meshes cannot be drawn, skeletons can"; \
	  else \
	    echo "no OpenGL here: to draw meshes, type: sudo apt-get install -y $(GL_PACKAGES)"; \
	  fi; \
	fi

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache
