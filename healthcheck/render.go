package healthcheck

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// report is what is shown of a group, in the terms of draft-inadarei-api-health-check.
type report struct {
	Status    string             `json:"status"`
	ServiceID string             `json:"serviceId,omitempty"`
	ReleaseID string             `json:"releaseId,omitempty"`
	Notes     []string           `json:"notes,omitempty"`
	Checks    map[string][]shown `json:"checks,omitempty"`
}

// shown is what is shown of a check. impact is not of the draft.
type shown struct {
	ComponentType string   `json:"componentType,omitempty"`
	ObservedValue any      `json:"observedValue,omitempty"`
	ObservedUnit  string   `json:"observedUnit,omitempty"`
	Status        string   `json:"status"`
	Impact        string   `json:"impact"`
	Affected      []string `json:"affectedEndpoints,omitempty"`
	Time          string   `json:"time,omitempty"`
	Output        string   `json:"output,omitempty"`

	status Status
}

// render makes the page of a group at now.
func (g *group) render(kind int, now int64) *page {
	status, _ := unpack(g.word.Load())
	p := &page{at: now, contentType: typeJSON}
	switch kind {
	case viewText:
		p.contentType, p.body = typeText, []byte(status.String()+"\n")
	case viewLines:
		p.contentType, p.body = typeText, g.lines(status, now)
	case viewDetails:
		p.body = encode(g.report(status, now))
	default:
		p.body = encode(report{Status: groupStatus(status)})
	}
	return p
}

// groupStatus returns a group's status in the words of the draft, which knows three:
// what is not known to work is not offered.
func groupStatus(s Status) string {
	if s == Unknown {
		return Fail.String()
	}
	return s.String()
}

// checkStatus returns a check's status in the words of the draft. Its output says
// that nothing is known.
func checkStatus(s Status) string {
	if s == Unknown {
		return Warn.String()
	}
	return s.String()
}

// encode makes the text of a report, which has nothing in it that JSON cannot say.
func encode(r report) []byte {
	body, err := json.Marshal(r)
	if err != nil {
		body = []byte(`{"status":"fail"}`)
	}
	return append(body, '\n')
}

// plain returns an observed value if it is one that can be shown by itself, or what
// it is. Others would bring code of their own into the rendering.
func plain(value any) any {
	if d, ok := value.(time.Duration); ok {
		return d.String()
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.Float32:
		return number(v.Float(), 32)
	case reflect.Float64:
		return number(v.Float(), 64)
	default:
		return fmt.Sprintf("a %T", value)
	}
}

// number returns a number as JSON writes it, or as text if it cannot.
func number(f float64, bits int) any {
	text := strconv.FormatFloat(f, 'g', -1, bits)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return text
	}
	return json.Number(text)
}

func (g *group) report(status Status, now int64) report {
	members := g.all()
	r := report{
		Status: groupStatus(status), ServiceID: g.c.cfg.Service, ReleaseID: g.c.cfg.Version,
		Notes: g.notes(now), Checks: make(map[string][]shown, len(members)),
	}
	for _, k := range members {
		r.Checks[k.name] = []shown{k.show(now)}
	}
	return r
}

// notes say what the checks do not: that a hand is at work, or the service leaves.
func (g *group) notes(now int64) (notes []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.c.draining.Load() {
		notes = append(notes, "draining")
	}
	if g.override.holds(now) {
		notes = append(notes, byHand(g.override.Override))
	}
	return notes
}

func byHand(o Override) string {
	return strings.TrimSuffix(fmt.Sprintf("set to %v by hand: %s", o.Status, o.Reason), ": ")
}

// show returns what is shown of a check. No code of the user's runs under its lock.
func (k *check) show(now int64) shown {
	k.mu.Lock()
	s, res, known, wall, hand := k.see(now), k.result, k.known, k.wall, k.override
	k.mu.Unlock()
	out := shown{
		ComponentType: k.Component, Status: checkStatus(s), Impact: k.Impact.String(),
		Affected: templates(k.Affects), status: s,
	}
	if known {
		out.ObservedValue, out.ObservedUnit = plain(res.Observed), res.Unit
		out.Time = wall.UTC().Format(time.RFC3339)
	}
	switch {
	case s == Pass: // the draft wants no output then
	case hand.holds(now):
		out.Output = byHand(hand.Override)
	case s == Unknown:
		out.Output = "no result yet, or none that is recent"
	default:
		out.Output = k.output(res)
	}
	return out
}

// output says why a check does not pass, as far as that may be said.
func (k *check) output(res Result) string {
	switch {
	case res.Err == nil:
		return res.Public
	case k.c.cfg.ShowErrors:
		return textOf(res.Err)
	case res.Public != "":
		return res.Public
	default:
		return "the error is withheld"
	}
}

// textOf returns the text of err, or that it has none.
func textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "an error whose Error method panics"
		}
	}()
	return err.Error()
}

// lines is the report for people: a line for the group, and one for each check.
func (g *group) lines(status Status, now int64) []byte {
	var b strings.Builder
	fmt.Fprintln(&b, oneLine(strings.Join(append([]string{status.String()}, g.notes(now)...), ", ")))
	members := slices.SortedFunc(slices.Values(g.all()), func(a, b *check) int {
		return cmp.Compare(a.name, b.name)
	})
	for _, k := range members {
		s := k.show(now)
		line := k.name + " " + s.status.String()
		if s.ObservedValue != nil {
			line += fmt.Sprintf(" %v%s", s.ObservedValue, s.ObservedUnit)
		}
		if s.Output != "" {
			line += ": " + s.Output
		}
		fmt.Fprintln(&b, oneLine(line))
	}
	return []byte(b.String())
}

// oneLine takes out of a text what would end its line, or write over it.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
}
