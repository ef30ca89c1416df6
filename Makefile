# GP3D in two commands: `make demo` shows the main job, `make test` proves it. Both prepare .venv first.
# Nothing is written outside this folder: the environment is .venv, caches are .cache, results are runs.
#   make setup TORCH="torch==2.11.0"   another torch than the pinned one; remembered until .venv is removed
#   make setup TORCH=torch             whatever torch .venv already has (or sees), for instance a CUDA build of one's own
#   make setup-all BPY=5.0.1           another Blender to render with than the pinned one; remembered likewise
#   make setup PYTHON=/path/python3.11

SHELL := bash
.DEFAULT_GOAL := help

cache := $(CURDIR)/.cache
export TMPDIR := $(cache)/tmp
export PIP_CACHE_DIR := $(cache)/pip
export XDG_CACHE_HOME := $(cache)/xdg
export XDG_DATA_HOME := $(cache)/xdg-data
export MPLCONFIGDIR := $(cache)/matplotlib
export TORCH_HOME := $(cache)/torch
export TORCHINDUCTOR_CACHE_DIR := $(cache)/inductor
export TRITON_CACHE_DIR := $(cache)/triton
export BLENDER_USER_RESOURCES := $(cache)/blender
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# XDG_CONFIG_HOME stays the user's: pip reads its settings (proxy, mirror) there.
unexport PYTHONHOME PYTHONPATH

.PHONY: help readers browser report-cards setup setup-all demo box-data zoo-data gpu-data box-sheets test faults audit test-blender check format docs addon addon-gui asset-library \
  clean clean-runs

help:
	@echo "make demo        set up, then: an asset; objects -> renders -> a model of its own -> meshes, in runs/demo"
	@echo "make test        set up, then lint, types and the whole test suite"
	@echo "make box-data    models, points and renders that the pretrained model learns from, in runs/box; MESHES=FOLDER, docs/model-card.md"
	@echo "make gpu-data    what of that travels to a machine with a GPU, in runs/gpu-data/views.zip; MEGABYTES=40, docs/kernels.md"
	@echo "make zoo-data    the same of the zoo model, from two packages of Debian"
	@echo "make box-sheets  every class of the pretrained models with four seeds, drawn by Blender: docs/box.jpg, docs/zoo.jpg"
	@echo "make report-cards  a geometry report card for every class of the pretrained models (needs make box-data zoo-data)"
	@echo "make test-blender  the add-on in Blender 4.2 to 5.2; VERSIONS=5.0.1 takes one, PYTHON313=PROGRAM is for 5.2"
	@echo "make setup       prepare .venv to generate with (1.2 GB); quick when there is nothing to do"
	@echo "make setup-all   the same with Blender, to render with, and what the tests need (4.5 GB); demo and test do it"
	@echo "make faults MINUTES=10  damages files and requests for so long, and prints what held"
	@echo "make audit       known weaknesses of the packages in .venv; asks a database of advisories, with a tool of its own"
	@echo "make check       lint and types only        make format       lay out the code"
	@echo "make docs        the documentation site in build/site, strictly; without a network once its packages are there"
	@echo "make addon       build the Blender extension in dist/; validated, too, after make setup-all"
	@echo "make asset-library  objects of the pretrained model as a Blender asset library, in runs/asset-library"
	@echo "make addon-gui   draw docs/addon-*.png in a real Blender window (Blender 4.2 or newer, Xvfb, imagemagick)"
	@echo "make readers     with Node: the Khronos validator and meshopt's decoder, for the tests of glTF files"
	@echo "make browser     Debian's Chromium, for the tests that open galleries in a browser"
	@echo "make clean       remove .venv and caches    make clean-runs   remove results"

setup:
	@tools/setup.sh core

setup-all:
	@tools/setup.sh

demo: setup-all
	.venv/bin/gp3d demo --out runs/demo

# Data of the pretrained models; what is there already is kept: stop it at any time, the same command goes on
# (docs/model-card.md). MESHES is a folder of artists' models as synthetic/choices/box-models.tsv names them.
sources := runs/box/sources
MESHES ?= $(sources)/meshes
SH3F ?= $(sources)/sweethome3d-furniture_1.8-1_all.deb
ZEROAD ?= $(sources)/0ad-data_0.0.26-1_all.deb
library := .venv/bin/python -m synthetic.library
points := --points 8192 --surface 8192 --thin 0.5 --seed 0
views := --preset turntable --views 2 --turn 2 --yaw 0 0.8 --pitch 1.22 0.25 --resolution 128 --samples 1 --seed 0 \
  --albedo --split train
box := $(addprefix runs/box/,procedural artists artists-varied furniture furniture-varied)
zoo := $(addprefix runs/box/,zoo-game zoo-animals-varied zoo-things-varied zoo-furniture zoo-furniture-varied)
choice = "$$(cat synthetic/choices/$(1).txt)"

$(sources)/%.deb:
	mkdir -p $(sources) && cd $(sources) && apt-get download "$(firstword $(subst _, ,$*))"
	test -f $@ || { echo "error: $@ is another version here; SH3F= or ZEROAD= names it" >&2; exit 1; }

box-data: setup-all $(SH3F)
	.venv/bin/python -m synthetic.shapes --classes all --per-class 60 --seed 0 runs/box/procedural
	$(library) folder "$(MESHES)" runs/box/artists --table synthetic/choices/box-models.tsv
	$(library) vary runs/box/artists runs/box/artists-varied --per-class 20 --variants 16 --seed 0
	$(library) sh3f "$(SH3F)" runs/box/furniture --licences cc0 --missing-textures color --classes $(call choice,box-sh3f)
	$(library) vary runs/box/furniture runs/box/furniture-varied --per-class 16 --variants 12 --seed 0
	.venv/bin/python -m synthetic.points $(box) runs/box/train $(points)
	.venv/bin/python -m synthetic.render $(box) runs/box/train $(views)

gpu-data: setup-all
	.venv/bin/python -m benchmarks.pack_gpu_data runs/box/train $(if $(MEGABYTES),--megabytes $(MEGABYTES))

zoo-data: setup-all $(SH3F) $(ZEROAD)
	$(library) 0ad "$(ZEROAD)" runs/box/zoo-game --poses 2 \
	  --classes $(call choice,zoo-game-animals),$(call choice,zoo-game-things)
	$(library) vary runs/box/zoo-game runs/box/zoo-animals-varied --per-class 24 --variants 8 --seed 0 \
	  --classes $(call choice,zoo-game-animals)
	$(library) vary runs/box/zoo-game runs/box/zoo-things-varied --per-class 10 --variants 6 --seed 0 \
	  --classes $(call choice,zoo-game-things)
	$(library) sh3f "$(SH3F)" runs/box/zoo-furniture --licences cc-by --missing-textures color \
	  --classes $(call choice,zoo-furniture)
	$(library) vary runs/box/zoo-furniture runs/box/zoo-furniture-varied --per-class 12 --variants 8 --seed 0
	.venv/bin/python -m synthetic.points $(zoo) runs/box/zoo-train $(points) --per-class 40
	.venv/bin/python -m synthetic.render $(zoo) runs/box/zoo-train $(views) --per-class 24

# Every class of the pretrained models with seeds 0 to 3, drawn by Blender; stop it at any time, the same command goes on
sheets := .venv/bin/python -m benchmarks.model_sheets
coarsely := --coarse --across 4 --side 96 --samples 16
box-sheets: setup-all
	$(sheets) docs/box.jpg box $(coarsely)
	$(sheets) docs/zoo.jpg zoo $(coarsely)

# A page, figures and a badge for every class of the pretrained models, from the data that they learnt from; OBJECTS of
# each class, about 3 CPU-seconds each. The same command goes on where it stopped (docs/evaluation.md).
OBJECTS ?= 1
card = .venv/bin/gp3d evaluate $(1) runs/box/$(2) --report --pixels 64 --truncation 0.7 --shapes $$(($(3) * $(OBJECTS))) \
  --out runs/cards/$(1)-$(OBJECTS) --device cpu && \
  .venv/bin/python tools/report_cards.py $(1) runs/cards/$(1)-$(OBJECTS)

report-cards: setup
	$(call card,box,train,161)
	$(call card,zoo,zoo-train,125)
	.venv/bin/python tools/build_addon.py --classes

check: setup-all
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Files of tests share the cores; each test of the core keeps torch to one thread.
test: check
	.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile

# Damaged files and requests of all kinds for so long, with a table of what was tried and held (docs/security.md)
faults: setup-all
	.venv/bin/python -m tests.faults --minutes $(or $(MINUTES),5) $(if $(FIRST),--first $(FIRST)) $(if $(COUNT),--count $(COUNT)) \
	  $(if $(ONLY),--only "$(ONLY)")

# Known weaknesses of what is installed. The tool has an environment of its own: nobody else needs it.
audit: setup
	@tools/audit.sh

# Blenders are kept in .cache/bpy
test-blender: setup-all
	PYTHON313="$(PYTHON313)" .venv/bin/python tools/blender_versions.py $(VERSIONS)

format: setup-all
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: setup-all
	@tools/setup.sh docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo "build/site/index.html"

# What tests read glTF files with besides our own reader; without them those tests are skipped, and say so.
readers:
	npm install --no-audit --no-fund --prefix $(cache)/node gltf-validator@2.0.0-dev.3.10 meshoptimizer@1.3.0

# What tests open galleries with; without it those tests are skipped, and say so.
browser:
	apt-get update -qq && apt-get install -y --no-install-recommends chromium

addon: setup
	.venv/bin/python tools/build_addon.py

# CLASSES="coffee mug, mushroom" SEEDS=0-3 OUT=folder choose; BLENDER=program (5.2 or newer) lists it for web servers.
asset-library: setup-all
	.venv/bin/python tools/asset_library.py "$(or $(OUT),runs/asset-library)" $(if $(SEEDS),--seeds "$(SEEDS)") \
	  $(if $(CLASSES),--classes "$(CLASSES)") $(if $(BLENDER),--blender "$(BLENDER)")

addon-gui: setup-all
	.venv/bin/python tools/addon_gui.py --blender "$(or $(BLENDER),blender)"

clean:
	rm -rf .venv .cache build dist gp3d.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-runs:
	rm -rf runs
