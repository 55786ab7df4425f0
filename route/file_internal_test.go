package route

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whole are files that are all right, one of each kind there is.
var whole = []struct {
	name, content string
	want          []Host
}{
	{
		"own", `[{"addr": "10.0.0.1:8080"}, {"addr": "https://b", "weight": 1000, "zone": "x", "role": "replica"}]`,
		[]Host{{Addr: "10.0.0.1:8080"}, {Addr: "https://b", Weight: 1000, Zone: "x", Role: Replica}},
	},
	{
		"own, by name", `{"one": {"addr": "a:1"}, "two": {"addr": "b:2", "weight": null}}`,
		[]Host{{Addr: "a:1"}, {Addr: "b:2"}},
	},
	{
		"as Synapse writes it", `[{"name":"web1","host":"10.0.0.1","port":8080,"id":3,"weight":null,` +
			`"haproxy_server_options":null,"labels":null},` +
			`{"name":"web2","host":"10.0.0.2","port":8080,"id":null,"weight":5,` +
			`"haproxy_server_options":"cookie web2","labels":{"az":"us-east-1a","rack":7}}]`,
		[]Host{{Addr: "10.0.0.1:8080"}, {Addr: "10.0.0.2:8080", Weight: 5, Zone: "us-east-1a"}},
	},
	{
		"as Nerve registers it", `{"web1": {"host": "::1", "port": "8080", "name": "web1", "weight": "2"}}`,
		[]Host{{Addr: "[::1]:8080", Weight: 2}},
	},
	{
		"as Prometheus reads it", `[{"targets": ["a:1", "b:2"], "labels": {"job": "x", "zone": "x", "weight": "3", "role": "replica"}},
		{"targets": []}, {"targets": ["c:3"], "labels": {"__scheme__": "https"}}]`,
		[]Host{
			{Addr: "a:1", Weight: 3, Zone: "x", Role: Replica},
			{Addr: "b:2", Weight: 3, Zone: "x", Role: Replica},
			{Addr: "https://c:3"},
		},
	},
	{
		"of all shapes", `[{"addr": "a"}, {"host": "b", "port": 1}, {"targets": ["c"]}]` + "\n",
		[]Host{{Addr: "a"}, {Addr: "b:1"}, {Addr: "c"}},
	},
}

func TestRequirement2FileShapes(t *testing.T) {
	for _, file := range whole {
		t.Run(file.name, func(t *testing.T) {
			hosts, err := parseHosts([]byte(file.content))
			require.NoError(t, err)
			assert.Equal(t, file.want, hosts)
		})
	}
}

func TestBadInputFile(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"nothing", ``, "cut off, or no JSON"},
		{"cut off", `[{"addr": "a"}, {"ad`, "cut off, or no JSON: unexpected end"},
		{"overwritten by less", `[{"addr": "a"}]"b"}]`, "no JSON"},
		{"neither", `"a"`, "neither a list nor a map"},
		{"null", `null`, "neither a list nor a map"},
		{"no hosts", `[]`, "it lists no hosts"},
		{"no hosts, by name", `{}`, "it lists no hosts"},
		{"no targets", `[{"targets": []}]`, "it lists no hosts"},
		{"no object", `[{"addr": "a"}, "b"]`, "entry 2 is no object"},
		{"null entry", `[null]`, "entry 1 is no object"},
		{"only one", `{"host": "a", "port": 1}`, `entry "host" is no object`},
		{"no shape", `[{"address": "a"}]`, "entry 1: it must have one of addr, host and targets"},
		{"two shapes", `[{"addr": "a", "host": "b", "port": 1}]`, "entry 1: it must have one of"},
		{"misspelt", `[{"addr": "a", "wieght": 3}]`, `entry 1: there is no "wieght"`},
		{"in capitals", `[{"addr": "a", "Weight": 0}]`, `entry 1: there is no "Weight"`},
		{"twice", `[{"addr": "a:1"}, {"host": "a", "port": 1}]`, `"a:1" is there twice`},
		{"twice, in capitals", `[{"addr": "a:1"}, {"addr": "A:1"}]`, `"A:1" is there twice`},
		{"twice by name", `{"web": {"addr": "a"}, "web": {"addr": "b"}}`, `entry "web" is there twice`},
		{"userinfo", `[{"addr": "user:secret@a:1"}]`, `"a:1": what stands before the @`},
		{"userinfo as host", `[{"host": "user:secret@a", "port": 1}]`, `"a:1": what stands before the @`},
		{"userinfo as target", `[{"targets": ["ftp://user:secret@a:1"]}]`, `"a:1": what stands before the @`},
		{"userinfo that is none", `[{"addr": "user:%secret@a"}]`, `"a": what stands before the @`},
		{"weight 0", `[{"addr": "a", "weight": 0}]`, "entry 1: the weight is 0, not from 1 to 1000"},
		{"weight 1e9", `[{"addr": "a", "weight": 1000000000}]`, "entry 1: the weight is 1000000000, not"},
		{"registered weight 0", `{"web": {"host": "a", "port": 1, "weight": 0}}`, `entry "web": the weight is 0, not`},
		{"registered weight 1e9", `[{"host": "a", "port": 1, "weight": "1000000000"}]`, "entry 1: the weight is 1000000000, not"},
		{"labelled weight 0", `[{"targets": ["a"], "labels": {"weight": "0"}}]`, "entry 1: the weight is 0, not"},
		{"labelled weight 1e9", `[{"targets": ["a"], "labels": {"weight": "1e9"}}]`, "entry 1: the weight is 1e9, not"},
		{"half a weight", `[{"host": "a", "port": 1, "weight": 0.5}]`, "entry 1: the weight is 0.5, not"},
		{"no port", `[{"host": "a"}]`, "entry 1: it must have both host and port"},
		{"no host", `[{"host": null, "port": 1}]`, "entry 1: it must have both host and port"},
		{"port 0", `[{"host": "a", "port": 0}]`, `"a:0": the port is not from 1 to 65535`},
		{"port 65536", `[{"addr": "a:65536"}]`, `"a:65536": the port is not from 1 to 65535`},
		{"port -1", `[{"host": "a", "port": -1}]`, `"a:-1" is no address`},
		{"port http", `[{"targets": ["a:http"]}]`, `"a:http" is no address`},
		{"two ports", `[{"host": "a:1", "port": 2}]`, `"a:1:2" is no`},
		{"true port", `[{"host": "a", "port": true}]`, "entry 1: "},
		{"a path", `[{"addr": "a/b"}]`, `"a/b": leave away what follows`},
		{"a scheme", `[{"addr": "ftp://a"}]`, `"ftp://a": the scheme is neither http nor https`},
		{"a scheme label", `[{"targets": ["a"], "labels": {"__scheme__": "ftp"}}]`, "entry 1: __scheme__ is neither"},
		{"userinfo as scheme", `[{"targets": ["a"], "labels": {"__scheme__": "http://user:secret@"}}]`, "__scheme__ is"},
		{"a role", `[{"addr": "a", "role": "leader"}]`, `entry 1: route: "leader" is none of`},
		{"a role label", `[{"targets": ["a"], "labels": {"role": "leader"}}]`, `entry 1: route: "leader" is none of`},
		{"no labels", `[{"targets": ["a"], "labels": ["zone"]}]`, "entry 1: labels: "},
		{"no zone", `[{"targets": ["a"], "labels": {"zone": {}}}]`, "entry 1: zone: "},
		{"no list", `[{"targets": "a"}]`, "entry 1: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			hosts, err := parseHosts([]byte(test.content))
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "secret")
			assert.Empty(t, hosts, "a part is none")
		})
	}
}

// All that is wrong is said, but not a file full of it.
func TestBadInputFileErrors(t *testing.T) {
	_, err := parseHosts([]byte(`[{"addr": "a", "weight": 0}, {"addr": "b"}, {"host": "c"}]`))
	require.ErrorContains(t, err, "entry 1: ")
	require.ErrorContains(t, err, "entry 3: ")
	for _, line := range []string{`{"addr": "a", "weight": 0},`, `{"addr": "a b"},`} {
		_, err = parseHosts([]byte("[" + strings.Repeat(line, 999) + `{"addr": "a b"}]`))
		require.ErrorContains(t, err, "and 9")
		assert.Less(t, len(err.Error()), 2000)
	}
	// What stands once in the file is not told, nor even made, once for each host.
	_, err = parseHosts([]byte(`[{"targets": ["a"` + strings.Repeat(`,""`, 20_000) + `], "labels": {"__scheme__": "` +
		strings.Repeat("x", 60_000) + `"}}]`))
	require.ErrorContains(t, err, "__scheme__")
	assert.Less(t, len(err.Error()), 2000)
}

// What is cut off is never accepted, wherever that was.
func TestBadInputFileCutOff(t *testing.T) {
	for _, file := range whole {
		content := strings.TrimRight(file.content, "\n")
		for at := range len(content) {
			_, err := parseHosts([]byte(content[:at]))
			require.Error(t, err, content[:at])
		}
	}
}

// Whatever comes in, there is an error or a set that a Pool takes, the same as comes out
// of it when it is written and read again; and nothing that is cut off is accepted.
func FuzzFile(f *testing.F) {
	for _, file := range whole {
		f.Add([]byte(file.content), uint(len(file.content)/2))
	}
	f.Add([]byte(`{"a": {"addr": "a", "addr": "b"}, "a": {}}`), uint(3))
	f.Add([]byte(`[{"targets": ["user@a", "\ud800"], "labels": {"weight": 0}}]`), uint(9))
	f.Add([]byte("\ufeff"+`[{"addr": "a"}]`), uint(5))
	f.Add([]byte(`[{"targets": ["a"], "labels": {"__scheme__": "HTTPS"}}]`), uint(9))
	f.Fuzz(func(t *testing.T, content []byte, cut uint) {
		if len(content) > 1<<14 {
			return // a zone of half of it would be written again for each host of a group
		}
		hosts, err := parseHosts(content)
		if err != nil {
			if len(hosts) > 0 {
				t.Fatalf("%v beside %v", hosts, err)
			}
			return
		}
		content = bytes.TrimPrefix(content, []byte("\ufeff"))
		if !json.Valid(content) {
			t.Fatal("no JSON is accepted")
		}
		members, err := readHosts(hosts)
		if err != nil || len(members) == 0 {
			t.Fatalf("a Pool refuses %v: %v", hosts, err)
		}
		content = bytes.TrimSpace(content)
		part := content[:cut%uint(len(content))]
		if _, err = parseHosts(part); err == nil {
			t.Fatalf("%q of %q is accepted", part, content)
		}
		again, err := json.Marshal(hosts)
		if err != nil {
			t.Fatal(err)
		}
		same, err := parseHosts(again)
		if err != nil || len(same) != len(hosts) {
			t.Fatalf("%s: %v", again, err)
		}
		for i := range hosts {
			if same[i] != hosts[i] {
				t.Fatalf("%v is %v, written and read", hosts[i], same[i])
			}
		}
	})
}
