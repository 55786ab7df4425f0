package healthcheck

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Admin returns a handler for operators: GET lists the overrides, POST sets one, or
// lifts it, by the form fields scope, status (down, warn, up, auto), reason and ttl,
// a duration. authorize says who may; nil means nobody. Posts by browsers from other
// sites are refused.
func (c *Checker) Admin(authorize func(*http.Request) bool) http.Handler {
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case authorize == nil || !authorize(r):
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			c.listOverrides(w)
		case r.Method == http.MethodPost:
			c.order(w, r)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		}
	})
	return http.NewCrossOriginProtection().Handler(admin)
}

// listed is an override as Admin shows it.
type listed struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	TTL    string `json:"ttl,omitempty"`
}

func (c *Checker) listOverrides(w http.ResponseWriter) {
	all := make(map[string]listed)
	for scope, o := range c.Overrides() {
		l := listed{Status: o.Status.String(), Reason: o.Reason}
		if o.TTL > 0 {
			l.TTL = o.TTL.Round(time.Second).String()
		}
		all[scope] = l
	}
	body, err := json.Marshal(all)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // who has left reads no errors
}

// order carries out what an operator has posted.
func (c *Checker) order(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	var o Override
	err := r.ParseForm()
	if err == nil {
		o, err = readOverride(r)
	}
	switch {
	case err != nil:
	case o.Status == Unknown:
		err = c.Lift(r.PostFormValue("scope"))
	default:
		err = c.Override(r.PostFormValue("scope"), o)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.listOverrides(w)
}

// readOverride reads an override; Unknown is to lift it.
func readOverride(r *http.Request) (o Override, err error) {
	switch status := r.PostFormValue("status"); status {
	case "down":
		o.Status = Fail
	case "warn":
		o.Status = Warn
	case "up":
		o.Status = Pass
	case "auto":
	default:
		return o, fmt.Errorf("healthcheck: status is %q, none of down, warn, up, auto", status)
	}
	o.Reason = r.PostFormValue("reason")
	if ttl := r.PostFormValue("ttl"); ttl != "" {
		if o.TTL, err = time.ParseDuration(ttl); err != nil {
			return o, fmt.Errorf("healthcheck: ttl: %w", err)
		}
	}
	return o, nil
}
