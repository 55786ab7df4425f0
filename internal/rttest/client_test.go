package rttest_test

import (
	"net/http"
	"testing"

	"github.com/failsoft/failsoft/internal/rttest"
)

func TestClientPassesForABarePassThrough(t *testing.T) {
	rttest.Client(t, func(next http.RoundTripper) http.RoundTripper { return next })
}

func TestClientPassesForARetrier(t *testing.T) {
	rttest.Client(t, func(next http.RoundTripper) http.RoundTripper { return newRetrier(next) })
}

func TestClientPassesForAHedger(t *testing.T) {
	rttest.Client(t, func(next http.RoundTripper) http.RoundTripper { return &hedger{next: next} }, rttest.Overlaps)
}

func TestClientPassesForANest(t *testing.T) {
	rttest.Client(t, func(next http.RoundTripper) http.RoundTripper {
		return newRetrier(&hedger{next: newRetrier(next)})
	}, rttest.Overlaps)
}
