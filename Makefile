# Every target makes .venv first when it is missing or no longer as requirements.lock says.
.DEFAULT_GOAL := help
.PHONY: help setup hello demo test tutorials newcomer pictures test-recipes test-slow mutate fuzz campaign other-projects gpu-day check docs format bench lock wheel test-wheel clean
export PYTHON
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 16

setup:  ## make .venv (Python 3.10-3.12, a C compiler); at once when it is up to date
	@sh scripts/setup.sh

hello: setup  ## the first result, in half a minute: train a small network, separate two voices with it
	@$(BIN)/python recipes/hello.py

demo: setup  ## corpus, training, evaluation, separated files and a report in results/demo (about 6 minutes)
	@$(BIN)/python recipes/PolSESS/demo.py

test: setup  ## the tests and the examples in docstrings, without the slow ones
	@$(PYTEST)

test-recipes: setup  ## the recipe files that the fast tests leave out: each trains, validates, tests and exports
	@$(PYTEST) tests/recipes/test_recipes.py -m slow

tutorials: setup  ## the notebooks of docs/tutorials and the network of docs/extending.md, run in empty folders (3 minutes)
	@$(PYTEST) tests/docs/test_tutorials.py tests/docs/test_extending.py -m slow --durations 0

pictures: demo  ## the picture and the sound samples of the README, from what make demo leaves
	@$(BIN)/python docs/make_figure.py

newcomer:  ## README.md, docs/start.md and the commands of all pages, word by word, in an empty folder (5 minutes)
	@bash tests/newcomer.sh

test-slow: setup  ## all tests
	@$(PYTEST) -m "not gpu"

mutate: setup  ## break the code one line at a time, about 90 times; each break must fail a test (15 minutes)
	@$(BIN)/python scripts/mutate.py

fuzz: setup  ## change files, tables, options and models at random; each is read as it is or refused (15 minutes)
	@$(BIN)/python scripts/fuzz.py

campaign: setup  ## kill trainings 200 times, start them again and compare their ends bit by bit (about 20 minutes)
	@$(BIN)/python scripts/campaign.py

other-projects: setup  ## the adapters to Asteroid, ClearVoice, DTLN and DeepFilterNet3, in environments of their own (about 15 GB, 10 minutes)
	@sh scripts/other_projects.sh

gpu-day: setup  ## on a GPU: check, measure and tune the scan, time and train the presets; ARGS="-o FOLDER" (docs/gpu.md)
	@$(BIN)/python scripts/gpu_day.py $(ARGS)

check: setup  ## lint, format, types, YAML, spelling
	@sh scripts/check.sh

docs: setup  ## the site in build/site (open index.html), searchable without a server; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict

format: setup  ## fix what ruff can fix
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: setup  ## measure, for about two hours; writes benchmarks/results/*.json
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file; done

lock: setup  ## resolve requirements.lock again from setup.py
	@sh scripts/lock.sh

wheel: setup  ## the source distribution and the wheel in dist/, built anew and checked
	@sh scripts/wheel.sh

test-wheel: setup  ## the wheel in an empty environment, with the dependencies it asks for (downloads 3 GB, 4-12 minutes)
	@$(BIN)/python -m pytest tests/test_wheel.py -m "slow or not slow"

clean:  ## remove .venv, caches and build folders (results/ stays)
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
