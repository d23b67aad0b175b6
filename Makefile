# edgeIO. "make help" lists the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)

PROGRAMS = agent/cmd/edgeagent control/cmd/edgecontrol control/cmd/edgectl drivers/cmd/edgeshim drivers/cmd/edgehvt

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

export PATH := $(CURDIR)/bin/tools:$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./,$(PROGRAMS))

.PHONY: demo
demo: build ## try it: a whole installation on this machine, with jobs running
	packaging/demo/demo.sh start

.PHONY: demo-stop
demo-stop: ## stop the demo and leave nothing behind
	packaging/demo/demo.sh stop

.PHONY: check
check: ## quick unit tests, no daemons needed
	$(GO) vet ./...
	$(GO) test -short ./agent/... ./capabilities/... ./control/... ./drivers ./drivers/drivertest ./drivers/fake ./proto/... ./testbeds/rules

.PHONY: test
test: build ## everything: sets up what is needed (as root), unit, conformance and end-to-end tests, short fuzzing
	testbeds/setup/run.sh $(MAKE) --no-print-directory test-all

# What "make test" runs once the daemons are there.
.PHONY: test-all
test-all: generated
	$(GO) test -race -timeout 15m ./...
	testbeds/fuzz.sh $(FUZZTIME)

FUZZTIME ?= 2s

.PHONY: fuzz
fuzz: ## fuzz each target for a minute
	testbeds/fuzz.sh 60s

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, rules of the repository
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test ./testbeds/rules

.PHONY: bench
bench: build ## measure; nothing is asserted
	testbeds/setup/run.sh $(GO) run ./testbeds/bench

.PHONY: generate
generate: ## regenerate committed code (needs protoc)
	$(GO) build -o bin/tools/ google.golang.org/protobuf/cmd/protoc-gen-go storj.io/drpc/cmd/protoc-gen-go-drpc
	protoc -I proto --go_out=proto --go_opt=paths=source_relative \
	  --go-drpc_out=proto --go-drpc_opt=paths=source_relative proto/edgeio/v1/edgeio.proto
	$(GO) generate ./proto/job

# Fails if generating again changes what is committed. The comment with
# protoc's version may differ between distributions.
.PHONY: generated
generated: generate
	git diff --exit-code -I '^// .*protoc .*v' -- proto

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
