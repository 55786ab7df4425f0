//go:build !race

package backpressure_test

const manyKeys = 1_000_000
