package route

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	ours   = []byte("0123456789abcdef0123456789abcdef")
	theirs = []byte("fedcba9876543210fedcba9876543210")

	noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
)

func signerOf(tb testing.TB, cookie, store string, secrets ...[]byte) *signer {
	tb.Helper()
	s, err := newSigner(secrets, cookie, store)
	require.NoError(tb, err)
	return s
}

func TestRequirement7CookieRoundTrip(t *testing.T) {
	s := signerOf(t, "dirty", "", ours)
	for _, position := range []string{"", "1000", "0/16B3748", "\x00\xff;,\" \r\n", strings.Repeat("x", maxPosition)} {
		value := s.seal(noon, position)
		got, err := s.open(value, noon.Add(-time.Millisecond))
		require.NoError(t, err)
		assert.Equal(t, position, got)
		_, err = s.open(value, noon)
		require.ErrorIs(t, err, errCookieExpired, "at the time itself")
		require.NoError(t, (&http.Cookie{Name: "dirty", Value: value}).Valid())
	}
	assert.Len(t, s.seal(noon, strings.Repeat("x", maxPosition)), maxValue)
}

func TestBadInputCookie(t *testing.T) {
	s := signerOf(t, "dirty", "", ours)
	good := s.seal(noon, "1000")
	raw, err := base64.RawURLEncoding.DecodeString(good)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		value string
		want  error
	}{
		"empty":           {"", errCookieForm},
		"not base64":      {"!" + good[1:], errCookieForm},
		"another base64":  {base64.StdEncoding.EncodeToString(append(raw, 0xff, 0xff)), errCookieForm},
		"padded":          {good + "=", errCookieForm},
		"a line end":      {good[:10] + "\n" + good[10:], errCookieForm},
		"cut off":         {good[:len(good)-1], errCookieForm},
		"no more than it": {base64.RawURLEncoding.EncodeToString(raw[:signatureSize]), errCookieForm},
		"one byte more":   {base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw), 0)), errCookieForeign},
		"too long":        {strings.Repeat("A", maxValue+1), errCookieForm},
		"very long":       {strings.Repeat("A", 1<<20), errCookieForm},
		"nothing signed":  {base64.RawURLEncoding.EncodeToString(make([]byte, 40)), errCookieForeign},
		"another cookie":  {signerOf(t, "other", "", ours).seal(noon, "1000"), errCookieForeign},
		"another store":   {signerOf(t, "dirty", "users", ours).seal(noon, "1000"), errCookieForeign},
		"another secret":  {signerOf(t, "dirty", "", theirs).seal(noon, "1000"), errCookieForeign},
		"shifted names":   {signerOf(t, "dirt", "y", ours).seal(noon, "1000"), errCookieForeign},
	} {
		_, err := s.open(tt.value, noon.Add(-time.Second))
		assert.ErrorIs(t, err, tt.want, name)
	}
	for at := range raw { // no bit is without meaning
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[at] ^= 1 << bit
			_, err := s.open(base64.RawURLEncoding.EncodeToString(changed), noon.Add(-time.Second))
			require.ErrorIs(t, err, errCookieForeign, "bit %d of byte %d", bit, at)
		}
	}
	for at := range good { // nor is a letter, the last one included
		for _, letter := range []byte("AQgwBZaz09-_") {
			changed := []byte(good)
			if changed[at] == letter {
				continue
			}
			changed[at] = letter
			_, err := s.open(string(changed), noon.Add(-time.Second))
			require.Error(t, err, "letter %d is %c", at, letter)
		}
	}
}

func TestRequirement7Rotation(t *testing.T) {
	before, first := signerOf(t, "dirty", "", ours), signerOf(t, "dirty", "", theirs, ours)
	both, after := signerOf(t, "dirty", "", ours, theirs), signerOf(t, "dirty", "", theirs)
	opens := func(s, by *signer) bool {
		_, err := s.open(by.seal(noon, ""), noon.Add(-time.Second))
		return err == nil
	}
	// Each step is understood by the one before and after it.
	assert.True(t, opens(before, both) && opens(both, before))
	assert.True(t, opens(both, first) && opens(first, both))
	assert.True(t, opens(first, after) && opens(after, first))
	assert.False(t, opens(before, first), "the first secret signs")
	assert.False(t, opens(after, before), "the old secret is gone")
}

func FuzzCookie(f *testing.F) {
	s := signerOf(f, "dirty", "", ours, theirs)
	f.Add("", int64(0), "")
	f.Add(s.seal(noon, "1000"), noon.UnixMilli(), "1000")
	f.Add(signerOf(f, "dirty", "", theirs).seal(noon, "1000"), noon.UnixMilli(), "1000")
	f.Add(s.seal(noon, "")+"=", int64(1), "\n")
	known := map[string]bool{} // what was signed by one of ours: the seeds
	known[s.seal(noon, "1000")] = true
	known[signerOf(f, "dirty", "", theirs).seal(noon, "1000")] = true
	known[s.seal(noon, "")] = true

	f.Fuzz(func(t *testing.T, value string, at int64, position string) {
		if _, err := s.open(value, time.UnixMilli(0)); err == nil && !known[value] {
			t.Fatalf("%q was never signed", value)
		}
		if len(position) > maxPosition || at <= 0 || at > 1<<50 {
			return
		}
		expiry := time.UnixMilli(at)
		sealed := s.seal(expiry, position)
		got, err := s.open(sealed, expiry.Add(-time.Millisecond))
		if err != nil || got != position {
			t.Fatalf("%q came back as %q: %v", position, got, err)
		}
		if _, err = s.open(sealed, expiry); err == nil {
			t.Fatal("it does not expire")
		}
		if _, err = s.open(sealed+value, time.UnixMilli(0)); err == nil && value != "" {
			t.Fatalf("%q may be appended", value)
		}
	})
}

func TestBadInputWritesConfig(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, tt := range map[string]struct {
		cfg  WritesConfig
		want string
	}{
		"no secret":      {WritesConfig{}, "WritesConfig.Secrets is empty"},
		"short secret":   {WritesConfig{Secrets: [][]byte{ours, ours[:31]}}, "WritesConfig.Secrets[1] has 31 bytes, less than 32"},
		"store":          {WritesConfig{Secrets: [][]byte{ours}, Store: "a b"}, `WritesConfig.Store "a b"`},
		"store's nul":    {WritesConfig{Secrets: [][]byte{ours}, Store: "a\x00b"}, `WritesConfig.Store`},
		"long store":     {WritesConfig{Secrets: [][]byte{ours}, Store: long}, "WritesConfig.Store"},
		"cookie":         {WritesConfig{Secrets: [][]byte{ours}, Cookie: "a;b"}, `WritesConfig.Cookie "a;b"`},
		"long cookie":    {WritesConfig{Secrets: [][]byte{ours}, Cookie: long}, "WritesConfig.Cookie"},
		"prefix":         {WritesConfig{Secrets: [][]byte{ours}, Cookie: "__Host-d", Insecure: true}, "when it is Insecure"},
		"negative":       {WritesConfig{Secrets: [][]byte{ours}, PinFor: -1}, "WritesConfig.PinFor is -1ns"},
		"longer than it": {WritesConfig{Secrets: [][]byte{ours}, PinFor: 25 * time.Hour}, "WritesConfig.PinFor is 25h0m0s"},
	} {
		w, err := NewWrites(tt.cfg)
		assert.Nil(t, w, name)
		require.ErrorContains(t, err, tt.want, name)
		assert.NotContains(t, err.Error(), string(ours[:8]), "a secret is not told")
		assert.Panics(t, func() { MustNewWrites(tt.cfg) }, name)
	}
	_, err := NewWrites(WritesConfig{Store: "?", Cookie: "?", PinFor: -1})
	for _, field := range []string{"Store", "Cookie", "Secrets", "PinFor"} {
		require.ErrorContains(t, err, "WritesConfig."+field, "all that is wrong is told at once")
	}
	w, err := NewWrites(WritesConfig{Secrets: [][]byte{ours}, Cookie: "__Host-dirty", Store: "users"})
	require.NoError(t, err)
	assert.Equal(t, "__Host-dirty-users", w.cfg.Cookie)
	assert.NotContains(t, fmt.Sprintf("%+v", w.cfg), fmt.Sprintf("%v", ours), "a secret is not kept")
}
