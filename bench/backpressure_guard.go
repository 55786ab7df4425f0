package bench

import (
	"context"
	"net/http"
	"runtime"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/go-kratos/aegis/ratelimit"
	"github.com/go-kratos/aegis/ratelimit/bbr"
	"github.com/zeromicro/go-zero/core/load"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/stat"

	"github.com/failsoft/failsoft/backpressure"
)

// Guard is a limiter in front of a handler.
type Guard struct {
	Name string
	Wrap func(next http.Handler) http.Handler
}

// Guards returns ours at its defaults, nothing, a plain semaphore, and the rivals at
// theirs. go-zero and kratos have middlewares that come with the rest of them: here is
// what those do, without.
func Guards() []Guard {
	quiet()
	return []Guard{
		{nameOurs, func(next http.Handler) http.Handler {
			return backpressure.MustNew(backpressure.Config{}).Handler(next)
		}},
		{"no limit", func(next http.Handler) http.Handler { return next }},
		{"failsafe, adaptive", func(next http.Handler) http.Handler {
			return failsafehttp.NewHandler(next, adaptivelimiter.NewWithDefaults[*http.Response]())
		}},
		{"go-zero", goZeroGuard},
		{"kratos", kratosGuard},
		{"semaphore, 2 per processor", func(next http.Handler) http.Handler {
			return fixedLimiter(2 * runtime.GOMAXPROCS(0)).Handler(next)
		}},
	}
}

// RefuseAll refuses all requests as ours does: what that costs, nobody can do without.
func RefuseAll(next http.Handler) http.Handler {
	l := fixedLimiter(1)
	_, _ = l.TryAcquire(context.Background(), backpressure.Request{}) // for ever
	return l.Handler(next)
}

func fixedLimiter(n int) *backpressure.Limiter {
	return backpressure.MustNew(backpressure.Config{
		Limit: backpressure.Fixed(n), MaxWait: backpressure.Off, CPUThreshold: backpressure.Off,
	})
}

func goZeroGuard(next http.Handler) http.Handler {
	shedder := load.NewAdaptiveShedder()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		promise, err := shedder.Allow()
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		defer promise.Pass()
		next.ServeHTTP(w, req)
	})
}

// quiet makes go-zero log nothing: a line for each refusal would be what is measured.
func quiet() {
	logx.Disable()
	stat.SetReporter(nil)
}

func kratosGuard(next http.Handler) http.Handler {
	limiter := bbr.NewLimiter()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		done, err := limiter.Allow()
		if err != nil {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		defer done(ratelimit.DoneInfo{})
		next.ServeHTTP(w, req)
	})
}
