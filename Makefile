# Each target works as the first command on a fresh Debian 12 machine with Node 20 or newer.
.PHONY: setup demo test test-asan test-interop fuzz lint bench docs clean

setup: ## install what is missing and build
	@scripts/setup.sh

demo: setup ## train a small MoE on real text, in minutes
	@node scripts/demo.mjs

test: setup lint ## everything that is checked
	@scripts/test.sh

test-asan: setup ## the native code's tests under the address and undefined-behaviour sanitizers
	@scripts/test-asan.sh

test-interop: setup ## what llama.cpp makes of the GGUF files that we write (fetches it from npm, 85 MB)
	@cd tests/interop && npm ci --omit=optional --no-audit --no-fund --loglevel=error
	@npx --no-install vitest run tests/interop

fuzz: setup ## 20,000 damaged model files
	@FUZZ_CASES=20000 npx --no-install vitest run tests/fuzz

lint: node_modules ## format, lint, types, import floors
	@npm run --silent lint
	@npm run --silent typecheck

bench: setup ## measure against peers, in one run each (installs python3-torch and fetches llama.cpp, the peers)
	@scripts/bench.sh

docs: node_modules ## the API reference, from the code, into docs/api
	@npx --no-install typedoc

clean: ## remove what was built
	rm -rf build dist docs/api

node_modules:
	@scripts/setup.sh
