# make demo   the whole story on a throwaway PostgreSQL, about a minute
# make test   every test, on every PostgreSQL that is found
# make torture MINUTES=5 [SEED=7] [MAJOR=18]   random faults under load: docs/testing.md
.POSIX:
.PHONY: setup demo test torture lint bench clean docs

BIN = .venv/bin
JOBS = 2
MINUTES = 5

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt tools/setup
	@tools/setup

demo: setup
	@$(BIN)/pgkeep demo

test: setup
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q $(ARGS)

torture: setup
	@PYTHONPATH=tests $(BIN)/python -m torture --minutes $(MINUTES) \
		$(SEED:%=--seed=%) $(MAJOR:%=--major=%)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/docs.py --check

docs: setup
	@$(BIN)/python tools/docs.py

bench: setup
	@$(BIN)/python -m bench.run $(ARGS)

clean:
	rm -rf .venv build dist bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis
