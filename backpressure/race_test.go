//go:build race

package backpressure_test

// manyKeys are fewer under the race detector, which makes each ten times as dear.
const manyKeys = 10_000
