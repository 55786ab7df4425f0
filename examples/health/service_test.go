//go:build unix

package main_test

import (
	"context"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The service comes up and is ready while its databases are not there at all, and refuses what
// needs them. Nothing but the program itself is needed for this.
func TestWithoutDatabases(t *testing.T) {
	nobody := "postgres://postgres@" + address(freePort(t)) + "/postgres?connect_timeout=1"
	s := newService(t, nobody, nobody, "-drain", "0s")
	for _, name := range []string{"db", "replica"} {
		eventually(t, name+" fails", s.is(t, name, "fail"))
	}
	assert.JSONEq(t, `{"status":"warn"}`, mustGet(t, s.url+"/readyz").body)
	assert.Equal(t, http.StatusOK, code(t, s.url+"/livez"))
	assert.Equal(t, http.StatusOK, code(t, s.url+"/startupz"))

	page := mustGet(t, s.url+"/")
	assert.Equal(t, http.StatusOK, page.code)
	assert.Equal(t, "warn", page.header.Get("X-Health"))
	refused := mustGet(t, s.url+"/orders/1")
	assert.Equal(t, http.StatusServiceUnavailable, refused.code)
	assert.NotEmpty(t, refused.header.Get("Retry-After"))
	assert.NotContains(t, refused.body, "the database does not answer", "it was not even asked")

	assert.JSONEq(t, `{"status":"warn"}`, mustGet(t, s.url+"/healthz").body, "strangers see no more than that")
	wrong, err := get(t, s.url+"/healthz", http.Header{"Authorization": {"Bearer " + token + "?"}})
	require.NoError(t, err)
	assert.NotContains(t, wrong.body, "checks")

	begin := time.Now()
	s.proc.signal(t, syscall.SIGTERM)
	assert.NoError(t, s.proc.wait(t), "the exit code is 0")
	assert.Less(t, time.Since(begin), 10*time.Second, "no database that hangs keeps it from ending")
}

func TestBadConfig(t *testing.T) {
	const url = "DATABASE_URL=postgres://127.0.0.1/shop"
	rows := []struct {
		env, want string
		args      []string
	}{
		{env: "", want: "DATABASE_URL is not set"},
		{env: "DATABASE_URL=postgres://%", want: "cannot parse"},
		{env: url, args: []string{"-drain", "-1s"}, want: "-drain -1s is negative"},
		{env: url, args: []string{"-grace", "0s"}, want: "-grace 0s not positive"},
		{env: url, args: []string{"-period", "0.5ms"}, want: "Check.Period is"},
		{env: url, args: []string{"-listen", "nowhere"}, want: "nowhere"},
		{env: url, args: []string{"serve"}, want: `what is "serve" for?`},
	}
	for _, row := range rows {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		cmd := exec.CommandContext(ctx, healthBinary.build(t), row.args...)
		cmd.Env = []string{row.env}
		out, err := cmd.CombinedOutput()
		cancel()
		assert.Error(t, err, row.want)
		assert.Contains(t, string(out), row.want)
	}
}
