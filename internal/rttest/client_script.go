package rttest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// script is what the base does with a trip. The trips of all calls share one count.
type script func(t *trip) (*http.Response, error)

// answer responds with a body that takes several reads.
func answer(status int) script {
	return func(t *trip) (*http.Response, error) {
		if status == http.StatusNoContent || status == http.StatusNotModified {
			return t.respond(status, 0, nil), nil
		}
		content := contentOf(t.n)
		return t.respond(status, int64(len(content)), text(content)), nil
	}
}

func contentOf(trip int) string {
	return strings.Repeat(fmt.Sprintf("answer of trip %d. ", trip), 500)
}

// fail returns an error.
func fail(err error) script {
	return func(*trip) (*http.Response, error) { return nil, err }
}

// slowly plays the script an hour later, unless the caller leaves before.
func slowly(then script) script {
	return func(t *trip) (*http.Response, error) {
		if err := t.wait(time.Hour, nil); err != nil {
			return nil, err
		}
		return then(t)
	}
}

// stubbornly plays the script an hour later, whoever leaves.
func stubbornly(then script) script {
	return func(t *trip) (*http.Response, error) {
		time.Sleep(time.Hour)
		return then(t)
	}
}

// flowing answers with a body of its own kind.
func flowing(status int, f flow) script {
	return func(t *trip) (*http.Response, error) { return t.respond(status, -1, f), nil }
}

// panicking panics.
func panicking(v any) script {
	return func(t *trip) (*http.Response, error) {
		t.base.mu.Lock()
		t.panicked = true
		t.base.mu.Unlock()
		panic(v)
	}
}

// first plays one script for the first trip and another for all that follow.
func first(one, others script) script {
	return func(t *trip) (*http.Response, error) {
		if t.n == 1 {
			return one(t)
		}
		return others(t)
	}
}

// scenario is a script that provokes another attempt, or does not.
type scenario struct {
	name   string
	script script
}

func scenarios() []scenario {
	const unavailable = http.StatusServiceUnavailable
	return []scenario{
		{"200", answer(http.StatusOK)},
		{"503 then 200", first(answer(unavailable), answer(http.StatusOK))},
		{"error then 200", first(fail(errBase), answer(http.StatusOK))},
		{"slow then 200", first(slowly(answer(http.StatusOK)), answer(http.StatusOK))},
		{"slow then 503", first(slowly(answer(http.StatusOK)), answer(unavailable))},
		{"slow then error", first(slowly(answer(http.StatusOK)), fail(errBase))},
		{"503 only", answer(unavailable)},
		{"errors only", fail(errBase)},
	}
}

// part is an upload that stops early, as that of a server which refuses does.
func part(body io.Reader) ([]byte, error) {
	var got bytes.Buffer
	_, err := io.CopyN(&got, body, 3)
	return got.Bytes(), err
}

// nothing is an upload that never begins.
func nothing(io.Reader) ([]byte, error) { return nil, nil }
