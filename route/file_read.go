package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseHosts reads what File describes: all of it, or nothing.
func parseHosts(content []byte) ([]Host, error) {
	entries, err := readEntries(content)
	if err != nil {
		return nil, err
	}
	var hosts []Host
	var wrong []error
	for _, e := range entries {
		some, failure := e.hosts()
		if failure != nil {
			wrong = append(wrong, fmt.Errorf("entry %s: %w", e.name, failure))
		}
		hosts = append(hosts, some...)
	}
	if len(wrong) > 0 {
		return nil, someOf(wrong)
	}
	if _, err = readHosts(hosts); err != nil {
		return nil, err
	}
	return hosts, nil
}

// entry is one of those in a file.
type entry struct {
	name   string // its place in a list, from 1 on, or its key in a map
	fields map[string]json.RawMessage
	whole  json.RawMessage
}

// readEntries cuts a list or a map into its entries.
func readEntries(content []byte) ([]entry, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // which some editors write
	var whole json.RawMessage                             // what is left of a file is no JSON: that comes first
	if err := json.Unmarshal(content, &whole); err != nil {
		return nil, fmt.Errorf("it is cut off, or no JSON: %w", err)
	}
	in := json.NewDecoder(bytes.NewReader(content))
	first, err := in.Token()
	if err != nil || first != json.Delim('[') && first != json.Delim('{') {
		return nil, errors.New("it is neither a list nor a map")
	}
	var entries []entry
	names := make(map[string]bool)
	for in.More() {
		e := entry{name: strconv.Itoa(len(entries) + 1)}
		if first == json.Delim('{') {
			if e.name, err = readKey(in, names); err != nil {
				return nil, fmt.Errorf("entry %w", err)
			}
		}
		if err = in.Decode(&e.whole); err != nil {
			return nil, err
		}
		if e.whole[0] != '{' {
			return nil, fmt.Errorf("entry %s is no object", e.name)
		}
		if e.fields, err = readFields(e.whole); err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.name, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// readKey reads a key of a map, which must not be there twice: json.Unmarshal would
// take the last one, and not say so.
func readKey(in *json.Decoder, seen map[string]bool) (string, error) {
	key, err := in.Token()
	name := fmt.Sprintf("%q", key)
	if err == nil && seen[name] {
		err = fmt.Errorf("%s is there twice", name)
	}
	seen[name] = true
	return name, err
}

// readFields reads an object, whose fields are as the keys of a map.
func readFields(object json.RawMessage) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	in := json.NewDecoder(bytes.NewReader(object))
	if first, err := in.Token(); first != json.Delim('{') {
		return fields, err // it is null
	}
	seen := make(map[string]bool, len(fields))
	for in.More() {
		if _, err := readKey(in, seen); err != nil {
			return nil, err
		}
		if err := in.Decode(new(json.RawMessage)); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// hosts reads an entry of whichever shape.
func (e *entry) hosts() ([]Host, error) {
	switch {
	case e.has("targets") && !e.has("addr") && !e.has("host"):
		return e.targets()
	case e.has("host") && !e.has("addr") && !e.has("targets"):
		return e.registered()
	case e.has("addr") && !e.has("host") && !e.has("targets"):
		return e.own()
	default:
		return nil, errors.New("it must have one of addr, host and targets")
	}
}

func (e *entry) has(field string) bool {
	_, ok := e.fields[field]
	return ok
}

// own reads a Host. A field that it does not have is likely one that is misspelt.
func (e *entry) own() ([]Host, error) {
	for field := range e.fields {
		if !slices.Contains([]string{"addr", "weight", "zone", "role"}, field) {
			return nil, fmt.Errorf("there is no %q beside addr, weight, zone and role", field)
		}
	}
	_, err := weightOf(e.fields)
	if err != nil {
		return nil, err
	}
	var h Host
	err = json.Unmarshal(e.whole, &h)
	return []Host{h}, err
}

// registered reads what Synapse has from Nerve. Numbers may be strings there, and what
// is not known is null.
func (e *entry) registered() ([]Host, error) {
	name, err := textOf("host", e.fields)
	if err != nil {
		return nil, err
	}
	port, err := textOf("port", e.fields)
	if err != nil {
		return nil, err
	}
	if name == "" || port == "" {
		return nil, errors.New("it must have both host and port")
	}
	if strings.Contains(name, ":") && isIP(name) {
		name = "[" + name + "]"
	}
	weight, err := weightOf(e.fields)
	if err != nil {
		return nil, err
	}
	h, _, err := e.labelled()
	h.Addr, h.Weight = name+":"+port, weight
	return []Host{h}, err
}

// targets reads a group of Prometheus.
func (e *entry) targets() ([]Host, error) {
	var targets []string
	if err := json.Unmarshal(e.fields["targets"], &targets); err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	h, labels, err := e.labelled()
	if err != nil {
		return nil, err
	}
	if h.Weight, err = weightOf(labels); err != nil {
		return nil, err
	}
	scheme, err := textOf("__scheme__", labels)
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(scheme) { // before it stands in each address: it may be half of the file
	case "":
	case "http", schemeHTTPS:
		scheme += "://"
	default:
		return nil, errors.New("__scheme__ is neither http nor https")
	}
	hosts := make([]Host, 0, len(targets))
	for _, target := range targets {
		h.Addr = scheme + target
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// labelled returns a Host with what its labels say of zone and role, and the labels.
func (e *entry) labelled() (h Host, labels map[string]json.RawMessage, err error) {
	if raw, ok := e.fields["labels"]; ok {
		if labels, err = readFields(raw); err != nil {
			return h, nil, fmt.Errorf("labels: %w", err)
		}
	}
	zone := "zone"
	if labels[zone] == nil {
		zone = "az"
	}
	if h.Zone, err = textOf(zone, labels); err != nil {
		return h, nil, err
	}
	role, err := textOf("role", labels)
	if err == nil && role != "" {
		err = h.Role.UnmarshalText([]byte(role))
	}
	return h, labels, err
}

// weightOf reads a weight. None is 0, and so 0 cannot be one.
func weightOf(fields map[string]json.RawMessage) (int, error) {
	text, err := textOf("weight", fields)
	if err != nil || text == "" {
		return 0, err
	}
	weight, err := strconv.Atoi(text)
	if err != nil || weight < 1 || weight > maxWeight {
		return 0, fmt.Errorf("the weight is %s, not from 1 to %d", text, maxWeight)
	}
	return weight, nil
}

// textOf reads a field that is a string or a number. What is absent or null is "".
func textOf(field string, fields map[string]json.RawMessage) (text string, err error) {
	switch raw := fields[field]; {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		err = json.Unmarshal(raw, &text)
	default:
		var number json.Number
		err = json.Unmarshal(raw, &number)
		text = number.String()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", field, err)
	}
	return text, err
}
