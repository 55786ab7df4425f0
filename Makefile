# Every target is a step of .ci/run: what passes here is what passes there.

.DEFAULT_GOAL := ci

.PHONY: ci test modules lint race fuzz drill conformance bench clean fix

ci:
	bash .ci/run

test modules lint race fuzz drill conformance bench clean:
	bash .ci/run $@

# What the linters can mend by themselves.
fix:
	go -C tools build -o ../.cache/bin/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	.cache/bin/golangci-lint run --fix ./...
