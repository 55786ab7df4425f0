//go:build unix

package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// service is the program of this folder, as a test has started it.
type service struct {
	t    *testing.T // that it lives as long as
	env  []string
	args []string
	url  string
	proc *process
}

const token = "let-me-see"

// newService starts the program; replica may be empty. It is quick to notice, and no quicker: a
// probe may take as long as the period is, and a busy machine is not to look like a database that
// is down.
func newService(t *testing.T, primary, replica string, args ...string) *service {
	t.Helper()
	listen := address(freePort(t))
	s := &service{
		t:    t,
		env:  []string{"DATABASE_URL=" + primary, "REPLICA_URL=" + replica, "HEALTH_TOKEN=" + token},
		args: append([]string{"-listen", listen, "-period", "1s", "-max-lag", "2s"}, args...),
		url:  "http://" + listen,
	}
	s.start(t)
	return s
}

func (s *service) start(t *testing.T) {
	t.Helper()
	s.proc = start(s.t, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), s.env...) }, healthBinary.build(t), s.args...)
	eventually(t, "the service is ready", func() bool { return code(t, s.url+"/readyz") == http.StatusOK })
}

// check is a check as /healthz shows it.
type check struct {
	Status   string  `json:"status"`
	Observed float64 `json:"observedValue"`
	Unit     string  `json:"observedUnit"`
	Output   string  `json:"output"`
}

// check returns what the service knows of one of its checks.
func (s *service) check(t *testing.T, name string) check {
	t.Helper()
	a, err := get(t, s.url+"/healthz", http.Header{"Authorization": {"Bearer " + token}})
	require.NoError(t, err)
	var report struct {
		Checks map[string][]check `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &report), a.body)
	require.Len(t, report.Checks[name], 1, a.body)
	return report.Checks[name][0]
}

func (s *service) is(t *testing.T, name, status string) func() bool {
	t.Helper()
	return func() bool { return s.check(t, name).Status == status }
}

// post places an order.
func (s *service) post(t *testing.T, item string) (answer, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	return ask(t.Context(), client, http.MethodPost, s.url+"/orders", strings.NewReader("item="+item), form())
}

func form() http.Header { return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}} }
