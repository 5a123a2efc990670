# Every command a user types. `make help` prints them.
.DEFAULT_GOAL := help
.PHONY: help setup run task loop components serve stop gate-int8 dry-run compile create-secret api-deploy ui-deploy api-destroy ui-destroy status logs doctor preflight check-manifests images push images-test registry mlflow docs starter drill benchmark test browser lint clean

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
WHETSTONE_HOME ?= .whetstone
export WHETSTONE_HOME

# make run MODEL=HuggingFaceTB/SmolLM2-135M-Instruct DATASET=rajpurkar/squad RECIPE=my.yaml ARGS="training.num_train_epochs=1"
OVERRIDES = $(if $(MODEL),model.model_id=$(MODEL)) $(if $(DATASET),data.dataset_id=$(DATASET)) $(ARGS)
LOOK = $(if $(RECIPE),--recipe $(RECIPE)) $(OVERRIDES)
PIPELINE = $(BIN)/python -m llm-pipelines.fine-tune-pipeline $(if $(RECIPE),--recipe $(RECIPE)) $(OVERRIDES)

help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make the virtual environment (.venv) with every package pinned

$(VENV)/.installed: requirements.txt components/requirements.txt llm-endpoint/requirements.txt ui/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found. Install Python 3.11, or name yours: make setup PYTHON=python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: $(PYTHON) is not Python 3.11, which the pinned packages need. Name one: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: cannot make $(VENV). Install the venv module (Debian: apt-get install python3.11-venv)."; exit 2; }
	@echo "Installing the pinned packages into $(VENV) (2-4 minutes, once)"
	@$(BIN)/pip install -qq --disable-pip-version-check --no-input -r requirements.txt
	@touch $@

run: setup ## Fine-tune, evaluate, gate, register, and serve what passed with its page (MODEL= DATASET= RECIPE= ARGS=)
	@$(PIPELINE) --serve

task: setup ## Train a task of the catalogue, judge, register and serve it (TASK=ner TRAIN=rows VALIDATION= TEST= MODEL= ARGS="name=value ...")
	@$(BIN)/python -m llm-pipelines.task-pipeline $(or $(TASK),classification_single_label) $(if $(TRAIN),train_file=$(TRAIN)) \
		$(if $(VALIDATION),validation_file=$(VALIDATION)) $(if $(TEST),test_file=$(TEST)) $(if $(MODEL),model_id=$(MODEL)) $(ARGS)

loop: setup ## Train a small model until it can stand in for a service LLM (DATASET= MODEL= RECIPE= ARGS="judge.provider=openai ...")
	@$(BIN)/python -m llm-pipelines.llmops-loop-pipeline $(if $(RECIPE),--recipe $(RECIPE)) $(if $(DATASET),reference.dataset_id=$(DATASET)) \
		$(if $(MODEL),model.model_id=$(MODEL)) $(ARGS)

components: setup ## Publish the catalogue's components as YAML with an index (ARGS=--replace)
	@$(BIN)/python -m llm-pipelines.catalogue publish $(ARGS)

serve: setup ## Serve any model with its page (MODEL=folder-or-id; the newest registered one when empty)
	@$(BIN)/python -m llm-pipelines.serve start $(if $(MODEL),--model $(MODEL))

stop: setup ## Stop what `make run` or `make serve` left running
	@$(BIN)/python -m llm-pipelines.serve stop

gate-int8: setup ## Judge a model with int8 weights before it may be served so (MODEL=folder DATASET=rows)
	@$(BIN)/python -m llm-pipelines.gate-int8 --model $(MODEL) --dataset-dir $(DATASET)

dry-run: setup ## Check the recipe and print every value with its origin
	@$(PIPELINE) --dry-run

compile: setup ## Write the compiled pipeline to build/fine-tune-pipeline.yaml
	@$(PIPELINE) --compile-only build/fine-tune-pipeline.yaml

doctor: setup ## Say what the cluster lacks for a recipe and the endpoint; changes nothing (RECIPE= MODEL= DATASET= ARGS= OVERLAY=)
	@$(BIN)/python -m llm-pipelines.doctor $(LOOK)

preflight: setup ## Memory and time of a run, held against the cluster's GPUs (RECIPE= MODEL= DATASET= ARGS=)
	@$(BIN)/python -m llm-pipelines.preflight $(LOOK)

create-secret: ## Put HF_TOKEN and HF_REPO into the cluster as secret huggingface-secret
	@for name in HF_TOKEN HF_REPO; do \
		eval "value=\$$$$name"; [ -n "$$value" ] || { echo "Error: env var $$name is not set. Please set it and try again." >&2; exit 1; }; done
	@$(MAKE) --no-print-directory setup
	@$(BIN)/python -m llm-pipelines.create-secret

CLUSTER = @$(BIN)/python -m llm-pipelines.cluster

api-deploy: setup ## Bring the endpoint into the cluster, secrets first (OVERLAY= NAMESPACE= MODEL= REGISTRY= TAG=)
	$(CLUSTER) api-deploy $(ARGS)

ui-deploy: setup ## Bring the page into the cluster (OVERLAY= NAMESPACE= REGISTRY= TAG=)
	$(CLUSTER) ui-deploy $(ARGS)

api-destroy: setup ## Take the endpoint and its secrets out of the cluster; volumes stay
	$(CLUSTER) api-destroy $(ARGS)

ui-destroy: setup ## Take the page out of the cluster
	$(CLUSTER) ui-destroy $(ARGS)

status: setup ## Say what is deployed, whether it is ready, and why not
	$(CLUSTER) status

logs: setup ## Last lines of the pods (PART=api|ui LINES=100)
	$(CLUSTER) logs $(or $(PART),api) --lines $(or $(LINES),100)

check-manifests: setup ## Find what nothing in a cluster refuses and goes wrong later (MANIFESTS=folder; all of ours when empty)
	@$(BIN)/python -m llm-pipelines.check-manifests $(MANIFESTS)

images: ## Build the images (IMAGES="pipeline api ui" VARIANT=cuda TAG= REGISTRY= BUILDER=docker|podman|buildah)
	@$(PYTHON) -m images.build

push: ## Push the images to REGISTRY and print their digests
	@$(PYTHON) -m images.push

images-test: setup ## Build the images and run each as a pod does, as root (IMAGES="api ui")
	@$(BIN)/python -m images.trial

registry: setup ## Print the registered models that this namespace may use (KFP_NAMESPACE=)
	@$(BIN)/python -m llm-pipelines.registry list

mlflow: setup ## Open the runs and registered models at http://127.0.0.1:5000
	@$(BIN)/mlflow server --backend-store-uri sqlite:///$(abspath $(WHETSTONE_HOME))/mlflow.db --artifacts-destination $(abspath $(WHETSTONE_HOME))/mlruns --host 127.0.0.1 --port $(or $(PORT),5000)

docs: setup ## Write docs/recipe.md and docs/catalogue-parameters.md again from the types
	@$(BIN)/python -m components.core.recipe.reference
	@$(BIN)/python -m components.core.catalogue.reference

starter: setup ## Rebuild the embedded base model and its question set (hours)
	@$(BIN)/python -m components.starter.rebuild

drill: setup ## Fail the service behind the endpoint in five ways and print what users saw (MODEL= ARGS="--outage-seconds 60")
	@$(BIN)/python -m llm-pipelines.drill $(if $(MODEL),--model $(MODEL)) $(ARGS)

AREAS := data_preparation training_loop pipeline_overhead engines start_up serving_layer tracing grounding memory_estimate head_inference head_serving chat_preparation chat_memory adapter_swap gpu_training batch_inference judge_calls fallback

benchmark: setup ## Measure against named peers (AREA=one of them, AREA=list names them; all when empty)
	@if [ "$(AREA)" = list ]; then echo $(AREAS); exit; fi; \
		$(BIN)/pip install -qq --disable-pip-version-check --no-input -r benchmarks/requirements.txt || exit 1; \
		for area in $(or $(AREA),$(AREAS)); do $(BIN)/python -m benchmarks.$$area || exit 1; done

test: lint browser ## Lint, type-check and run all tests (WORKERS=2 at once, a core each)
	@OMP_NUM_THREADS=$(or $(OMP_NUM_THREADS),1) $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile

browser: # Chromium for the tests of the page, where it can be installed without asking anybody
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Chromium for the browser tests" && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
		echo "No Chromium here: the browser tests are skipped. Install it to run them (Debian: apt-get install chromium)."

lint: setup ## Style and types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy components llm-endpoint/llm_endpoint ui images benchmarks
	@$(BIN)/mypy llm-pipelines/*.py llm-pipelines/remote/*.py

clean: ## Remove runs, caches and the local registry (keeps .venv)
	@rm -rf $(WHETSTONE_HOME) build .pytest_cache .mypy_cache .ruff_cache
