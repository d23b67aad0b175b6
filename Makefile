# edgeIO. "make help" lists the targets.

GO       ?= go
export PATH := $(CURDIR)/bin/tools:$(PATH)

.PHONY: generate
generate: ## regenerate committed code (needs protoc)
	$(GO) build -o bin/tools/ google.golang.org/protobuf/cmd/protoc-gen-go storj.io/drpc/cmd/protoc-gen-go-drpc
	protoc -I proto --go_out=proto --go_opt=paths=source_relative \
	  --go-drpc_out=proto --go-drpc_opt=paths=source_relative proto/edgeio/v1/edgeio.proto
