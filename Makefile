# In an environment with `pip install -e '.[test]'`. The tiers and their times: docs/trust.md.
PYTEST = python -m pytest -n 2 --dist loadfile

.PHONY: check test slow long docs

check: # lint, types, and which module may import which
	ruff check . && ruff format --check . && mypy && lint-imports

test: # before every commit
	$(PYTEST)

slow: # what .ci/run runs after that
	$(PYTEST) -m slow

long: # hours, by hand
	$(PYTEST) -m long
	scripts/check_versions.sh

docs: # the site, in site/
	mkdocs build --strict
