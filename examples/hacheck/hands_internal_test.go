package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shell runs commands on one spool.
type shell struct {
	t    *testing.T
	root string
}

func newShell(t *testing.T) shell {
	t.Helper()
	return shell{t, filepath.Join(t.TempDir(), "spool")}
}

func (s shell) run(command string, args ...string) (code int, out, errs string) {
	s.t.Helper()
	var o, e bytes.Buffer
	args = append([]string{"hacheck", command, "-spool-root", s.root}, args...)
	code = run(s.t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func (s shell) want(code int, out, command string, args ...string) {
	s.t.Helper()
	gotCode, gotOut, errs := s.run(command, args...)
	assert.Equal(s.t, code, gotCode, errs)
	assert.Equal(s.t, out, gotOut)
	assert.Empty(s.t, errs)
}

func TestHands(t *testing.T) {
	s := newShell(t)
	s.want(exitOK, "UP\torders\n", "hastatus", "orders")
	s.want(exitOK, "", "hastatus")
	s.want(exitOK, "", "hadown", "-r", "moving", "-e", "2524608000.5", "orders:80", "billing")
	s.want(exitDown, "DOWN\t2524608000.500000\torders:80\tmoving\nUP\torders\n", "hastatus", "orders:80", "orders")
	s.want(exitDown, "DOWN\t2524608000.500000\torders:80\tmoving\n", "hastatus", "-P", "80", "orders")
	s.want(exitDown, "DOWN\t2524608000.500000\tbilling:1\tmoving (all of billing)\n", "hastatus", "billing:1")
	s.want(exitOK, "DOWN\t2524608000.500000\tbilling\tmoving\nDOWN\t2524608000.500000\torders:80\tmoving\n", "hastatus")
	s.want(exitOK, "", "hadown", "--reason", "fire", "all")
	s.want(exitDown, "DOWN\tinf\tother\tfire (all)\n", "hastatus", "other")
	s.want(exitDown, "DOWN\tinf\tall\tfire\n", "hastatus", "all")
	s.want(exitOK, "", "haup", "all", "billing")
	s.want(exitOK, "", "haup", "-service-port=80", "orders")
	s.want(exitOK, "UP\torders:80\nUP\tbilling\n", "hastatus", "orders:80", "billing")
}

func TestHandsByTheirOwnNames(t *testing.T) {
	root := filepath.Join(t.TempDir(), "spool")
	var out, errs bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"/usr/bin/hadown", "-spool-root", root, "-r", "x", "orders"}, &out, &errs))
	assert.Equal(t, exitDown, run(t.Context(), []string{"hastatus", "-spool-root", root, "orders"}, &out, &errs))
	assert.Equal(t, "DOWN\tinf\torders\tx\n", out.String())
	assert.Empty(t, errs.String())
}

func TestWhoIsTheReason(t *testing.T) {
	s := newShell(t)
	t.Setenv("SUDO_USER", "ada")
	s.want(exitOK, "", "hadown", "orders")
	s.want(exitDown, "DOWN\tinf\torders\tada\n", "hastatus", "orders")
	t.Setenv("SUDO_USER", "")
	t.Setenv("SSH_USER", "")
	assert.NotEmpty(t, who())
}

func TestHandsRefuse(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"hadown"}, "which service?"},
		{[]string{"haup"}, "which service?"},
		{[]string{"hadown", "orders", "../x"}, "not the name of a service"},
		{[]string{"hadown", "orders", "-r", "x"}, "not the name of a service"},
		{[]string{"haup", "orders:http"}, "not the name of a service"},
		{[]string{"hadown", "-P", "70000", "orders"}, "port 70000"},
		{[]string{"hadown", "-P", "80", "all"}, "every port"},
		{[]string{"hadown", "-e", "tomorrow", "orders"}, `"tomorrow" is no duration`},
		{[]string{"hadown", "-e", "NaN", "orders"}, `"NaN" is no duration`},
		{[]string{"hadown", "-e", "-5m", "orders"}, "past or too far"},
		{[]string{"hadown", "-e", "1000", "orders"}, "past or too far"},
		{[]string{"hadown", "-x", "orders"}, "not defined: -x"},
		{[]string{"serve", "orders"}, `what is "orders" for?`},
		{[]string{"serve", "-cache", "-1s"}, "negative"},
		{[]string{"serve", "-listen", "nowhere"}, "nowhere"},
	} {
		code, out, errs := s.run(c.args[0], c.args[1:]...)
		assert.Equal(t, exitFailed, code, c.args)
		assert.Empty(t, out)
		assert.Contains(t, errs, c.want)
	}
	s.want(exitOK, "", "hastatus") // nothing was done by halves

	for _, args := range [][]string{{"hacheck"}, {"hacheck", "explode"}} {
		var out, errs bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), args, &out, &errs))
		assert.Contains(t, errs.String(), "usage: hacheck serve")
	}
	code, _, errs := s.run("hadown", "-h")
	assert.Equal(t, exitOK, code)
	assert.Contains(t, errs, "-spool-root")
}

func TestHastatusTellsOfBadFiles(t *testing.T) {
	s := newShell(t)
	s.want(exitOK, "", "hastatus")
	require.NoError(t, os.WriteFile(filepath.Join(s.root, "orders"), []byte(`{"reason": "mov`), 0o600))
	code, out, errs := s.run("hastatus", "orders")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "DOWN\tinf\torders\t{\"reason\": \"mov\n", out)
	assert.Contains(t, errs, `hastatus: spool: file "orders": cut off`)
}

func TestParseExpiry(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for text, want := range map[string]time.Time{
		"":                          {},
		"90m":                       now.Add(90 * time.Minute),
		"2030-01-02T15:04:05+01:00": time.Date(2030, 1, 2, 14, 4, 5, 0, time.UTC),
		"1700000000.25":             time.UnixMicro(1700000000250000),
	} {
		got, err := parseExpiry(text, now)
		require.NoError(t, err)
		assert.True(t, want.Equal(got), "%s: %v", text, got)
	}
	for _, text := range []string{"1e300", "-inf", "NaN", "soon", "2030-01-02"} {
		_, err := parseExpiry(text, now)
		assert.Error(t, err, text)
	}
}
