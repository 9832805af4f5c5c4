# In an environment with `pip install -e '.[test]'`. What is in which tier, and how long it takes: docs/trust.md.
PYTEST = python -m pytest -n 2 --dist loadfile

.PHONY: check test slow long docs

check: # lint and types
	ruff check . && ruff format --check . && mypy

test: # before every commit
	$(PYTEST)

slow: # what .ci/run runs after that
	$(PYTEST) -m slow

long: # hours, by hand
	$(PYTEST) -m long
	python tests/fuzz/run.py --count 10000 --seed 0 --kinds data,keras,checkpoint,image,onnx --jobs 2
	python tests/kill/run.py --kills 100 --terms 20 --disks 20 --models functional,sequential,resnet50 --seed 0
	scripts/check_versions.sh

docs: # the site, in site/
	mkdocs build --strict
