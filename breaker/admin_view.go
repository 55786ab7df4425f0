package breaker

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"encoding/json"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// listView and what it holds are the JSON of Breaker.Admin. They stand beside
// the types of Snapshot so that the names in the JSON stay when those change,
// and so that it has words where those have numbers.
type listView struct {
	Circuits  []circuitView `json:"circuits"`
	Open      int           `json:"open"`
	Unguarded bool          `json:"unguarded"`
	Overflow  uint64        `json:"overflow"`
}

//nolint:tagliatelle // Scripts of operators read snake_case, as the other tools around them write it.
type circuitView struct {
	Key        string       `json:"key"`
	State      string       `json:"state"`
	Since      time.Time    `json:"since"`
	Cause      string       `json:"cause"`
	Override   overrideView `json:"override"`
	RetryAfter string       `json:"retry_after"`
	Window     windowView   `json:"window"`
	InFlight   int          `json:"in_flight"`
	Counts     countsView   `json:"counts"`
	LastError  string       `json:"last_error"`

	shot CircuitSnapshot
}

type overrideView struct {
	Mode   string `json:"mode"`
	Reason string `json:"reason"`
	TTL    string `json:"ttl"`
}

type windowView struct {
	Successes   int `json:"successes"`
	Failures    int `json:"failures"`
	Slow        int `json:"slow"`
	Overload    int `json:"overload"`
	Consecutive int `json:"consecutive"`
}

type countsView struct {
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"`
	Slow      uint64 `json:"slow"`
	Overload  uint64 `json:"overload"`
	Ignored   uint64 `json:"ignored"`
	Rejected  uint64 `json:"rejected"`
}

func viewList(s Snapshot) listView {
	list := listView{
		Circuits: make([]circuitView, 0, len(s.Circuits)), // [] in JSON, not null
		Open:     s.Open, Unguarded: s.Unguarded, Overflow: s.Overflow,
	}
	for _, shot := range s.Circuits {
		list.Circuits = append(list.Circuits, viewCircuit(shot))
	}
	return list
}

func viewCircuit(shot CircuitSnapshot) circuitView {
	return circuitView{
		Key:   shot.Key,
		State: shot.State.String(),
		Since: shot.Since.UTC(),
		Cause: shot.Cause.String(),
		Override: overrideView{
			Mode: shot.Override.Mode.String(), Reason: shot.Override.Reason, TTL: shot.Override.TTL.String(),
		},
		RetryAfter: shot.RetryAfter.String(),
		Window: windowView{
			Successes: shot.Window.Successes, Failures: shot.Window.Failures, Slow: shot.Window.Slow,
			Overload: shot.Window.Overload, Consecutive: shot.Window.Consecutive,
		},
		InFlight: shot.InFlight,
		Counts: countsView{
			Successes: shot.Counts.Successes, Failures: shot.Counts.Failures, Slow: shot.Counts.Slow,
			Overload: shot.Counts.Overload, Ignored: shot.Counts.Ignored, Rejected: shot.Counts.Rejected,
		},
		LastError: shot.LastErr,
		shot:      shot,
	}
}

// The methods below are for the page, where nobody wants nanoseconds.

// SinceTime is when the state began.
func (v circuitView) SinceTime() string { return v.Since.Format(time.RFC3339) }

// Age is how long the state has lasted.
func (v circuitView) Age() string { return time.Since(v.shot.Since).Round(time.Second).String() }

// HoldsFor is how long the override is still to hold, or "" until it is lifted.
func (v circuitView) HoldsFor() string { return remaining(v.shot.Override.TTL) }

// Wait is how long the circuit stays open, or "".
func (v circuitView) Wait() string { return remaining(v.shot.RetryAfter) }

// remaining rounds up: what is not over has not 0 s left.
func remaining(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return (d + time.Second - 1).Truncate(time.Second).String()
}

//go:embed admin.html
var adminHTML string

// page is the template of Breaker.Admin and the policy that its answers state.
type page struct {
	template *template.Template
	policy   string
}

// newPage parses the page. The policy names the page's style by its hash: to
// allow any style would also allow one that a key has smuggled in.
func newPage() page {
	_, style, _ := strings.Cut(adminHTML, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	hash := sha256.Sum256([]byte(style))
	return page{
		template: template.Must(template.New("").Parse(adminHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
}

// write answers with the list as a page, with forms for the commands, if any.
func (p page) write(w http.ResponseWriter, req *http.Request, list listView, commands []string) {
	var body bytes.Buffer
	err := p.template.ExecuteTemplate(&body, "page", struct {
		listView

		Commands []string
	}{list, commands})
	if err != nil {
		writeError(w, req, http.StatusInternalServerError, err)
		return
	}
	writeBody(w, req, http.StatusOK, "text/html; charset=utf-8", body.Bytes())
}

// writeBody answers at once, with a length, and to HEAD without the body.
func writeBody(w http.ResponseWriter, req *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // HTML comes from html/template; JSON and text are never sniffed.
	}
}

func writeJSON(w http.ResponseWriter, req *http.Request, status int, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetIndent("", "  ") // operators read it in terminals
	if err := encoder.Encode(value); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"error": "breaker: the answer cannot be written as JSON"}` + "\n")
	}
	writeBody(w, req, status, jsonType, body.Bytes())
}

func writeError(w http.ResponseWriter, req *http.Request, status int, err error) {
	if wantsJSON(req) || hasJSON(req) {
		writeJSON(w, req, status, map[string]string{"error": err.Error()})
		return
	}
	writeBody(w, req, status, "text/plain; charset=utf-8", []byte(err.Error()+"\n"))
}

const jsonType = "application/json"

// wantsJSON reports whether the answer is to be JSON: by ?format=, which a
// person can type, or else because Accept names it and does not prefer HTML.
func wantsJSON(req *http.Request) bool {
	switch req.URL.Query().Get("format") {
	case "json":
		return true
	case "html":
		return false
	}
	accepted := map[string]float64{}
	for part := range strings.SplitSeq(strings.Join(req.Header.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, ok := params["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		accepted[mediaType] = quality
	}
	return accepted[jsonType] > 0 && accepted[jsonType] >= accepted["text/html"]
}

// hasJSON reports whether the request's body is JSON.
func hasJSON(req *http.Request) bool { return bodyType(req) == jsonType }

func bodyType(req *http.Request) string {
	mediaType, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}
