package backpressure_test

import (
	"testing"

	"github.com/failsoft/failsoft/backpressure"
)

func BenchmarkAcquire(b *testing.B) {
	l := backpressure.MustNew(backpressure.Config{})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		p, err := l.Acquire(ctx, backpressure.Request{})
		if err != nil {
			b.Fatal(err)
		}
		p.Done(backpressure.Success)
	}
}

func BenchmarkRefuse(b *testing.B) {
	l := backpressure.MustNew(backpressure.Config{Limit: backpressure.Fixed(1), MaxWait: backpressure.Off})
	ctx := b.Context()
	p, _ := l.Acquire(ctx, backpressure.Request{})
	defer p.Done(backpressure.Success)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.TryAcquire(ctx, backpressure.Request{})
	}
}
