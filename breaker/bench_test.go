package breaker_test

import (
	"context"
	"testing"

	"github.com/failsoft/failsoft/breaker"
)

func BenchmarkAllowDone(b *testing.B) {
	breakers := breaker.MustNew(breaker.Config{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		call, err := breakers.Allow(ctx, "api.example.com:8080")
		if err != nil {
			b.Fatal(err)
		}
		call.Done(nil)
	}
}
