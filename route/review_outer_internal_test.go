package route

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// json.Unmarshal takes the last of two fields of one name, and does not say so.
func TestReviewFileFieldsTwice(t *testing.T) {
	for content, want := range map[string]string{
		`[{"addr": "a", "addr": "b"}]`:                                               `entry 1: "addr" is there twice`,
		`{"web": {"host": "a", "port": 1, "port": 2}}`:                               `entry "web": "port" is there twice`,
		`[{"targets": ["a"], "labels": {"zone": "a", "zone": "b"}}]`:                 `entry 1: labels: "zone" is there twice`,
		`[{"targets": ["a"], "labels": {"weight": "1", "w\u0065ight": "2"}}]`:        `entry 1: labels: "weight" is there twice`,
		`[{"targets": ["a"], "labels": null}, {"targets": ["b"], "targets": ["c"]}]`: `entry 2: "targets" is there twice`,
	} {
		hosts, err := parseHosts([]byte(content))
		require.ErrorContains(t, err, want)
		assert.Empty(t, hosts)
	}
}

// Errors name the field, and do not grow with what is in the file.
func TestReviewFileErrors(t *testing.T) {
	for content, want := range map[string]string{
		`[{"host": "a", "port": true}]`:                                       "entry 1: port: ",
		`[{"host": {}, "port": 1}]`:                                           "entry 1: host: ",
		`[{"addr": "a", "weight": []}]`:                                       "entry 1: weight: ",
		`[{"targets": ["a"], "labels": {"weight": true}}]`:                    "entry 1: weight: ",
		`[{"targets": ["a"], "labels": {"role": 1}}]`:                         "entry 1: ",
		`[{"targets": ["a"], "labels": {"role": []}}]`:                        "entry 1: role: ",
		`[{"targets": [1]}]`:                                                  "entry 1: targets: ",
		`[{"targets": ["a"], "labels": {"__scheme__": 1.5e3, "weight": {}}}]`: "entry 1: weight: ",
		`[{"targets": ["a"], "labels": {"__scheme__": []}}]`:                  "entry 1: __scheme__: ",
	} {
		_, err := parseHosts([]byte(content))
		require.ErrorContains(t, err, want, content)
	}
	long := strings.Repeat("x", 100_000)
	for _, content := range []string{
		`[{"addr": "` + long + ` "}]`, `[{"addr": "a", "weight": "` + long + `"}]`, `[{"addr": "a", "` + long + `": 1}]`,
		`{"` + long + `": 1}`, `[{"addr": "a", "role": "` + long + `"}]`, `[{"addr": "` + long + `://a"}]`,
	} {
		state := fileState{path: "hosts.json", content: []byte(content)}
		_, err := state.hosts()
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 10_000)
		assert.True(t, strings.HasPrefix(err.Error(), "route: File: hosts.json: "))
	}
}

// Some editors begin a file with it, and mean nothing by it.
func TestReviewFileByteOrderMark(t *testing.T) {
	hosts, err := parseHosts([]byte("\ufeff[{\"addr\": \"a\"}]"))
	require.NoError(t, err)
	assert.Equal(t, []Host{{Addr: "a"}}, hosts)
	_, err = parseHosts([]byte("\ufeff\ufeff[{\"addr\": \"a\"}]"))
	require.Error(t, err)
}

func TestReviewFileDeep(t *testing.T) {
	deep := strings.Repeat(`[`, 500_000)
	_, err := parseHosts([]byte(deep))
	require.ErrorContains(t, err, "no JSON")
	_, err = parseHosts([]byte(`[{"addr": "a", "x": ` + strings.Repeat(`{"x":`, 100_000)))
	require.ErrorContains(t, err, "no JSON")
}
