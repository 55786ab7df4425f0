package healthcheck_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// draftPage is an answer in the terms of draft-inadarei-api-health-check-06.
// Fields that it does not know are errors, but for impact, which is ours.
type draftPage struct {
	Status      string                  `json:"status"`
	Version     string                  `json:"version"`
	ReleaseID   string                  `json:"releaseId"`
	Notes       []string                `json:"notes"`
	Output      string                  `json:"output"`
	ServiceID   string                  `json:"serviceId"`
	Description string                  `json:"description"`
	Links       map[string]string       `json:"links"`
	Checks      map[string][]draftCheck `json:"checks"`
}

type draftCheck struct {
	ComponentID       string            `json:"componentId"`
	ComponentType     string            `json:"componentType"`
	ObservedValue     json.RawMessage   `json:"observedValue"`
	ObservedUnit      string            `json:"observedUnit"`
	Status            string            `json:"status"`
	AffectedEndpoints []string          `json:"affectedEndpoints"`
	Time              string            `json:"time"`
	Output            string            `json:"output"`
	Links             map[string]string `json:"links"`
	Impact            string            `json:"impact"`
}

// uriTemplate is the grammar of RFC 6570, as far as a template without modifiers
// goes: literals are what may stand in a URI, or is not ASCII.
var uriTemplate = regexp.MustCompile(
	"^(?:[!#$&(-;=?-\\[\\]_a-z~']|[^\\x00-\\x7f]|%[0-9A-Fa-f]{2}|" +
		`\{[+#./;?&]?(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+(?:\.(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+)*\})*$`)

// judge reads an answer, and holds it against the rules of the draft.
func judge(t *testing.T, w *httptest.ResponseRecorder) (page draftPage) {
	t.Helper()
	assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&page), "%s", w.Body)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF, "more than one document: %s", w.Body)

	judgeStatus(t, "the whole", page.Status, page.Output)
	if page.Status == "fail" {
		assert.GreaterOrEqual(t, w.Code, 400, "fail MUST be 4xx or 5xx")
	} else {
		assert.Less(t, w.Code, 400, "%s MUST be 2xx or 3xx", page.Status)
	}
	assert.Contains(t, string(w.Body.Bytes()[:20]), `"status"`, "what matters comes first")
	for of, all := range page.Checks {
		assert.LessOrEqual(t, strings.Count(of, ":"), 1, "%q: a component and a measurement are all that a colon parts", of)
		assert.NotEmpty(t, all, of)
		for _, check := range all {
			judgeCheck(t, of, check)
		}
	}
	return page
}

func judgeStatus(t *testing.T, of, status, output string) {
	t.Helper()
	assert.True(t, slices.Contains([]string{"pass", "warn", "fail"}, status), "%s: status %q", of, status)
	if status == "pass" {
		assert.Empty(t, output, "%s: output SHOULD be omitted for pass", of)
	}
}

func judgeCheck(t *testing.T, of string, check draftCheck) {
	t.Helper()
	judgeStatus(t, of, check.Status, check.Output)
	assert.True(t, slices.Contains([]string{"critical", "degrades", "informational"}, check.Impact), "%s: %q", of, check.Impact)
	if check.Time != "" {
		_, err := time.Parse(time.RFC3339, check.Time)
		assert.NoError(t, err, of)
	}
	if check.ObservedValue != nil {
		assert.NotEmpty(t, check.Time, "%s: a value is of some time", of)
	}
	for _, endpoint := range check.AffectedEndpoints {
		assert.Regexp(t, uriTemplate, endpoint, of)
	}
}

// The judge must be able to condemn.
func TestJudgeOfTemplates(t *testing.T) {
	for _, good := range []string{"/", "/a/{b}/c", "/{+rest}", "https://a.example/x{?q}", "/%C3%A9", "/é", "/it's"} {
		assert.Regexp(t, uriTemplate, good)
	}
	for _, bad := range []string{"/a b", "/{", "/}", "/{a", "/{}", "/{$}", "/{a...}", "/{ä}", "/%zz", `/"`, "/<a>", "/a|b", "/{a-b}"} {
		assert.NotRegexp(t, uriTemplate, bad)
	}
}
