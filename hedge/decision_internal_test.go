package hedge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/failsoft/failsoft/internal/outcome"
)

func TestVerdictOfAStatus(t *testing.T) {
	for status, want := range map[int]verdict{
		101: accepted, 200: accepted, 204: accepted, 206: accepted, 302: accepted, 304: accepted, 399: accepted,
		400: accepted, 401: accepted, 404: accepted, 408: accepted, 409: accepted, 425: accepted, 428: accepted,
		429: hopeless,
		430: accepted, 499: accepted,
		500: hopeless,
		501: accepted,
		502: failed, 503: failed, 504: failed,
		505: hopeless, 507: hopeless, 511: hopeless, 520: hopeless, 599: hopeless, 600: hopeless,
	} {
		f := facts{kind: outcome.OfStatus(status), status: status}
		assert.Equal(t, want, f.verdict(), status)
	}
}

func TestVerdictOfAnError(t *testing.T) {
	for kind, want := range map[outcome.Kind]verdict{
		outcome.OK:       accepted, // of Do
		outcome.Timeout:  failed,
		outcome.Unsent:   failed,
		outcome.Broken:   failed,
		outcome.Refused:  hopeless,
		outcome.Canceled: hopeless,
	} {
		f := facts{kind: kind}
		assert.Equal(t, want, f.verdict(), kind)
		f.hint, f.hinted = time.Second, true
		assert.Equal(t, want, f.verdict(), "%v: a hint is the gate's business", kind)
	}
}

func TestJudgeHasTheLastWord(t *testing.T) {
	for kind := outcome.OK; kind <= outcome.Refused; kind++ {
		for _, status := range []int{0, 200, 404, 429, 500, 501, 503} {
			f := facts{kind: kind, status: status, judged: Accept}
			assert.Equal(t, accepted, f.verdict(), "%v, %d", kind, status)
			f.judged = Fail
			assert.Equal(t, failed, f.verdict(), "%v, %d", kind, status)
		}
	}
	f := facts{kind: outcome.Broken, judged: Outcome(99)}
	assert.Equal(t, failed, f.verdict(), "what is none of the outcomes is by rule")
}

func TestPushesBack(t *testing.T) {
	for name, c := range map[string]struct {
		facts facts
		want  bool
	}{
		"200":                    {facts{kind: outcome.OK, status: 200}, false},
		"200, hint":              {facts{kind: outcome.OK, status: 200, hinted: true}, false},
		"301, hint":              {facts{kind: outcome.OK, status: 301, hinted: true}, false},
		"413, hint":              {facts{kind: outcome.ClientError, status: 413, hinted: true}, false},
		"429":                    {facts{kind: outcome.Throttled, status: 429}, true},
		"429, hint":              {facts{kind: outcome.Throttled, status: 429, hinted: true}, true},
		"429, judged good":       {facts{kind: outcome.Throttled, status: 429, judged: Accept}, true},
		"500, hint":              {facts{kind: outcome.ServerError, status: 500, hinted: true}, false},
		"502, hint":              {facts{kind: outcome.ServerError, status: 502, hinted: true}, false},
		"503":                    {facts{kind: outcome.ServerError, status: 503}, false},
		"503, hint":              {facts{kind: outcome.ServerError, status: 503, hinted: true}, true},
		"503, hint, judged good": {facts{kind: outcome.ServerError, status: 503, hinted: true, judged: Accept}, true},
		"504, hint":              {facts{kind: outcome.ServerError, status: 504, hinted: true}, false},
		"error":                  {facts{kind: outcome.Broken}, false},
		"error, hint":            {facts{kind: outcome.Broken, hinted: true}, true},
		"unsent, hint":           {facts{kind: outcome.Unsent, hinted: true}, true},
		"refused":                {facts{kind: outcome.Refused}, false},
		"refused, hint":          {facts{kind: outcome.Refused, hinted: true}, false}, // one of our policies, not the server
		"timeout":                {facts{kind: outcome.Timeout}, false},
		"canceled":               {facts{kind: outcome.Canceled}, false},
	} {
		assert.Equal(t, c.want, c.facts.pushesBack(), name)
	}
}

func TestTellsOfLoad(t *testing.T) {
	for kind := outcome.OK; kind <= outcome.Refused; kind++ {
		silent := kind == outcome.Unsent || kind == outcome.Refused || kind == outcome.Canceled
		f := facts{kind: kind}
		assert.Equal(t, !silent, f.tellsOfLoad(), kind)
	}
}
