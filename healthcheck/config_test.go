package healthcheck_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/failsoft/failsoft/healthcheck"
)

func TestZeroWorks(t *testing.T) {
	bubble(t, "a Config, and a Check that has but a Probe", func(t *testing.T) {
		f := &fake{}
		c := begin(t, healthcheck.Config{}, map[string]healthcheck.Check{name: {Probe: f.probe}})
		assert.Equal(t, 200, ask(t, c.Handler(healthcheck.Ready), "/").Code)
		s := shot(t, c, name)
		assert.Equal(t, []string{healthcheck.Ready}, s.Groups)
		assert.Equal(t, healthcheck.Degrades, s.Impact)
		time.Sleep(time.Minute)
		assert.InDelta(t, 7, f.count(), 1, "at once, and then every 10 s")
	})
}

// A Check may have several defects, and all are named.
func TestChecksThatAreRefused(t *testing.T) {
	const second = time.Second
	for title, row := range map[string]struct {
		of    string
		check healthcheck.Check
		want  []string
	}{
		"no name":                  {"", healthcheck.Check{}, []string{`"" is no name`}},
		"a name with a space":      {"a b", healthcheck.Check{}, []string{`"a b"`}},
		"a name with a slash":      {"a/b", healthcheck.Check{}, []string{`"a/b"`}},
		"a name with a line break": {"a\nb", healthcheck.Check{}, []string{`"a\nb"`}},
		"a name that is not ASCII": {"größe", healthcheck.Check{}, []string{`"größe"`}},
		"a name of 101 bytes":      {strings.Repeat("n", 101), healthcheck.Check{}, []string{"is no name"}},
		"two colons":               {"db:lag:p99", healthcheck.Check{}, []string{`"db:lag:p99"`}}, // the draft has no word for it
		"a negative Period":        {name, healthcheck.Check{Period: -second}, []string{"Period is -1s"}},
		"a very short Period": {
			name, healthcheck.Check{Period: time.Microsecond, Timeout: 1}, []string{"Period is 1µs", "1ms", "24h"},
		},
		"a very long Period":            {name, healthcheck.Check{Period: 25 * time.Hour}, []string{"Period is 25h0m0s"}},
		"a Period shorter than Timeout": {name, healthcheck.Check{Period: second, Timeout: 2 * second}, []string{"Timeout is 2s", "1s"}},
		"a negative Timeout":            {name, healthcheck.Check{Timeout: -second}, []string{"Timeout is -1s"}},
		"a negative OnDemand":           {name, healthcheck.Check{Probe: passing, OnDemand: -second}, []string{"OnDemand is -1s"}},
		"an OnDemand below Timeout":     {name, healthcheck.Check{Probe: passing, OnDemand: second, Timeout: 2 * second}, []string{"Timeout is 2s"}},
		"an OnDemand and a Period":      {name, healthcheck.Check{Probe: passing, OnDemand: 10 * second, Period: 5 * second}, []string{"OnDemand", "Period"}},
		"OnDemand without a Probe":      {name, healthcheck.Check{OnDemand: second}, []string{"OnDemand is 1s", "no Probe"}},
		"a negative OnDemand, with a Period": {
			name, healthcheck.Check{Probe: passing, OnDemand: -second, Period: second}, []string{"OnDemand is -1s and Period 1s"},
		},
		"OnDemand in Startup": {
			name,
			healthcheck.Check{Probe: passing, OnDemand: second, Groups: []string{healthcheck.Ready, healthcheck.Startup}},
			[]string{"OnDemand is 1s", `"startup"`},
		},
		"a group with two colons":      {name, healthcheck.Check{Groups: []string{"a:b:c"}}, []string{`"a:b:c"`}},
		"a negative Fall":              {name, healthcheck.Check{Fall: -1}, []string{"Fall is -1"}},
		"a negative Rise":              {name, healthcheck.Check{Rise: -1}, []string{"Rise -1"}},
		"an Impact of its own":         {name, healthcheck.Check{Impact: 7}, []string{"Impact is 7"}},
		"an empty group":               {name, healthcheck.Check{Groups: []string{"a", ""}}, []string{`Groups has ""`}},
		"a group with a slash":         {name, healthcheck.Check{Groups: []string{"a/b"}}, []string{`"a/b"`}},
		"an empty pattern":             {name, healthcheck.Check{Affects: []string{""}}, []string{`"" is no pattern`}},
		"an unfinished pattern":        {name, healthcheck.Check{Affects: []string{"/a/{b"}}, []string{`"/a/{b" is no pattern`}},
		"a pattern without a path":     {name, healthcheck.Check{Affects: []string{"GET"}}, []string{`"GET"`}},
		"a pattern with an odd method": {name, healthcheck.Check{Affects: []string{"G=T /"}}, []string{`"G=T /"`}},
		"a wildcard twice":             {name, healthcheck.Check{Affects: []string{"/{a}/{a}"}}, []string{`"/{a}/{a}"`}},
		"all of it": {"", healthcheck.Check{
			Period: -second, Timeout: -second, OnDemand: 0, Fall: -1, Rise: -2, Impact: 9,
			Groups: []string{" "}, Affects: []string{"{", "/ok", "}"},
		}, []string{`"" is no name`, "Period is -1s", "Timeout is -1s", "Fall is -1", "Rise -2", "Impact is 9", `Groups has " "`, `"{"`, `"}"`}},
	} {
		t.Run(title, func(t *testing.T) {
			c := healthcheck.MustNew(healthcheck.Config{})
			err := c.Add(row.of, row.check)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), "healthcheck: "), err)
			for _, want := range row.want {
				assert.ErrorContains(t, err, want)
			}
			assert.Panics(t, func() { c.MustAdd(row.of, row.check) })
			require.NoError(t, c.Start(), "what was refused is not there")
			assert.Empty(t, c.Snapshot().Checks)
			require.NoError(t, c.Close(t.Context()))
		})
	}
}

func TestChecksAtTheBounds(t *testing.T) {
	for title, check := range map[string]healthcheck.Check{
		"a millisecond":                      {Period: time.Millisecond, Timeout: time.Millisecond},
		"a day":                              {Period: 24 * time.Hour},
		"a Timeout of a whole Period":        {Period: time.Second, Timeout: time.Second},
		"a Timeout above the default Period": {Timeout: time.Minute},
		"a Period below the default Timeout": {Period: 500 * time.Millisecond},
		"on demand below it":                 {Probe: passing, OnDemand: time.Millisecond},
		"on demand, within a second":         {Probe: passing, OnDemand: time.Second, Timeout: time.Second},
		"the same group twice":               {Groups: []string{healthcheck.Ready, healthcheck.Ready}},
		"all of the patterns":                {Affects: []string{"GET /a/{b}", "shop.example/", "/{p...}", "/{$}"}},
		"one result is enough":               {Fall: 1, Rise: 1},
	} {
		t.Run(title, func(t *testing.T) {
			c := healthcheck.MustNew(healthcheck.Config{})
			assert.NoError(t, c.Add(strings.Repeat("n", 100), check))
		})
	}
	t.Run("what the caller does with its slices afterwards", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{Authorize: everybody})
		groups, affects := []string{healthcheck.Ready}, []string{"/orders"}
		c.MustAdd(name, healthcheck.Check{Groups: groups, Affects: affects})
		groups[0], affects[0] = "changed", "/changed"
		start(t, c)
		assert.Equal(t, []string{healthcheck.Ready}, shot(t, c, name).Groups)
		assert.Equal(t, []string{"/orders"}, judge(t, ask(t, c.Details(), "/")).Checks[name][0].AffectedEndpoints)
	})
}

// Zero means a second, or the Period where that is shorter.
func TestTimeoutByDefault(t *testing.T) {
	for title, row := range map[string]struct {
		check healthcheck.Check
		want  time.Duration
	}{
		"of a long Period":   {healthcheck.Check{Period: time.Hour}, time.Second},
		"of no Period":       {healthcheck.Check{}, time.Second},
		"of a short Period":  {healthcheck.Check{Period: 200 * time.Millisecond}, 200 * time.Millisecond},
		"on demand":          {healthcheck.Check{OnDemand: time.Hour}, time.Second},
		"on demand, shortly": {healthcheck.Check{OnDemand: 200 * time.Millisecond}, 200 * time.Millisecond},
	} {
		bubble(t, title, func(t *testing.T) {
			var got time.Duration
			row.check.Probe = func(ctx context.Context) healthcheck.Result {
				deadline, _ := ctx.Deadline()
				got = time.Until(deadline)
				return healthcheck.Result{}
			}
			ask(t, single(t, row.check).Details(), "/")
			assert.Equal(t, row.want-row.want/10, got, "a tenth is left for saying so")
		})
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	for _, wait := range []time.Duration{-1, time.Minute + 1} {
		_, err := healthcheck.New(healthcheck.Config{MaxWait: wait})
		require.ErrorContains(t, err, "healthcheck: Config.MaxWait is "+wait.String())
		assert.Panics(t, func() { healthcheck.MustNew(healthcheck.Config{MaxWait: wait}) })
	}
}

func TestNamesThatAreTaken(t *testing.T) {
	refused := func(t *testing.T, c *healthcheck.Checker, of string, check healthcheck.Check) {
		t.Helper()
		require.ErrorContains(t, c.Add(of, check), `"`+name+`"`)
	}
	t.Run("by a check", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{})
		refused(t, c, name, healthcheck.Check{})
	})
	t.Run("by a group, later the check", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd("other", healthcheck.Check{Groups: []string{name}})
		refused(t, c, name, healthcheck.Check{})
	})
	t.Run("by a check, later the group", func(t *testing.T) { // or an override of one would be one of the other
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{})
		refused(t, c, "other", healthcheck.Check{Groups: []string{name}})
	})
	t.Run("by itself", func(t *testing.T) {
		refused(t, healthcheck.MustNew(healthcheck.Config{}), name, healthcheck.Check{Groups: []string{name}})
	})
	t.Run("by the groups that there always are", func(t *testing.T) {
		for _, of := range []string{healthcheck.Live, healthcheck.Ready, healthcheck.Startup} {
			assert.Error(t, healthcheck.MustNew(healthcheck.Config{}).Add(of, healthcheck.Check{}), of)
		}
	})
}

func TestGroupsThatThereAreNot(t *testing.T) {
	bubble(t, "mounted before Start, which names it", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{Probe: passing})
		h := c.Handler("redy")
		require.ErrorContains(t, c.Add("redy", healthcheck.Check{}), `"redy" is a group`)
		require.ErrorContains(t, c.Start(), `"redy"`)
		assert.Equal(t, 503, ask(t, h, "/").Code)
		c.MustAdd("late", healthcheck.Check{Probe: passing, Groups: []string{"redy"}})
		start(t, c) // now that it is mended
		assert.Equal(t, 200, ask(t, h, "/").Code)
	})
	bubble(t, "asked for after Start", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		assert.Equal(t, 404, ask(t, c.Handler("redy"), "/").Code)
		is(t, c, "redy", healthcheck.Unknown)
		_, _, err := c.Watch("redy")
		require.ErrorIs(t, err, healthcheck.ErrUnknownName)
		require.ErrorContains(t, err, `"redy"`)
		for _, err := range []error{
			c.Feed("redy", nil), c.FeedResponse(context.Background(), "redy", nil, errDown), c.Report("redy", healthcheck.Result{}),
		} {
			require.ErrorIs(t, err, healthcheck.ErrUnknownName)
		}
	})
}

func TestOutOfOrder(t *testing.T) {
	ctx := context.Background()
	bubble(t, "Add after Start", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		require.ErrorIs(t, c.Add("late", healthcheck.Check{}), healthcheck.ErrStarted)
		assert.Panics(t, func() { c.MustAdd("late", healthcheck.Check{}) })
		assert.Len(t, c.Snapshot().Checks, 1)
	})
	bubble(t, "Start twice", func(t *testing.T) {
		c := single(t, healthcheck.Check{})
		require.ErrorIs(t, c.Start(), healthcheck.ErrStarted)
	})
	bubble(t, "Close before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		require.ErrorIs(t, c.Close(ctx), healthcheck.ErrNotStarted)
		require.NoError(t, c.Start(), "which changes nothing")
		require.NoError(t, c.Close(ctx))
	})
	bubble(t, "Close twice", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		require.NoError(t, c.Close(ctx))
		require.ErrorIs(t, c.Close(ctx), healthcheck.ErrClosed)
	})
	bubble(t, "Start and Add after Close", func(t *testing.T) {
		c := single(t, healthcheck.Check{Probe: passing})
		require.NoError(t, c.Close(ctx))
		require.ErrorIs(t, c.Start(), healthcheck.ErrClosed)
		require.ErrorIs(t, c.Add("late", healthcheck.Check{}), healthcheck.ErrClosed)
	})
	bubble(t, "Close with a context that has ended", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		f := &fake{}
		release := f.hang(t)
		c.MustAdd(name, healthcheck.Check{Probe: f.probe})
		require.NoError(t, c.Start())
		ended, cancel := context.WithCancel(ctx)
		cancel()
		err := c.Close(ended)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, `"`+name+`"`)
		release()
	})
	bubble(t, "feeds before Start", func(t *testing.T) {
		c := healthcheck.MustNew(healthcheck.Config{})
		c.MustAdd(name, healthcheck.Check{})
		require.ErrorIs(t, c.Feed(name, nil), healthcheck.ErrNotStarted)
		require.ErrorIs(t, c.Report(name, healthcheck.Result{}), healthcheck.ErrNotStarted)
		is(t, c, name, healthcheck.Unknown)
		assert.Empty(t, c.Snapshot().Checks)
	})
}

func TestErrsOfNothing(t *testing.T) {
	assert.Nil(t, healthcheck.Errs(nil), "a nil func is no Probe")
}
