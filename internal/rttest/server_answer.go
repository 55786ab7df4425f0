package rttest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// reply is something that handlers do. What it returns is what the handler itself saw of it.
type reply struct {
	method string
	handle func(w http.ResponseWriter) string
}

// replies have everything that net/http does to an answer by itself.
func replies() []reply {
	write := func(w http.ResponseWriter, text string) string {
		n, err := w.Write([]byte(text))
		return fmt.Sprintf("%d, %v, %t", n, err, err == http.ErrBodyNotAllowed) //nolint:errorlint // Handlers compare.
	}
	hello := func(w http.ResponseWriter) string { return write(w, "hello") }
	status := func(code int) func(http.ResponseWriter) string {
		return func(w http.ResponseWriter) string {
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(code)
			return write(w, "hello")
		}
	}

	return []reply{
		{http.MethodGet, func(http.ResponseWriter) string { return "" }},
		{http.MethodGet, hello},
		{http.MethodHead, hello},
		{http.MethodHead, func(http.ResponseWriter) string { return "" }},
		{http.MethodGet, status(http.StatusCreated)},
		{http.MethodGet, status(http.StatusNoContent)},
		{http.MethodGet, status(http.StatusNotModified)},
		{http.MethodGet, status(http.StatusServiceUnavailable)},
		{http.MethodHead, status(http.StatusNotFound)},
		{http.MethodGet, func(w http.ResponseWriter) string { return write(w, "") }},
		{http.MethodGet, func(w http.ResponseWriter) string { return write(w, "<html>") + write(w, "more") }},
		{http.MethodGet, func(w http.ResponseWriter) string { return write(w, strings.Repeat("x", 1<<16)) }},
		{http.MethodGet, func(w http.ResponseWriter) string {
			n, err := io.WriteString(w, strings.Repeat("x", 3000))
			return fmt.Sprint(n, err)
		}},
		{http.MethodGet, func(w http.ResponseWriter) string {
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			w.Header()["Content-Type"] = nil // No sniffing.
			w.Header().Set("X-Lower", "kept")
			return hello(w)
		}},
		{http.MethodGet, func(w http.ResponseWriter) string {
			seen := hello(w)
			w.Header().Set("Late", "not sent, or sent as the trailer that it is not")
			return seen
		}},
		{http.MethodGet, func(w http.ResponseWriter) string {
			http.Error(w, "no", http.StatusTooManyRequests)
			return fmt.Sprint(w.Header())
		}},
	}
}

// tooMuch writes more than it has announced. Over HTTP/1 the handler learns that, over HTTP/2 only the
// client does; a writer that is of neither tells the handler.
func tooMuch() reply {
	return reply{http.MethodGet, func(w http.ResponseWriter) string {
		w.Header().Set("Content-Length", "5")
		n, err := io.WriteString(w, "hello")
		more, tooMuch := io.WriteString(w, "too much")
		return fmt.Sprint(n, err, more, tooMuch)
	}}
}

// judgeAnswer compares every byte with the answer of the bare handler.
func judgeAnswer(s *stage) {
	all := replies()
	if !s.detaches || s.protocol.name == overHTTP1().name {
		all = append(all, tooMuch())
	}
	bareHandler, bareNotes := play(all)
	handler, notes := play(all)
	bare, wrapped := s.serve(bareHandler), s.serve(s.wrap(handler))

	for i, a := range all {
		path := fmt.Sprint("/", i)
		if want, got := bare.dump(a.method, path), wrapped.dump(a.method, path); want != got {
			s.Errorf("answer %d: %s", i, difference(want, got))
		}
		if want, got := bareNotes.take(), notes.take(); want != got {
			s.Errorf("the handler of answer %d saw %s instead of %s", i, got, want)
		}
	}
}

// judgeWriteHeaderTwice does what net/http forbids, but answers.
func judgeWriteHeaderTwice(s *stage) {
	twice := []reply{
		{http.MethodGet, func(w http.ResponseWriter) string {
			w.WriteHeader(http.StatusCreated)
			w.WriteHeader(http.StatusInternalServerError)
			return ""
		}},
		{http.MethodGet, func(w http.ResponseWriter) string {
			io.WriteString(w, "hello")
			w.WriteHeader(http.StatusInternalServerError)
			return ""
		}},
		{http.MethodGet, func(w http.ResponseWriter) string {
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusEarlyHints)
			return ""
		}},
		{http.MethodGet, func(w http.ResponseWriter) (seen string) {
			defer func() {
				seen = fmt.Sprint(recover())
				w.WriteHeader(http.StatusTeapot)
			}()
			w.WriteHeader(0)
			return ""
		}},
	}
	bareHandler, bareNotes := play(twice)
	handler, notes := play(twice)
	bare, wrapped := s.serve(bareHandler), s.serve(s.wrap(handler))

	for i, a := range twice {
		path := fmt.Sprint("/", i)
		if want, got := bare.dump(a.method, path), wrapped.dump(a.method, path); want != got {
			s.Errorf("answer %d: %s", i, difference(want, got))
		}
		if want, got := bareNotes.take(), notes.take(); want != got {
			s.Errorf("the handler of answer %d saw %s instead of %s", i, got, want)
		}
	}
	const superfluous = "superfluous response.WriteHeader"
	want, got := strings.Count(bare.log.String(), superfluous), strings.Count(wrapped.log.String(), superfluous)
	if want != got {
		s.Errorf("net/http logged %d superfluous calls instead of %d", got, want)
	}
}

// difference shows where two texts part.
func difference(want, got string) string {
	const around = 200

	same := 0
	for same < min(len(want), len(got)) && want[same] == got[same] {
		same++
	}
	from := max(0, same-around)
	return fmt.Sprintf("%q became %q, from byte %d", want[from:min(len(want), same+around)],
		got[from:min(len(got), same+around)], from)
}

// play is a handler that gives the answer that the path asks for, and notes what the handler saw.
func play(all []reply) (http.Handler, *notes) {
	seen := &notes{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &i); err != nil || i >= len(all) {
			http.NotFound(w, r)
			return
		}
		seen.add(all[i].handle(w))
	}), seen
}

type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.lines = append(n.lines, line)
}

func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()

	text := strings.Join(n.lines, "\n")
	n.lines = nil
	return text
}

// meant returns an answer with its fields sorted and without the sizes of its chunks.
func meant(answer []byte) []byte {
	head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	lines := strings.SplitAfter(string(head)+"\r\n", "\r\n")
	slices.Sort(lines[1:])
	var broken error
	if bytes.Contains(head, []byte("Transfer-Encoding: chunked")) {
		body, broken = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
	}
	return fmt.Appendln([]byte(strings.Join(lines, "")), string(body), broken)
}

// dump returns all of an answer except for its date: over HTTP/1 the very bytes, or their meaning
// where they are not the handler's.
func (p *peer) dump(method, path string) string {
	p.Helper()

	if p.protocol.name == overHTTP1().name {
		conn, wire := p.dial()
		p.send(conn, method+" "+path+" HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(wire)
		if err != nil {
			p.Errorf("%s %s: %v", method, path, err)
		}
		if p.detaches {
			all = meant(all)
		}
		return regexp.MustCompile(`(?m)^Date: .*\r\n`).ReplaceAllString(string(all), "")
	}

	resp := p.do(p.request(method, path, http.NoBody))
	body, err := io.ReadAll(resp.Body)
	resp.Header.Del("Date")
	return fmt.Sprintln(resp.Status, resp.ContentLength, resp.Header, resp.Trailer, string(body), err)
}
