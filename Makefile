# Everything a developer or CI does. Only Go is needed, and Postgres binaries for most tests.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Tools are pinned in a module of their own; the first use builds them, which takes minutes.
TOOL := go tool -modfile=internal/tools/go.mod
# A checkout without tags gives the commit, a folder without git gives devel.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GENERATED := openapi/openapi.yaml openapi/openapi-3.0.yaml migrations/schema.sql internal/docs/metrics.md

# ARGS goes to the command that run and bench start, TESTFLAGS to go test, FUZZTIME is for each target.
ARGS ?=
TESTFLAGS ?=
FUZZTIME ?= 10s

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## the whole hub on this machine, with a Postgres and a demo tenant of its own
	./bin/tributary dev $(ARGS)

.PHONY: build
build: ## bin/tributary
	@echo 'building; the first time takes some minutes'
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/tributary ./cmd/tributary

# Where CI is set the race detector is on, and a skipped test is a failure: there nothing may be missing. A fuzz
# target that skips a seed only says that it is no valid input. The API is tested once more, through a pooler.
.PHONY: test
test: ## all tests; what this machine lacks (npm, Chromium) skips with a sentence
ifeq ($(CI),)
	go test $(TESTFLAGS) ./...
else
	@report=$$(mktemp) && trap 'rm -f "$$report"' EXIT; status=0; \
	$(TOOL) gotestsum --format standard-quiet --jsonfile "$$report" -- \
		-race -count=1 -timeout=20m $(TESTFLAGS) ./... || status=$$?; \
	TRIBUTARY_TEST_POOLER=pgbouncer $(TOOL) gotestsum --format standard-quiet -- -race -count=1 -timeout=20m $(TESTFLAGS) ./internal/api || status=$$?; \
	skipped=$$(sed -n 's/.*"Action":"skip".*"Package":"\([^"]*\)","Test":"\([^"]*\)".*/  \1 \2/p' "$$report" | { grep -v ' Fuzz' || true; }); \
	if [ -n "$$skipped" ]; then printf 'skipped, which CI does not accept:\n%s\n' "$$skipped" >&2; status=1; fi; \
	exit $$status
endif

.PHONY: check
check: check-format vet lint check-generated check-modules check-deploy ## what a reviewer may assume: formatting, vet, linters, generated files, modules

.PHONY: check-format
check-format:
	$(TOOL) golangci-lint fmt --diff

.PHONY: vet
vet:
	go vet ./...

.PHONY: lint
lint: ## the linters alone
	$(TOOL) golangci-lint run

.PHONY: check-generated
check-generated:
	@before=$$(cksum $(GENERATED) 2>&1 || true); \
	$(MAKE) generate; \
	if [ "$$before" != "$$(cksum $(GENERATED) 2>&1)" ]; then \
		echo 'these were out of date, and are new now; look at them and commit them: $(GENERATED)' >&2; exit 1; \
	fi

.PHONY: check-modules
check-modules:
	go mod tidy -diff
	go mod verify

# What stands in deploy, by the parsers of those who read it. Their modules are not the product's.
.PHONY: check-deploy
check-deploy: ## chart, manifest, Dockerfile, compose.yaml and units; the first time builds the parsers, for minutes
	cd deploy/check && go mod tidy -diff && go test -count=1 ./... && \
		go tool -modfile=../../internal/tools/go.mod golangci-lint run --config=../../.golangci.yml

.PHONY: generate-deploy
generate-deploy: ## the chart's copy of the alert rules, and deploy/kubernetes/tributary.yaml of the chart
	cd deploy/check && go test -count=1 -run '^(TestAlerts|TestManifest)$$' . -args -update

.PHONY: fmt
fmt: ## formats, and mends what linters can mend
	$(TOOL) golangci-lint run --fix

# Each file is written beside its place first, so that a failure leaves the old one.
.PHONY: generate
generate: ## OpenAPI documents, the dump of the schema, the table of metrics
	@mkdir -p bin openapi
	go run ./cmd/tributary openapi --format yaml --version 3.1 >bin/openapi.new && mv bin/openapi.new openapi/openapi.yaml
	go run ./cmd/tributary openapi --format yaml --version 3.0 >bin/openapi.new && mv bin/openapi.new openapi/openapi-3.0.yaml
	go test ./internal/store -count=1 -run '^TestSchemaDump$$' -update
	go test ./internal/app -count=1 -run '^TestMetricsTable$$' -update

.PHONY: verify
verify: check ## check and test, as CI does it: a skipped test is a failure
	$(MAKE) test CI=true

.PHONY: bench
bench: build ## acknowledged webhooks/s and CPU, beside what this Postgres can do
	./bin/tributary bench $(ARGS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@go test -list '^Fuzz' ./... | \
	awk '/^Fuzz/ { names[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print $$2, names[i]; n = 0 }' | \
	while read -r package name; do \
		echo "$$package $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
	done
