# Shorthands. What they do in full, and everything a change must pass, is in .ci/run.

FUZZTIME ?= 30
ARGS ?=
DURATION ?= 1h
BASE ?=

.PHONY: help test race lint fuzz bench instructions example ci cover soak

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/'

test: ## the tests of the main module, without the race detector
	go test ./...

race: ## the tests of every module, with the race detector
	.ci/run race

lint: ## gofmt, go vet and golangci-lint
	.ci/run format vet lint

fuzz: ## every fuzz target for FUZZTIME seconds
	FUZZTIME=$(FUZZTIME) FUZZ_BUDGET=86400 .ci/run fuzz

bench: ## the benchmarks of test/bench; ARGS="-quick" for a short run
	cd test/bench && go run . $(ARGS)

instructions: ## instructions per operation, by perf or valgrind; BASE=commit to compare
	test/instructions/count $(if $(BASE),-base $(BASE))

example: ## every example, with the flags CI gives them
	.ci/run examples

ci: ## everything
	.ci/run

cover: ## how much of pkg the tests of the main module reach
	go test -coverpkg=./pkg/... -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -n 1

soak: ## faults of all sorts for DURATION; memory, goroutines and descriptors are plotted to soak.svg
	go test ./test/chaos -run '^TestSoak$$' -count=1 -v -timeout 0 -soak=$(DURATION) -svg=$(CURDIR)/soak.svg
